"""Files of joints: the forms that users have, and what is wrong with others."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from cocoscli.data import textfiles
from cocoscli.data.keypoints import (
    count_points,
    lookup,
    pose18,
    read_keypoints,
    read_openpose,
    read_skeleton,
)
from cocoscli.data.skeleton import JOINTS
from cocoscli.errors import BadInput


def write(path: Path, value: object) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def flat(count: int, scores: dict[int, float] | None = None) -> list[float]:
    """Joint n at (n, 10 n), score 1 or as given."""
    return [v for n in range(count) for v in (n, 10 * n, (scores or {}).get(n, 1))]


def test_points_by_stem(tmp_path):
    path = write(
        tmp_path / "keypoints.json",
        {
            "a": [[1, 2], [3.5, 4, 0.1], [5, 6, 0], [7, 8, -1], None, [None, None, 0]],
            "sub\\b.JPG": [[1, 2]],
            "c": None,
            "d": [[1, 2, 3, 4]],
            "e": [None, [0, 0, 0]],
        },
    )
    points = lookup(path, ["x", "a"])
    assert points.dtype == np.float32
    assert points[:2].tolist() == [[1, 2], [3.5, 4]]
    assert np.isnan(points[2:]).all()
    assert lookup(path, ["sub/b"]).tolist() == [[1, 2]]
    assert lookup(path, ["b", "c"]) is None
    assert count_points(path) == 6
    with pytest.raises(BadInput, match=r"'d' is not usable \(point 0 has 4 numbers\)"):
        lookup(path, ["d"])
    with pytest.raises(BadInput, match="'e' has no points"):
        lookup(path, ["e"])


@pytest.mark.parametrize(
    "rows", [[], [[]], [[1]], ["12"], "12", 7, {"0": [1, 2]}, [[1, "2"]], [[True, 2]],
             [[1e9, 2]], [[float("nan"), 2]], [[float("inf"), 2]], [[10**400, 2]], [[[1], 2]]],
)  # fmt: skip
def test_a_faulty_picture_costs_itself_alone(tmp_path, rows):
    path = write(tmp_path / "k.json", {"good": [[1, 2]], "bad": rows})
    assert lookup(path, ["good"]).tolist() == [[1, 2]]
    with pytest.raises(BadInput, match=r"k\.json: 'bad' is not usable"):
        lookup(path, ["bad"])


@pytest.mark.parametrize(
    "value", ["", "{", "[" * 100_000, "[]", "{}", "7", "[1]", '{"annotations": []}']
)
def test_files_that_hold_no_keypoints(tmp_path, value):
    path = write(tmp_path / "k.json", value)
    with pytest.raises(BadInput, match=r"k\.json: .*expected \{stem"):
        read_keypoints(path)


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="No such file"):
        read_keypoints(tmp_path / "none.json")
    monkeypatch.setattr(textfiles.read_text, "__defaults__", (10,))
    with pytest.raises(BadInput, match="larger than 10 bytes"):
        read_keypoints(write(tmp_path / "k.json", {"a": [[1, 2]]}))


def test_a_file_is_read_once_until_it_changes(tmp_path):
    path = write(tmp_path / "k.json", {"a": [[1, 2]]})
    assert read_keypoints(path) is read_keypoints(path)
    write(path, {"a": [[3, 4]]})
    os.utime(path, ns=(1, 1))
    assert lookup(path, ["a"]).tolist() == [[3, 4]]


def test_coco_annotations(tmp_path):
    path = write(
        tmp_path / "coco.json",
        {
            "images": [{"id": 7, "file_name": "sub/p.jpg"}, {"id": 8, "file_name": 3}, 5],
            "annotations": [
                {"image_id": 7, "keypoints": flat(17), "area": 5},
                {"image_id": 7, "keypoints": flat(17, {0: 0}), "area": 9},
                {"image_id": 42, "keypoints": flat(16) + [1]},
                {"image_id": [1], "keypoints": flat(17)},
                "nobody",
            ],
        },
    )
    points = lookup(path, ["sub/p"])
    assert len(points) == 17 and np.isnan(points[0]).all()  # the larger person
    for name in ("42", "000000000042"):
        with pytest.raises(BadInput, match="no list of x, y, score"):
            lookup(path, [name])


def test_coco_results(tmp_path):
    rows = [
        {"image_id": "a.png", "keypoints": flat(17), "score": 0.2},
        {"file_name": "a", "keypoints": [[5, 6, 1]] * 17, "score": 0.9},
    ]
    assert lookup(write(tmp_path / "r.json", rows), ["a"])[0].tolist() == [5, 6]


def test_coco_joints_in_the_order_of_the_skeleton():
    coco = (
        *("nose", "l_eye", "r_eye", "l_ear", "r_ear", "l_shoulder", "r_shoulder", "l_elbow"),
        *("r_elbow", "l_wrist", "r_wrist", "l_hip", "r_hip", "l_knee", "r_knee", "l_ankle"),
        "r_ankle",
    )
    points = np.array([[n, n] for n in range(17)], np.float32)
    joints = dict(zip(JOINTS, pose18(points)[:, 0].tolist(), strict=True))
    neck = joints.pop("neck")
    assert joints == {name: n for n, name in enumerate(coco)}
    assert neck == 5.5
    points[5] = np.nan
    assert np.isnan(pose18(points)[1]).all()


def test_body_25_in_the_order_of_the_skeleton():
    body = (
        *("nose", "neck", "r_shoulder", "r_elbow", "r_wrist", "l_shoulder", "l_elbow", "l_wrist"),
        *("middle_hip", "r_hip", "r_knee", "r_ankle", "l_hip", "l_knee", "l_ankle"),
        *("r_eye", "l_eye", "r_ear", "l_ear", *"123456"),
    )
    points = np.array([[n, n] for n in range(25)], np.float32)
    assert [body[int(n)] for n in pose18(points)[:, 0]] == list(JOINTS)


def test_openpose(tmp_path):
    for count in (18, 25):
        people = [{"pose_keypoints_2d": flat(count, {3: 0})}, {}]
        joints = read_openpose(write(tmp_path / f"{count}.json", {"people": people}))
        assert joints.shape == (18, 2) and np.isnan(joints[3]).all()
        assert joints[4].tolist() == [4, 40]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "not JSON"),
        ([], "no person"),
        ({"people": []}, "no person"),
        ({"people": [7]}, "expected OpenPose"),
        ({"people": [{}]}, "pose_keypoints_2d"),
        ({"people": [{"pose_keypoints_2d": flat(20)}]}, "20 joints"),
        ({"people": [{"pose_keypoints_2d": [0] * 54}]}, "without joints"),
        ({"people": [{"pose_keypoints_2d": [1e9] * 54}]}, "32,767"),
    ],
)
def test_malformed_openpose(tmp_path, value, words):
    with pytest.raises(BadInput, match=words):
        read_openpose(write(tmp_path / "x.json", value))


def test_skeletons(tmp_path):
    for value in ([[0, 1], [1, 2, 0]], {"chains": [[0, 1], [1, 2, 0]]}):
        assert read_skeleton(write(tmp_path / "s.json", value)) == ((0, 1), (1, 2, 0))
        (tmp_path / "s.json").unlink()


@pytest.mark.parametrize(
    "value", [[], {}, 7, [[]], [[0]], [[0, -1]], [[0, 1.5]], [[0, True]], [[0, 5000]],
              [[0, 1]] * 255, {"chains": None}, "{"],
)  # fmt: skip
def test_malformed_skeletons(tmp_path, value):
    with pytest.raises(BadInput, match="chains"):
        read_skeleton(write(tmp_path / "s.json", value))
