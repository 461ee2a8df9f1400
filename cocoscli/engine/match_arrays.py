"""What a network found for one pair, as arrays of the cells that the input fills."""

from __future__ import annotations

from dataclasses import dataclass

import cocosnet
import numpy as np
from cocosnet.config import STRIDE
from torch import Tensor

from cocoscli.data.images import Size
from cocoscli.metrics.matches import count_usage


@dataclass(frozen=True)
class Way:
    """One way of a match: from each cell of one image to a place in the other, in pixels."""

    flow: np.ndarray
    """(h,w,2) xy."""
    confidence: np.ndarray
    """(h,w), 0..1."""
    cycle_error: np.ndarray
    """(h,w), pixels."""


@dataclass(frozen=True)
class MatchArrays:
    """A match. Sizes are (width, height) in the pixels that flows are in."""

    size: Size
    exemplar_size: Size
    there: Way
    """From the input to the exemplar."""
    best: np.ndarray
    """(h,w,2): the arg-max, which `there.flow` is too unless that is sub-pixel."""
    soft_flow: np.ndarray
    """(h,w,2): where the match lies on average, weighted by its softmax."""
    spread: np.ndarray
    """(h,w,3): the covariance of that, xx, xy and yy in square pixels."""
    mutual: np.ndarray
    """(h,w) bool."""
    back_flow: np.ndarray
    """(h',w',2): the best match of each exemplar cell in the input."""
    usage: np.ndarray
    """(h',w') int32: how many of the input's cells match each exemplar cell."""

    def archive(self) -> dict[str, object]:
        """What an .npz file holds of it."""
        return {
            "flow": self.there.flow, "confidence": self.there.confidence,
            "cycle_error": self.there.cycle_error, "mutual": self.mutual, "usage": self.usage,
            "back_flow": self.back_flow, "soft_flow": self.soft_flow, "spread": self.spread,
            "size": self.size, "exemplar_size": self.exemplar_size, "stride": STRIDE,
        }  # fmt: skip


def to_arrays(match: cocosnet.Match, n: int, size: Size, *, subpixel: bool) -> MatchArrays:
    """Item n of a match whose input is of (width, height); what it was padded by is left out."""

    def ours(values: Tensor) -> np.ndarray:
        return _cut(values[n], size)

    rows, columns = match.bank.side.grid
    best = ours(match.flow)
    return MatchArrays(
        size=size,
        exemplar_size=(columns * STRIDE, rows * STRIDE),
        there=to_way(match, n, size, subpixel=subpixel),
        best=best,
        soft_flow=ours(match.soft_flow),
        spread=ours(match.spread),
        mutual=ours(match.mutual),
        back_flow=_whole(match.back_flow[n]),
        usage=count_usage(best, (rows, columns)),
    )


def to_way(match: cocosnet.Match, n: int, size: Size, *, subpixel: bool) -> Way:
    """One way of item n of a match, from an image of (width, height)."""
    flow = match.refined_flow if subpixel else match.flow
    kept = (flow, match.confidence, match.cycle_error)
    return Way(*(_cut(values[n], size) for values in kept))


def turned(match: cocosnet.Match) -> cocosnet.Match:
    """The match the other way: from the exemplar to the input."""
    bank = cocosnet.ExemplarBank(match.query, match.colours)
    return cocosnet.Match(match.bank.side, bank, match.config)


def _cut(values: Tensor, size: Size) -> np.ndarray:
    """Values (h,w,...) of the cells that an image of (width, height) fills."""
    columns, rows = (-(-side // STRIDE) for side in size)
    return _whole(values[:rows, :columns])


def _whole(values: Tensor) -> np.ndarray:
    return (values.float() if values.is_floating_point() else values).cpu().numpy()
