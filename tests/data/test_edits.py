"""Edited conditions: what is read of one file, where two differ, what a photo keeps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cocoscli.data.conditions import FACE_CLASSES
from cocoscli.data.edits import (
    OUTLINE,
    blend,
    condition_suffixes,
    differing,
    is_condition,
    outlined,
    read_condition,
    weight,
)
from cocoscli.data.sources import build_condition, unpack_parts
from cocoscli.errors import BadInput, UsageError


def square(side: int = 40, start: int = 15, stop: int = 20) -> np.ndarray:
    changed = np.zeros((side, side), bool)
    changed[start:stop, start:stop] = True
    return changed


# Where conditions differ.


def test_every_plane_of_labels_counts():
    before = np.zeros((2, 4, 4), np.uint8)
    after = before.copy()
    after[0, 0, 0], after[1, 2, 3] = 5, 1
    assert np.argwhere(differing(before, after, "celebahq-mask")).tolist() == [[0, 0], [2, 3]]


@pytest.mark.parametrize(("kind", "planes"), [("deepfashion", 20), ("celebahq-edge", 15)])
def test_distances_do_not_count(kind, planes):
    before = np.zeros((planes, 4, 4), np.uint8)
    after = before.copy()
    after[5] = 9
    assert not differing(before, after, kind).any()
    after[0, 1, 1] = 255
    assert differing(before, after, kind).sum() == 1


# How much of the new picture there is.


@pytest.mark.parametrize("border", [0, 1, 7])
def test_the_share_is_1_at_the_edit_and_0_beyond_the_border(border):
    changed = square()
    share = weight(changed, border)
    distance = ndimage.distance_transform_edt(~changed)
    assert (share[changed] == 1).all()
    assert (share[distance >= max(border, 1)] == 0).all()
    inside = (distance > 0) & (distance < border)
    assert ((share[inside] > 0) & (share[inside] < 1)).all()


def test_the_border_falls_steadily():
    share = weight(square(), 9)
    along = share[17, 19:]
    assert (np.diff(along) <= 0).all() and (np.diff(along[:10]) < 0).all()
    assert np.abs(np.diff(along)).max() < 0.2  # nowhere a step


def test_without_an_edit_there_is_nothing_new():
    assert not weight(np.zeros((5, 6), bool), 3).any()


def test_blending_keeps_every_bit_of_the_photo():
    rng = np.random.default_rng(0)
    photo, picture = rng.integers(0, 256, (2, 40, 40, 3), np.uint8)
    share = weight(square(), 6)
    mixed = blend(photo, picture, share)
    assert np.array_equal(mixed[share == 0], photo[share == 0])
    assert np.array_equal(mixed[share == 1], picture[share == 1])
    part = (share > 0) & (share < 1)
    expected = photo[part] + share[part][:, None] * (picture[part].astype(float) - photo[part])
    assert np.abs(mixed[part] - expected).max() <= 0.5 + 1e-4


def test_the_outline_runs_around_the_edit():
    picture = outlined(np.zeros((40, 40, 3), np.uint8), square())
    drawn = (picture == OUTLINE).all(axis=-1)
    assert drawn.any() and not drawn[17, 17] and not drawn[5, 5]
    assert np.array_equal(ndimage.binary_fill_holes(drawn)[15:20, 15:20], np.ones((5, 5), bool))


# What is read of a file.

PHOTO = Path("a.jpg")


def saved(path: Path, array: np.ndarray) -> Path:
    Image.fromarray(array).save(path)
    return path


def test_label_maps_keep_their_own_size(tmp_path):
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    sources = read_condition(saved(tmp_path / "m.png", ids), "labels", PHOTO, (8, 6))
    assert sources.size == (4, 3) and np.array_equal(sources.arrays["ids"], ids)


def test_drawn_edges(tmp_path):
    drawn = (square() * 255).astype(np.uint8)
    sources = read_condition(saved(tmp_path / "e.png", drawn), "edges", PHOTO, (40, 40))
    assert not sources.needs_photo and np.array_equal(build_condition(sources)[0], drawn)


@pytest.mark.parametrize("kind", ["celebahq-edge", "face-edges"])
def test_face_parts_come_from_a_label_map(tmp_path, kind):
    nose = FACE_CLASSES.index("nose")
    path = saved(tmp_path / "m.png", square().astype(np.uint8) * nose)
    parts = unpack_parts(read_condition(path, kind, PHOTO, (40, 40)).arrays["parts"])
    assert np.array_equal(parts["nose"], square()) and not parts["hair"].any()


def test_glasses_lie_beside_a_face(tmp_path):
    saved(tmp_path / "x_eye_g.png", square().astype(np.uint8) * 255)
    saved(tmp_path / "5_eye_g.png", square().astype(np.uint8) * 255)
    path = saved(tmp_path / "x.png", np.ones((40, 40), np.uint8))
    sources = read_condition(path, "celebahq-mask", PHOTO, (40, 40))
    assert np.array_equal(sources.arrays["glasses"] > 0, square())
    assert is_condition(path, "celebahq-mask")
    assert not is_condition(tmp_path / "5_eye_g.png", "celebahq-mask")


def test_poses_are_in_pixels_of_the_photo(tmp_path):
    joints = [[10 + j, 20 + j, 0.9] for j in range(18)]
    people = [{"pose_keypoints_2d": np.ravel(joints).tolist()}]
    path = tmp_path / "x_keypoints.json"
    path.write_text(json.dumps({"people": people}))
    sources = read_condition(path, "pose", PHOTO, (64, 48))
    assert sources.size == (64, 48) and sources.arrays["joints"].tolist()[3] == [13, 23]
    assert is_condition(path, "pose") and not is_condition(tmp_path / "x.png", "pose")
    with pytest.raises(BadInput, match=r"x\.png: a pose is expected as OpenPose's JSON"):
        read_condition(tmp_path / "x.png", "pose", PHOTO, (64, 48))


def test_a_map_of_another_shape_names_both_sizes(tmp_path):
    path = saved(tmp_path / "m.png", np.ones((40, 40), np.uint8))
    with pytest.raises(BadInput, match=r"m\.png: 40x40, but its photo a\.jpg is 64x48"):
        read_condition(path, "labels", PHOTO, (64, 48))


def test_chains_cannot_be_edited():
    with pytest.raises(UsageError, match="no single file holds"):
        condition_suffixes("chains")
