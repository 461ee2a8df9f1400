"""How near an image is to another at the same pixels: to a true rendering, or another output."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """(H,W,3) uint8 twice -> decibels; infinite for equal images."""
    error = np.mean((image.astype(np.float64) - truth) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(image: np.ndarray, truth: np.ndarray) -> float:
    """(H,W,3) uint8 twice, 7 px a side at least -> at most 1: scikit-image's, windows of 7x7."""
    from skimage.metrics import structural_similarity  # slow to import

    return float(structural_similarity(image, truth, channel_axis=2, data_range=255))


def feature_distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Tensor:
    """Activations (B,C,h,w) of the same layers -> (B,), 0..4 a layer, the mean over layers.

    The squared difference of unit-length features, averaged over places: LPIPS without its
    learned weights.
    """
    layers = [
        (F.normalize(one[name], dim=1) - F.normalize(other[name], dim=1)).square().sum(dim=1)
        for name in one
    ]
    return torch.stack([x.mean(dim=(1, 2)) for x in layers]).mean(dim=0)
