"""Curves of any length in little memory, for drawing."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

POINTS = 500
"""Bins of a curve at most."""


@dataclass(slots=True)
class Bin:
    """Values of neighbouring steps: their number, sums and range."""

    count: int = 0
    steps: int = 0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def take(self, other: Bin) -> None:
        self.count += other.count
        self.steps += other.steps
        self.total += other.total
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)


class Curve:
    """Values by step, as bins of one width in steps; it doubles when there are too many bins."""

    def __init__(self, most: int = POINTS) -> None:
        self._most = most
        self._width = 1
        self._bins: defaultdict[int, Bin] = defaultdict(Bin)

    def add(self, step: int, value: float) -> None:
        """Values that are not finite (a gradient that overflowed in fp16) are left out."""
        if not math.isfinite(value):
            return
        self._bins[step // self._width].take(Bin(1, step, value, value, value))
        while len(self._bins) > self._most:
            self._widen()

    def _widen(self) -> None:
        self._width *= 2
        wider: defaultdict[int, Bin] = defaultdict(Bin)
        for key, each in self._bins.items():
            wider[key // 2].take(each)
        self._bins = wider

    def points(self) -> list[tuple[int, float, float, float]]:
        """(mean step, mean, lowest, highest) of every bin, by step; values to four digits."""
        return [
            (round(b.steps / b.count), _short(b.total / b.count), _short(b.low), _short(b.high))
            for _, b in sorted(self._bins.items())
        ]


def _short(value: float) -> float:
    return float(f"{value:.4g}")
