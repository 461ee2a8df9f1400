"""Results as files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cocoscli.data.encoding import FORMATS, encode_image, srgb_profile, thumbnail

PIXELS = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize("format", FORMATS)
def test_files_are_tagged_and_repeatable(format):
    data = encode_image(PIXELS, format)
    assert data == encode_image(PIXELS, format)
    assert opened(data).size == (53, 37) and opened(data).info["icc_profile"] == srgb_profile()


@pytest.mark.parametrize(("format", "quality"), [("png", 1), ("webp", 100)])
def test_lossless(format, quality):
    assert np.array_equal(np.asarray(opened(encode_image(PIXELS, format, quality))), PIXELS)


@pytest.mark.parametrize("format", ["jpg", "webp"])
def test_quality_costs_bytes(format):
    assert len(encode_image(PIXELS, format, 20)) < len(encode_image(PIXELS, format, 95))


def test_thumbnails_fit():
    assert opened(thumbnail(np.zeros((900, 300, 3), np.uint8))).size == (85, 256)
    assert opened(thumbnail(PIXELS)).size == (53, 37)
    assert opened(thumbnail(np.zeros((1, 5000, 3), np.uint8))).size == (256, 1)
