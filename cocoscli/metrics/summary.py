"""Figures of pairs to the figure of a set."""

from __future__ import annotations

from typing import NamedTuple

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
