from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cocoscli.data.images import read_photo
from cocoscli.data.layouts import LAYOUTS
from cocoscli.data.layouts import people as layouts_people
from cocoscli.data.sources import build_condition
from cocoscli.errors import BadInput


@pytest.fixture
def photo(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    Image.fromarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)).save(path)
    return path


class FoundFace:
    landmarks = np.linspace([20, 20], [100, 80], 68)


def test_a_portraits_largest_face_gives_its_parts(photo, monkeypatch):
    skin = np.zeros((96, 128), bool)
    skin[20:60, 30:90] = True
    monkeypatch.setattr(layouts_people, "find_faces", lambda *_: [FoundFace(), "a smaller one"])
    monkeypatch.setattr(layouts_people, "face_parts", lambda *_: {"skin": skin})
    sources = LAYOUTS["portraits"].sources(photo)
    assert sources.size == (128, 96) and sources.kind == "celebahq-edge"
    assert (sources.arrays["parts"] > 0).sum() == skin.sum()
    condition = build_condition(sources, read_photo(photo))
    assert condition.shape == (15, 96, 128)
    assert condition[14, 20, 40] == 255 and condition[14, 40, 60] == 0


def test_landmarks_are_scaled_with_the_photo(photo, monkeypatch):
    monkeypatch.setattr(layouts_people, "find_faces", lambda *_: [FoundFace()])
    layout = LAYOUTS["portraits"].making("face-edges")
    points = layout.sources(photo, (64, 48)).arrays["landmarks"]
    expected = (FoundFace.landmarks + 0.5) / 2 - 0.5
    np.testing.assert_allclose(points, expected, atol=1e-4)


def test_a_persons_pose_becomes_joints(photo, monkeypatch):
    joints = np.full((18, 2), np.nan)
    joints[0] = 10, 12
    monkeypatch.setattr(layouts_people, "find_pose", lambda *_: joints)
    sources = LAYOUTS["people"].sources(photo)
    assert sources.kind == "deepfashion"
    np.testing.assert_array_equal(sources.arrays["joints"][0], [10, 12])


@pytest.mark.parametrize(("name", "found"), [("portraits", "face"), ("people", "person")])
def test_nobody_there_is_said(photo, monkeypatch, name, found):
    monkeypatch.setattr(layouts_people, "find_faces", lambda *_: [])
    monkeypatch.setattr(layouts_people, "find_pose", lambda *_: None)
    with pytest.raises(BadInput, match=f"a.png: no {found} was found"):
        LAYOUTS[name].sources(photo)
