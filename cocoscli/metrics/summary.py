"""Figures of pairs to the figure of a set."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor


class Mean(NamedTuple):
    """The mean of what could be measured."""

    value: float
    """NaN where nothing could."""
    used: int
    """Pairs that it is the mean of."""
    left_out: int
    """Pairs that have no such figure (NaN), as those without a shared class."""

    @staticmethod
    def of(values: Tensor) -> Mean:
        """values (N,), a figure a pair; summed in float64."""
        kept = values[~values.isnan()].double()
        return Mean(float(kept.mean()), len(kept), len(values) - len(kept))


WORST = 0.05
"""The share of pairs that `worst_end` looks at."""


def worst_end(values: np.ndarray, better: str) -> float:
    """What the worst twentieth of figures (N,) does not reach; NaN where there is none.

    The 5th percentile where `higher` is better, else the 95th.
    """
    kept = values[~np.isnan(values)]
    if not len(kept):
        return float("nan")
    return float(np.quantile(kept, WORST if better == "higher" else 1 - WORST))
