"""SWD: pyramids by hand, equal sets, growth with noise, independence of order and batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from cocoscli.metrics.sliced import PatchSet, laplacian_pyramid, sliced_wasserstein


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """(4,256,256,3): smooth random pictures."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((4, 256, 256, 3))
    smooth = ndimage.gaussian_filter(noise, (0, 6, 6, 0))
    return np.clip(smooth * 1500 + 128, 0, 255).astype(np.uint8)


def patches(images: np.ndarray, batch: int = 4, seed: int = 0) -> PatchSet:
    found = PatchSet(seed)
    for start in range(0, len(images), batch):
        found.add(images[start : start + batch])
    return found


def noisy(images: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, deviation, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def test_the_pyramid_is_that_of_the_definition(images):
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    levels, x = [], images[0, :, :, 0].astype(np.float64)
    for _ in range(4):
        smaller = ndimage.convolve(x, kernel, mode="mirror")[::2, ::2]
        spread = np.zeros_like(x)
        spread[::2, ::2] = smaller
        levels.append(x - ndimage.convolve(spread, 4 * kernel, mode="mirror"))
        x = smaller
    planes = torch.from_numpy(images[:1].transpose(0, 3, 1, 2).astype(np.float32))
    for found, expected in zip(laplacian_pyramid(planes), [*levels, x], strict=True):
        assert found[0, 0].numpy() == pytest.approx(expected, abs=1e-3)


def test_equal_sets_have_no_distance_in_any_order(images):
    again = patches(images[::-1].copy(), batch=1)
    assert sliced_wasserstein(patches(images), again) == pytest.approx([0] * 5, abs=1e-4)


def test_the_distance_grows_with_noise(images):
    sums = [sum(sliced_wasserstein(patches(images), patches(noisy(images, d)))) for d in (2, 8, 32)]
    assert 0 < sums[0] < sums[1] < sums[2]


def test_brightness_alone_is_standardised_away(images):
    darker = (images.astype(int) // 2).astype(np.uint8)
    own = sum(sliced_wasserstein(patches(images), patches(darker)))
    assert own < sum(sliced_wasserstein(patches(images), patches(noisy(images, 32))))


def test_the_same_seed_gives_the_same_figure(images):
    other = noisy(images, 8)
    first = sliced_wasserstein(patches(images, seed=3), patches(other, seed=3))
    again = sliced_wasserstein(patches(images, 1, seed=3), patches(other[::-1].copy(), 2, seed=3))
    assert again == pytest.approx(first, abs=1e-4)
    different = sliced_wasserstein(patches(images, seed=4), patches(other, seed=4))
    assert different != pytest.approx(first, abs=1e-4)


def test_of_a_larger_set_as_many_count(images):
    assert sliced_wasserstein(patches(images), patches(images[:1])) == pytest.approx(
        sliced_wasserstein(patches(images[:1]), patches(images[:1])), abs=1e-4
    )
