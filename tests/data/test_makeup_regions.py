"""Regions of a face from landmarks and parsing maps."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from cocoscli.data.conditions import FACE_CLASSES
from cocoscli.data.makeup_regions import (
    landmark_parts,
    nearest_region,
    parse_regions,
    read_parts,
    regions_of,
    skin_of,
)
from cocoscli.errors import BadInput, UsageError

SIZE = (120, 140)


def landmarks() -> np.ndarray:
    """68 points of a face of straight lines."""
    points = np.zeros((68, 2))
    angle = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([60 + 45 * np.cos(angle), 50 + 75 * np.sin(angle)], -1)
    for start, x in ((17, 25), (22, 70)):
        points[start : start + 5] = np.stack([x + np.linspace(0, 25, 5), [36, 33, 32, 33, 36]], -1)
    points[27:36] = (60, 70)
    for start, x in ((36, 38), (42, 82)):
        around = np.radians([180, 240, 300, 0, 60, 120])
        points[start : start + 6] = np.stack([x + 9 * np.cos(around), 50 + 4 * np.sin(around)], -1)
    outer = np.radians(np.linspace(180, -150, 12))
    points[48:60] = np.stack([60 + 16 * np.cos(outer), 100 - 8 * np.sin(outer)], -1)
    inner = np.radians(np.linspace(180, -135, 8))
    points[60:68] = np.stack([60 + 12 * np.cos(inner), 100 - 0.5 * np.sin(inner)], -1)
    return points


@pytest.fixture
def regions() -> dict[str, np.ndarray]:
    return regions_of(landmark_parts(landmarks(), SIZE))


def test_where_regions_lie(regions):
    assert regions["lips"][95, 60] and not regions["lips"][80, 60]
    assert regions["eyes"][44, 38] and not regions["eyes"][50, 38]  # around it, not on it
    assert regions["cheeks"][76, 30] and regions["cheeks"][76, 90]
    assert not regions["cheeks"][76, 60]
    assert regions["brows"][34, 37]
    assert sum(mask.astype(int) for mask in regions.values()).max() == 1


def test_skin_is_what_is_left(regions):
    skin = skin_of(landmark_parts(landmarks(), SIZE), regions)
    assert skin[115, 60] and not (skin & regions["lips"]).any() and not skin[135, 5]


def test_each_stroke_belongs_to_its_nearest_region(regions):
    lips = nearest_region(regions, {"lips"})
    assert lips[112, 60] and not lips[10, 60] and not lips[50, 38]
    assert (lips ^ nearest_region(regions, {"eyes", "cheeks", "brows"})).all()


def test_a_parsing_map_says_the_same(tmp_path, regions):
    ids = np.zeros(SIZE[::-1], np.uint8)
    for name, mask in landmark_parts(landmarks(), SIZE).items():
        ids[mask] = FACE_CLASSES.index(name)
    Image.fromarray(ids).save(tmp_path / "p.png")
    parts = read_parts(tmp_path / "p.png", tmp_path / "x.jpg", SIZE, SIZE)
    assert np.array_equal(regions_of(parts)["lips"], regions["lips"])


def test_landmarks_of_a_photo_that_was_made_smaller(tmp_path):
    (tmp_path / "l.json").write_text(json.dumps({"x": landmarks().tolist()}))
    half = (SIZE[0] // 2, SIZE[1] // 2)
    parts = read_parts(tmp_path / "l.json", tmp_path / "x.jpg", SIZE, half)
    assert parts["u_lip"].shape == half[::-1] and parts["l_eye"][25, 41]


def test_what_has_no_lips_is_refused(tmp_path):
    Image.fromarray(np.ones((20, 20), np.uint8)).save(tmp_path / "p.png")
    with pytest.raises(BadInput, match="no l_eye, r_eye, u_lip, l_lip"):
        read_parts(tmp_path / "p.png", tmp_path / "x.jpg", (20, 20), (20, 20))


def test_region_names():
    assert parse_regions("lips, eyes") == {"lips", "eyes"}
    for wrong in ("", "nose", "lips,chin"):
        with pytest.raises(UsageError, match="expected some of"):
            parse_regions(wrong)
