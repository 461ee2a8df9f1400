from __future__ import annotations

import numpy as np
import pytest
import torch

from cocoscli.metrics.fidelity import feature_distance, psnr, ssim


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (16, 16, 3), dtype=np.uint8)


def test_a_difference_of_ten_levels_in_decibels(image):
    assert psnr(image, image + 10) == pytest.approx(20 * np.log10(25.5))
    assert psnr(image, image) == np.inf


def test_equal_images_are_alike_and_noise_is_not(image):
    noise = np.random.default_rng(1).integers(0, 256, image.shape, dtype=np.uint8)
    assert ssim(image, image) == pytest.approx(1)
    assert ssim(image, noise) < 0.2


def test_the_distance_of_features_is_that_of_their_directions():
    one = {"a": torch.tensor([[[[1.0, 2.0]], [[0.0, 0.0]]]])}
    other = {"a": torch.tensor([[[[3.0, 0.0]], [[0.0, 5.0]]]])}
    # Place 1: the same direction; place 2: a right angle, 2.
    assert feature_distance(one, other).tolist() == [1.0]
    assert feature_distance(one, one).tolist() == [0.0]
