"""Faces and poses in photos: the message without mediapipe, geometry, then real photos with it."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from cocoscli.data import faces, faces_models, faces_parts
from cocoscli.data.conditions import FACE_PARTS, face_edge_condition, pose_condition
from cocoscli.data.faces import Face, face_parts, find_faces, find_pose
from cocoscli.data.skeleton import JOINTS
from cocoscli.errors import CocosError

ROOT = Path(__file__).parents[2]
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)  # the person's, in the 68 landmarks


@pytest.fixture
def mediapipe() -> None:
    pytest.importorskip("mediapipe")


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return data.astronaut()


def inside(points: np.ndarray, box: faces.Box) -> bool:
    left, top, right, bottom = box
    return bool((points >= (left, top)).all() and (points <= (right, bottom)).all())


# Without mediapipe


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """mediapipe cannot be imported, and no model is left from another test."""
    faces_models.close()
    for name in [name for name in sys.modules if name.split(".")[0] == "mediapipe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mediapipe", None)


SEEKERS: list[Callable[[np.ndarray], object]] = [
    find_faces,
    find_pose,
    lambda photo: face_parts(photo, Face(np.random.default_rng(0).random((478, 2)) * 64)),
]


@pytest.mark.parametrize("seek", SEEKERS)
def test_the_missing_extra_is_named_with_the_ways_out(missing, seek):
    with pytest.raises(CocosError) as caught:
        seek(np.zeros((64, 64, 3), np.uint8))
    assert "needs the extra [faces]" in caught.value.message
    assert "pip install 'cocos[faces]'" in caught.value.hint
    assert "as files" in caught.value.hint


def test_available_says_whether_mediapipe_is_there(missing):
    assert not faces.available()


def test_importing_the_module_does_not_import_mediapipe():
    code = "import sys; from cocoscli.data import faces; sys.exit('mediapipe' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_fork_of_a_process_that_used_the_models_is_refused(monkeypatch):
    monkeypatch.setattr(faces_models, "_owner", [os.getpid() + 1])
    with pytest.raises(RuntimeError, match="forked"):
        find_pose(np.zeros((64, 64, 3), np.uint8))


# Geometry


def test_tiles_cover_the_photo_and_overlap_by_half():
    assert faces._starts(100, 100) == [0]
    assert faces._starts(60, 100) == [0]
    assert faces._starts(100, 50) == [0, 25, 50]
    assert faces._starts(110, 50) == [0, 25, 50, 60]


def test_of_boxes_over_one_face_the_surest_stays():
    a, shifted, other = (0.0, 0.0, 10.0, 10.0), (1.0, 0.0, 11.0, 10.0), (20.0, 0.0, 30.0, 10.0)
    assert faces._overlap(a, shifted) == pytest.approx(90 / 110)
    assert faces._overlap(a, other) == 0
    assert faces._distinct([(0.5, a), (0.9, shifted), (0.7, other)]) == [shifted, other]


def test_a_window_is_cut_at_the_edge_and_put_back_where_it_was():
    photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    view, place, scale = faces._window(photo, (60.0, 10.0, 80.0, 30.0), 2.0, 40)
    assert place == (50, 0, 30, 40)
    assert (view == photo[:40, 50:]).all() and scale == 1
    back = faces._unwindow(np.ones(view.shape[:2], bool), place, photo.shape[:2])
    assert back[:40, 50:].all() and back.sum() == 40 * 30


def test_fill_takes_the_pixels_that_a_polygon_covers():
    mask = faces_parts.fill(np.array([[2, 1], [6, 1], [6, 4], [2, 4]], np.float32), (6, 8))
    assert mask[1:4, 2:6].all()
    assert mask[:1].sum() == 0 and mask[5:].sum() == 0


def test_the_landmark_table_names_68_different_points():
    assert len(set(faces_parts.LANDMARKS.tolist())) == 68


# With mediapipe


def test_the_astronauts_landmarks_lie_where_they_should(mediapipe, portrait):
    (face,) = find_faces(portrait)
    marks = face.landmarks
    assert face.mesh.shape == (478, 2) and face.mesh.dtype == np.float32
    assert marks.shape == (68, 2) and inside(marks, face.box)
    assert 80 < face.size < 130  # the face is some 90 by 105 pixels, around (225, 125)
    assert np.abs(np.mean(np.reshape(face.box, (2, 2)), axis=0) - (225, 125)).max() < 10
    right, left = marks[RIGHT_EYE].mean(0), marks[LEFT_EYE].mean(0)
    assert right[0] < left[0] - 20  # the person's right eye is on the left of the picture
    nose, mouth, chin = marks[30], marks[48:].mean(0), marks[8]
    assert max(right[1], left[1]) < nose[1] < mouth[1] < chin[1]
    assert (marks[17:22, 1] < right[1]).all() and (marks[22:27, 1] < left[1]).all()
    assert (np.diff(marks[:17, 0])[5:11] > 0).all()  # the chin runs from left to right


def test_the_astronauts_parts_are_plausible_and_nested(mediapipe, portrait):
    (face,) = find_faces(portrait, smallest=1 / 8)
    parts = face_parts(portrait, face)
    names = {"skin", "l_brow", "r_brow", "l_eye", "r_eye", "nose", "u_lip", "mouth", "l_lip"}
    assert set(parts) == names | {"hair"} <= set(FACE_PARTS)
    assert all(mask.shape == (512, 512) and mask.dtype == bool for mask in parts.values())
    oval = face.size**2 * 0.66
    assert 0.8 * oval < parts["skin"].sum() < 1.6 * oval
    assert 0.3 * oval < parts["hair"].sum() < 2 * oval
    for name in names - {"skin"}:
        assert not (parts[name] & ~parts["skin"]).any()
        assert 0.005 * oval < parts[name].sum() < 0.15 * oval
    inner = np.sum([parts[name] for name in set(parts) - {"skin"}], axis=0)
    assert inner.max() == 1  # all but the skin are disjoint
    assert not (parts["hair"] & parts["skin"]).any()
    for part in ("brow", "eye"):
        assert np.nonzero(parts[f"l_{part}"])[1].min() > np.nonzero(parts[f"r_{part}"])[1].max()


def test_the_astronauts_parts_make_an_edge_map(mediapipe, portrait):
    (face,) = find_faces(portrait)
    maps = face_edge_condition(portrait, face_parts(portrait, face))
    assert maps.shape == (15, 512, 512)
    assert 0.005 < (maps[0] > 0).mean() < 0.3
    absent = {
        name for name, plane in zip(FACE_PARTS, maps[1:14], strict=True) if plane.min() == 255
    }
    assert absent == {"l_ear", "r_ear", "eye_g"}


def test_the_astronauts_pose_has_a_head_and_shoulders(mediapipe, portrait):
    joints = find_pose(portrait)
    assert joints is not None and joints.shape == (18, 2) and joints.dtype == np.float32
    at = dict(zip(JOINTS, joints, strict=True))
    for name in ("nose", "neck", "r_eye", "l_eye", "r_ear", "l_ear", "r_shoulder", "l_shoulder"):
        assert np.isfinite(at[name]).all(), name
    assert np.isnan(at["r_ankle"]).all() and np.isnan(at["l_knee"]).all()  # below the photo
    assert at["r_ear"][0] < at["r_eye"][0] < at["l_eye"][0] < at["l_ear"][0]
    assert at["r_shoulder"][0] < at["neck"][0] < at["l_shoulder"][0]
    assert at["r_eye"][1] < at["nose"][1] < at["neck"][1]
    assert pose_condition(joints, (512, 512))[:3].any()


@pytest.mark.parametrize("name", ["coffee", "chelsea"])
def test_cups_and_cats_have_no_face(mediapipe, name):
    assert find_faces(getattr(data, name)()) == []


def test_nobody_has_no_pose(mediapipe):
    assert find_pose(data.coffee()) is None


def test_two_faces_are_found_the_larger_first(mediapipe, portrait):
    head = Image.fromarray(portrait[:256, 96:352])
    both = Image.new("RGB", (640, 400), (90, 110, 120))
    both.paste(head, (20, 100))
    both.paste(head.resize((320, 320)), (300, 20))
    larger, smaller = find_faces(np.array(both))
    assert larger.size > 1.1 * smaller.size
    assert larger.mesh[:, 0].min() > smaller.mesh[:, 0].max()


def test_a_small_face_in_a_large_photo_is_found(mediapipe, portrait):
    head = Image.fromarray(portrait[:256, 96:352]).resize((96, 96))  # a face of 40 pixels
    photo = Image.fromarray(data.coffee()).resize((1800, 1200))
    photo.paste(head, (1301, 777))
    (face,) = find_faces(np.array(photo))
    assert 32 < face.size < 48
    assert inside(face.mesh, (1301, 777, 1397, 873))
    assert find_faces(np.array(photo), smallest=1 / 8) == []


def test_a_face_that_fills_the_photo_is_found(mediapipe, portrait):
    (face,) = find_faces(np.ascontiguousarray(portrait[75:175, 182:268]))
    assert face.size > 80
    assert face_parts(portrait[75:175, 182:268], face)["skin"].mean() > 0.6


def test_grey_tiny_and_huge_photos(mediapipe, portrait):
    grey = np.repeat(portrait.mean(-1, keepdims=True).astype(np.uint8), 3, axis=-1)
    (face,) = find_faces(grey)
    assert "hair" in face_parts(grey, face)
    for shape in ((1, 1, 3), (1, 90, 3), (7, 5, 3)):
        tiny = np.full(shape, 128, np.uint8)
        assert find_faces(tiny) == [] and find_pose(tiny) is None
    huge = np.array(Image.fromarray(portrait).resize((5000, 5000)))
    (large,) = find_faces(huge, smallest=1 / 8)
    assert np.abs(large.landmarks * 512 / 5000 - face.landmarks).max() < 4
    assert face_parts(huge, large)["skin"].shape == (5000, 5000)


def test_the_result_does_not_depend_on_the_photo_before(mediapipe, portrait):
    (before,) = find_faces(portrait)
    find_faces(np.ascontiguousarray(portrait[:, ::-1]))
    (after,) = find_faces(portrait)
    assert (before.mesh == after.mesh).all()


def test_closed_models_are_made_anew(mediapipe, portrait):
    find_pose(portrait)
    faces_models.close()
    assert find_pose(portrait) is not None


def test_nothing_is_written_to_stderr(mediapipe, portrait, capfd):
    faces_models.close()
    (face,) = find_faces(portrait)
    face_parts(portrait, face)
    find_pose(np.ascontiguousarray(portrait[:400]))
    assert capfd.readouterr().err == ""


def _count(photo: np.ndarray) -> int:
    return len(find_faces(photo, smallest=1 / 8))


def test_spawned_workers_find_faces_whatever_their_parent_did(mediapipe, portrait):
    assert _count(portrait) == 1
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(_count, [portrait, portrait]) == [1, 1]


def test_landmarks_agree_with_those_set_by_hand(mediapipe, shared):
    by_hand = json.loads((shared / "data/london_faces/landmarks_neutral_189.json").read_text())
    same = {36: 18, 39: 22, 42: 23, 45: 27, 48: 87, 51: 90, 54: 93, 57: 106, 62: 96, 66: 101}
    errors = []
    for stem in sorted(by_hand)[::10]:
        photo = np.array(Image.open(shared / f"data/london_faces/neutral/{stem}.jpg"))
        (face,) = find_faces(photo, smallest=1 / 8)
        away = face.landmarks[list(same)] - np.array(by_hand[stem])[list(same.values())]
        errors.append(np.linalg.norm(away, axis=1).mean())
    assert np.mean(errors) < 2  # pixels of 512; the eyes are 77 apart


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(
    os.environ.get("COCOS_TEST_FACES_INSTALL") != "1",
    reason="installs the extra [faces] afresh: set COCOS_TEST_FACES_INSTALL=1",
)
def test_pip_alone_installs_the_extra_and_it_finds_a_face(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "fresh"], check=True)
    python = tmp_path / "fresh/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", f"{ROOT}[faces]"], check=True)
    code = (
        "from skimage import data; from cocoscli.data.faces import find_faces, find_pose;"
        "photo = data.astronaut(); print(len(find_faces(photo)), find_pose(photo) is not None)"
    )
    found = subprocess.run([python, "-c", code], check=True, cwd=tmp_path, stdout=subprocess.PIPE)
    assert found.stdout.split() == [b"1", b"True"]
