"""How sure a difference of two runs is: bootstrap over the pairs that both have measured."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
AT_ONCE = 100
CONFIDENCE = 0.95


class Difference(NamedTuple):
    """The mean of differences, and the interval that holds it with `CONFIDENCE`."""

    mean: float
    low: float
    high: float
    pairs: int


def paired_difference(one: np.ndarray, other: np.ndarray, seed: int = 0) -> Difference | None:
    """Figures (N,) of the same pairs in two runs -> the first less the second.

    Pairs that lack a figure (NaN) in either are left out; None where fewer than two remain.
    """
    gaps = (one - other)[np.isfinite(one) & np.isfinite(other)]
    if len(gaps) < 2:
        return None
    rng = np.random.default_rng(seed)
    means = [
        gaps[rng.integers(0, len(gaps), (AT_ONCE, len(gaps)))].mean(axis=1)
        for _ in range(RESAMPLES // AT_ONCE)
    ]
    edge = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), (edge, 1 - edge))
    return Difference(float(gaps.mean()), float(low), float(high), len(gaps))
