"""Makeup as a layer: blends by hand, layers computed from two portraits, noise and shifts."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data

from cocoscli.data.makeup import (
    AGREES,
    BLENDS,
    aligned,
    blended,
    computed,
    paint_of,
    painted_box,
    relative,
    solved,
)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[0:220, 120:340])


def paint(colour: tuple[float, float, float], share: float) -> np.ndarray:
    return np.array([[[*(share * c for c in colour), share]]], np.float32)


def pixel(*values: int) -> np.ndarray:
    return np.array([[values]], np.uint8)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


@pytest.mark.parametrize(
    ("blend", "expected"),
    [
        ("multiply", (200 * 0.75, 100 * 0.5, 50)),  # half of it times 0.5, 0 and 1
        ("alpha", (200 * 0.5 + 63.75, 50, 25 + 127.5)),
        ("soft-light", (200, None, None)),  # 0.5 changes nothing
    ],
)
def test_blends_by_hand(blend, expected):
    made = blended(pixel(200, 100, 50), paint((0.5, 0, 1), 0.5), blend)[0, 0]
    for got, want in zip(made, expected, strict=True):
        assert want is None or abs(int(got) - want) <= 1
    if blend == "soft-light":
        assert made[1] < 100 and made[2] > 50


@pytest.mark.parametrize("blend", BLENDS)
def test_a_share_of_nothing_changes_no_pixel(blend, face):
    nothing = np.zeros((*face.shape[:2], 4), np.float32)
    assert np.array_equal(blended(face, nothing, blend), face)


@pytest.mark.parametrize("blend", BLENDS)
def test_a_solved_colour_makes_after_of_before(blend):
    draw = np.random.default_rng(0)
    before = draw.uniform(0.3, 0.7, (1, 50, 3)).astype(np.float32)
    after = before * draw.uniform(0.7, 1.1, (1, 50, 3)).astype(np.float32)
    layer = np.concatenate([solved(before, after, blend), np.ones((1, 50, 1), np.float32)], -1)
    made = blended(np.rint(255 * before).astype(np.uint8), layer, blend)
    assert np.abs(made / 255 - after).max() < 0.01


def test_strokes_on_white_multiply_as_they_are():
    strokes = np.array([[[255, 255, 255], [200, 30, 60]]], np.uint8)
    layer = paint_of(strokes, None)
    assert layer[0, 0].tolist() == [0, 0, 0, 0] and painted_box(layer) == (1, 0, 2, 1)
    made = blended(np.full((1, 2, 3), 180, np.uint8), layer, "multiply")
    assert np.abs(made[0, 1] - 180 * (strokes[0, 1] / 255)).max() <= 1


def test_no_paint_has_no_box():
    assert painted_box(paint_of(np.full((4, 4, 3), 255, np.uint8), None)) is None


def made_up(face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The face with red lips painted on, and where."""
    where = np.zeros(face.shape[:2], bool)
    where[132:146, 90:126] = True
    made = face.copy()
    made[where] = made[where] * np.array([0.9, 0.4, 0.5])
    return made, where


def test_the_difference_of_two_portraits_is_the_makeup(face):
    made, where = made_up(face)
    layer = computed(jpeg(face, 85), jpeg(made, 85), "multiply")
    assert layer[..., 3][where].mean() > 0.8
    assert (layer[..., 3] > 0.1).sum() < 3 * where.sum()
    redone = blended(face, layer, "multiply").astype(int)
    middle = np.s_[136:142, 98:118]
    assert np.abs(redone[middle] - made[middle]).mean() < 12


def test_the_same_portrait_has_no_makeup(face):
    assert painted_box(computed(jpeg(face, 80), jpeg(face, 95), "multiply")) is None


def test_small_shifts_are_undone_and_other_people_told(face):
    made, _ = made_up(face)
    moved, agreement = aligned(np.roll(face, (2, -3), (0, 1)), jpeg(made, 85))
    assert agreement > 0.9
    assert np.abs(moved[20:-20, 20:-20].astype(int) - face[20:-20, 20:-20]).mean() < 2
    assert aligned(face, np.ascontiguousarray(face[:, ::-1]))[1] < AGREES
    other = np.ascontiguousarray(data.cat()[40:260, 120:340])
    assert aligned(other, made)[1] < AGREES


def test_lips_beside_skin():
    portrait = np.full((40, 40, 3), (200, 150, 130), np.uint8)
    lips = np.zeros((40, 40), bool)
    lips[24:30, 12:28] = True
    portrait[lips] = (160, 60, 70)
    layer = relative(portrait, [lips], ~lips, "multiply")
    made = blended(np.full((40, 40, 3), (220, 180, 160), np.uint8), layer, "multiply")
    expected = np.array([160 / 200 * 220, 60 / 150 * 180, 70 / 130 * 160])
    assert np.abs(made[27, 20] - expected).max() < 12
    assert (made[2] == (220, 180, 160)).all()
