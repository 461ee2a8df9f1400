"""Windows of photos, maps along their edges, and paint at the photo's own size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from cocoscli.data import wearing
from cocoscli.data.guided import Guided
from cocoscli.data.originals import Original
from cocoscli.data.smooth_maps import affine
from cocoscli.data.wearing import Worn, grid_places, wear
from cocoscli.data.windows import SIDE, Window, whole, window


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """800 x 600."""
    small = np.ascontiguousarray(data.astronaut()[:384])
    return cv2.resize(small, (800, 600), interpolation=cv2.INTER_CUBIC)


def original(pixels: np.ndarray) -> Original:
    return Original(pixels.copy(), None, None)


def test_a_window_shows_what_lies_there(photo):
    """Pixels of a turned window are the photo's at the places that it names."""
    found = window(original(photo), np.array([330.0, 200.0]), 300, 0.4)
    x, y = affine(found.place, grid_places()).astype(np.float32).transpose(2, 0, 1)
    there = cv2.remap(photo, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shown = found.pixels[::2, ::2].astype(int)
    assert np.abs(shown - there).mean() < 3


def test_the_whole_photo_in_a_square(photo):
    found = whole(original(photo))
    corners = affine(found.place, np.array([[-0.5, -0.5], [SIDE - 0.5, SIDE - 0.5]]))
    assert np.allclose(corners, [[-0.5, -100.5], [799.5, 699.5]])
    assert np.abs(found.pixels[300, 256].astype(int) - photo[369, 400]).max() < 60


def test_a_window_beyond_the_photo(photo):
    found = window(original(photo), np.array([-500.0, -500.0]), 100)
    assert (found.pixels == photo[0, 0]).all()


def test_transparency_is_white_in_a_window(photo):
    clear = Original(photo, np.zeros(photo.shape[:2], np.uint8), None)
    assert (whole(clear).pixels == 255).all()


def test_a_jump_follows_the_edge():
    """A map whose jump lies off the photo's edge, brought to a photo four times as large."""
    small = np.zeros((40, 40, 3), np.uint8)
    small[:, 20:] = 220
    values = np.zeros((40, 40, 1))
    values[:, 22:] = 1
    large = cv2.resize(small, (160, 160), interpolation=cv2.INTER_NEAREST)
    x, y = np.meshgrid(np.arange(160), np.arange(160))
    places = (np.stack([x, y], axis=-1) + 0.5) / 4 - 0.5
    found = Guided.of(values, small).at(places, large)[80, :, 0]
    steps = np.abs(np.diff(found))
    assert steps.argmax() == 79 and steps[79] > 0.5 * np.ptp(found)


def test_a_smooth_map_stays_what_it_was(photo):
    small = cv2.resize(photo, (40, 40))
    ramp = np.linspace(0, 1, 40)[None, :, None].repeat(40, axis=0)
    x, y = np.meshgrid(np.arange(40), np.arange(40))
    found = Guided.of(ramp, small).at(np.stack([x, y], axis=-1), small)
    assert np.abs(found - ramp)[:, 8:-8].max() < 0.15
    assert np.abs(found - ramp)[:, 8:-8].mean() < 0.03


def disc(photo: np.ndarray) -> tuple[Worn, Window]:
    """A red disc whose paint has half of the photo's size, in the photo's middle."""
    paint = np.zeros((100, 100, 4), np.float32)
    x, y = np.meshgrid(np.arange(100), np.arange(100))
    paint[np.hypot(x - 49.5, y - 49.5) < 30] = (0.8, 0.1, 0.1, 1)
    found = whole(original(photo))
    places = (affine(found.place, grid_places()) - (300, 200)) / 2
    worn = Worn.of(paint, found, places, np.ones(places.shape[:2]))
    assert worn is not None
    return worn, found


def test_paint_lies_where_it_was_placed_and_the_rest_is_untouched(photo):
    worn, _ = disc(photo)
    made = original(photo)
    wear(made, worn, "alpha")
    changed = (made.pixels != photo).any(axis=-1)
    x, y = np.meshgrid(np.arange(800), np.arange(600))
    away = np.hypot(x - 400, y - 300)
    assert changed[away < 50].mean() > 0.99 and not changed[away > 75].any()
    assert np.abs(made.pixels[300, 400].astype(int) - (204, 26, 26)).max() <= 2


def test_strips_make_no_difference(photo, monkeypatch):
    worn, _ = disc(photo)
    found = []
    for rows in (7, 1000):
        monkeypatch.setattr(wearing, "ROWS", rows)
        made = original(photo)
        wear(made, worn, "multiply")
        found.append(made.pixels)
    assert np.abs(found[0].astype(int) - found[1]).max() <= 1


def test_on_a_smaller_photo_for_the_page(photo):
    worn, _ = disc(photo)
    made = original(cv2.resize(photo, (400, 300), interpolation=cv2.INTER_AREA))
    wear(made, worn, "alpha", scale=0.5)
    assert np.abs(made.pixels[150, 200].astype(int) - (204, 26, 26)).max() <= 2


def test_nothing_is_worn_beyond_the_window(photo):
    paint = np.ones((10, 10, 4), np.float32)
    places = grid_places() + 5000
    assert Worn.of(paint, whole(original(photo)), places, np.ones(places.shape[:2])) is None
