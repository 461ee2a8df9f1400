"""How far a match can be trusted: figures of one pair, and the two failures of Appendix H.

Letters: h w the input's matching grid, h' w' the exemplar's. Arrays are NumPy's, since they are
what is left of a match once it is to be written.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from cocosnet.config import STRIDE

LOW_CONFIDENCE = 0.5
"""A cell below this is unsure: as an even choice among the square root of all positions is."""
ONE_TO_MANY = 0.5
"""From this share of unsure cells on, a pair is flagged one-to-many."""
CROWDED = 0.1
"""From this share of all cells on that match one exemplar position, a pair is flagged
many-to-one."""
FEW_USED = 0.25
"""So is one whose cells use less than this share of the positions that they could use. Matches
drawn by chance use 0.63, those of trained weights on faces 0.3 to 0.5."""


@dataclass(frozen=True)
class Quality:
    """Figures of a match, by the names that they have in the manifest."""

    confidence: float
    """Mean over the input's cells, 0..1."""
    cycle_error: float
    """Mean over the input's cells, in pixels."""
    mutual: float
    """The share of cells that are the best match of their best match."""
    low_confidence: float
    """The share of cells below `LOW_CONFIDENCE`."""
    one_to_many: bool
    most_used: int
    """The most cells that one exemplar position is the best match of."""
    used: float
    """Different positions used, as a share of those that could be: of as many as there are cells,
    or of all."""
    many_to_one: bool


def count_usage(best: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Best matches (h,w,2), xy in exemplar pixels -> (h',w') int32: cells that match each position.

    These are the cells of the input alone; `Match.usage` counts those of its padding too.
    """
    column, row = np.moveaxis(np.floor(best / STRIDE).astype(np.int64), -1, 0)
    counts = np.bincount((row * grid[1] + column).ravel(), minlength=grid[0] * grid[1])
    return counts.reshape(grid).astype(np.int32)


def judge(
    confidence: np.ndarray, cycle_error: np.ndarray, mutual: np.ndarray, usage: np.ndarray
) -> Quality:
    """The figures of a match: (h,w) confidence, cycle error, mutual; (h',w') usage."""
    unsure = float((confidence < LOW_CONFIDENCE).mean())
    cells, most = confidence.size, int(usage.max())
    used = int(np.count_nonzero(usage)) / min(cells, usage.size)
    return Quality(
        confidence=round(float(confidence.mean()), 4),
        cycle_error=round(float(cycle_error.mean()), 3),
        mutual=round(float(mutual.mean()), 4),
        low_confidence=round(unsure, 4),
        one_to_many=unsure >= ONE_TO_MANY,
        most_used=most,
        used=round(used, 4),
        many_to_one=most >= CROWDED * cells or used < FEW_USED,
    )
