"""Photos whose own pixels are kept."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from cocoscli.data.images import read_photo
from cocoscli.data.originals import read_original
from cocoscli.errors import BadInput


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def test_rgb_is_as_in_the_file(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_original(tmp_path / "a.png")
    assert np.array_equal(found.pixels, pixels) and found.alpha is None and found.profile is None
    assert found.seen(pixels) is pixels


def test_colours_below_transparency_stay(tmp_path, pixels):
    alpha = np.zeros((12, 16, 1), np.uint8)
    Image.fromarray(np.concatenate([pixels, alpha], -1)).save(tmp_path / "a.png")
    found = read_original(tmp_path / "a.png")
    assert np.array_equal(found.pixels, pixels) and not found.alpha.any()


def test_a_profile_is_kept_and_leads_there_and_back(tmp_path, pixels):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=profile)
    found = read_original(tmp_path / "a.png")
    assert found.profile == profile and np.array_equal(found.pixels, pixels)
    there = found.seen(pixels)
    assert np.abs(found.unseen(there).astype(int) - pixels).max() <= 2


def test_a_profile_that_means_nothing_is_dropped(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=b"nothing")
    assert read_original(tmp_path / "a.png").profile is None


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "I;16"])
def test_other_modes_are_read_as_photos_are(tmp_path, pixels, mode):
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    path = tmp_path / "a.tif"
    image.save(path)
    assert np.array_equal(read_original(path).pixels, read_photo(path))


def test_upright(tmp_path, pixels):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    found = read_original(tmp_path / "a.png")
    assert np.array_equal(found.pixels, np.rot90(pixels, -1))


def test_smaller(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = read_original(tmp_path / "a.png")
    assert found.shrunk(8).size == (8, 6) and found.shrunk(16) is found


def test_floats_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(BadInput, match="mode F"):
        read_original(tmp_path / "a.tif")
