"""The Frechet distance of two sets of features, from their means and covariances.

On Inception's pool features it is FID; on any other network's it has a name of its own.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Moments:
    """Mean and covariance of features (C,) as they come, in float64; memory is C * C numbers."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self._mean = torch.zeros(channels, dtype=torch.float64)
        self._scatter = torch.zeros(channels, channels, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Take features (B,C)."""
        for x in features.double().cpu():  # one by one: the sums depend on no batch
            self.count += 1
            away = x - self._mean
            self._mean += away / self.count
            self._scatter.addr_(away, x - self._mean)

    @property
    def mean(self) -> np.ndarray:
        """(C,)"""
        return self._mean.numpy()

    @property
    def covariance(self) -> np.ndarray:
        """(C,C), unbiased; needs two features at least."""
        return (self._scatter / (self.count - 1)).numpy()


def frechet_distance(one: Moments, other: Moments) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2); 0 for equal sets.

    The trace of the root is the sum of singular values of the product of both roots, which are
    real whatever the rank: covariances of few images have little.
    """
    away = one.mean - other.mean
    roots = _root(one.covariance) @ _root(other.covariance)
    shared = np.linalg.svd(roots, compute_uv=False).sum()
    total = np.trace(one.covariance) + np.trace(other.covariance)
    return float(max(away @ away + total - 2 * shared, 0.0))


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T
