"""Photos resized by torch, beside Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image

from cocoscli.data.resizing import resize_bicubic

BICUBIC = Image.Resampling.BICUBIC
NOISE = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(286, 286), (64, 40), (1, 1), (200, 90), (700, 1200)])
def test_as_pillow_row_by_row_and_then_by_columns(size):
    """torch's weights are whole numbers of fewer bits than Pillow's: up to 2 levels apart."""
    found = resize_bicubic(NOISE, size)
    rows = Image.fromarray(NOISE).resize((size[0], 300), BICUBIC)
    expected = np.array(rows.resize(size, BICUBIC))
    assert found.shape == (size[1], size[0], 3) and found.dtype == np.uint8
    apart = np.abs(found.astype(int) - expected)
    assert apart.max() <= 2 and apart.mean() < 0.05


def test_a_flat_photo_stays_as_it_is():
    flat = np.full((5, 9, 3), (0, 127, 255), np.uint8)
    assert (resize_bicubic(flat, (31, 17)) == (0, 127, 255)).all()


def test_the_same_on_any_number_of_threads():
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            found.append(resize_bicubic(NOISE, (500, 400)))
    finally:
        torch.set_num_threads(before)
    assert (found[0] == found[1]).all() and (found[1] == found[2]).all()
