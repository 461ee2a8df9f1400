"""Dense matching (Eq. 3, 4, 12): pure functions, streamed over rows of the query grid.

Letters: B batch, C channels, H W query grid, h w key grid, N = H*W, n = h*w, D values to warp.

`correlation` is the dense reference that writes Eq. 3 down. `warp` and `statistics` give the same
numbers without ever holding the N x n matrix: a few query rows at a time. For descriptors that are
3x3 patches, the inner product of two patches is the sum over nine shifts of the plain inner
product, so the 9C-wide descriptors are never built; their means and norms follow from box sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cocosnet.config import STRIDE
from cocosnet.layers import BLOCK_ELEMENTS, ROUNDING, full_precision, recomputed, unit


def descriptors(features: Tensor, kernel: int = 1, norm: str = "channel") -> Tensor:
    """The vectors that Eq. 3 correlates, explicitly: (B,C,H,W) -> (B, C*kernel^2, N), unit norm.

    `kernel` 3 takes zero-padded 3x3 patches. `norm` "channel" takes off the mean over channels at
    each position (the paper), "spatial" each channel's mean over positions (Figure 19).
    """
    x = F.unfold(features, kernel, padding=kernel // 2) if kernel > 1 else features.flatten(2)
    x = x - x.mean(dim=1 if norm == "channel" else 2, keepdim=True)
    return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + torch.finfo(torch.float64).eps)


def correlation(query: Tensor, key: Tensor, kernel: int = 1, norm: str = "channel") -> Tensor:
    """Eq. 3, dense: (B,C,H,W), (B,C,h,w) -> (B,N,n), values -1..1. For tests and small maps."""
    return descriptors(query, kernel, norm).transpose(1, 2) @ descriptors(key, kernel, norm)


class Side(NamedTuple):
    """One side of a match, ready to be correlated; `describe` makes it.

    The correlation of u and v is `(S(u,v) - mean(u) * mean(v)) * scale(u) * scale(v)`, where S is
    the inner product of `features`, summed over nine shifts where `kernel` is 3.
    """

    features: Tensor
    """(B, H+2p, W+2p, C), p = kernel // 2 zeros around."""
    mean: Tensor | None
    """(B,H,W): sqrt(9C) times the patch mean; None where the features are centred already."""
    scale: Tensor | None
    """(B,H,W): one over the patch's norm, 0 for a constant patch; None where it is 1."""

    @property
    def kernel(self) -> int:
        return 1 if self.scale is None else 3

    @property
    def grid(self) -> tuple[int, int]:
        pad = 2 * (self.kernel // 2)
        return self.features.shape[1] - pad, self.features.shape[2] - pad

    def take(self, i: int) -> Side:
        """Sample i alone (sample 0 where one side serves a whole batch)."""
        i = min(i, len(self.features) - 1)
        return self.map(lambda x: x[i : i + 1])

    def map(self, function: Callable[[Tensor], Tensor]) -> Side:
        """The same for each tensor that is there."""
        return Side(
            function(self.features),
            None if self.mean is None else function(self.mean),
            None if self.scale is None else function(self.scale),
        )

    @staticmethod
    def stack(sides: Sequence[Side]) -> Side:
        """Sides of one grid as a batch."""
        first, *_ = sides
        columns = zip(*sides, strict=True)
        joined = [None if x is None else torch.cat(c) for x, c in zip(first, columns, strict=True)]
        assert joined[0] is not None
        return Side(joined[0], joined[1], joined[2])


def describe(features: Tensor, kernel: int = 1, norm: str = "channel") -> Side:
    """Features of one side (B,C,H,W) -> what the streamed functions take; always in fp32."""
    x = features.float()
    if kernel == 1:
        centred = x - x.mean(dim=1 if norm == "channel" else (2, 3), keepdim=True)
        return Side(unit(centred, x).permute(0, 2, 3, 1).contiguous(), None, None)
    if norm != "channel":
        raise ValueError(f"norm {norm!r} is defined for kernel 1 only")
    values = kernel**2 * x.shape[1]
    # A constant taken off everywhere, the padding included, changes no centred patch, and keeps
    # the difference below from cancelling.
    offset = x.mean(dim=(1, 2, 3), keepdim=True)
    padded = F.pad(x, (1, 1, 1, 1)) - offset
    sums = torch.stack([padded.sum(dim=1), padded.square().sum(dim=1)], dim=1)
    total, square = F.avg_pool2d(sums, kernel, 1, divisor_override=1).unbind(1)
    mean = total / math.sqrt(values)
    spread = square - mean.square()
    # A patch whose spread drowns in rounding is constant: it matches nothing.
    least = torch.maximum(
        1e-6 * square, ROUNDING**2 * values * x.square().mean(dim=(1, 2, 3), keepdim=True)[:, 0]
    )
    scale = torch.where(spread > least, spread.clamp_min(1e-30).rsqrt(), 0.0)
    return Side(padded.permute(0, 2, 3, 1).contiguous(), mean, scale)


def _strips(query: Side, key: Side) -> list[tuple[int, int]]:
    """Rows of the query grid, from and to, whose correlations are held at once."""
    (height, width), (h, w) = query.grid, key.grid
    rows = max(1, min(height, BLOCK_ELEMENTS // (width * h * w)))
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


def _correlate(query: Side, key: Side, top: int, bottom: int) -> Tensor:
    """Eq. 3 of one sample for some rows of the query grid: ((bottom-top)*W, n)."""
    strip = query.features[0, top : bottom + 2 * (query.kernel // 2)]
    m = strip.flatten(0, 1) @ key.features[0].flatten(0, 1).t()
    if query.mean is not None and query.scale is not None:
        assert key.mean is not None and key.scale is not None
        m = _nine_shifts(m.view(*strip.shape[:2], *key.features.shape[1:3])).flatten(2)
        mean, scale = query.mean[0, top:bottom], query.scale[0, top:bottom]
        m = torch.addr(m.flatten(0, 1), mean.flatten(), key.mean.flatten(), alpha=-1)
        m = m * key.scale.flatten() * scale.reshape(-1, 1)
    return m


def _nine_shifts(p: Tensor) -> Tensor:
    """Plain products on padded grids (R+2,W+2,h+2,w+2) -> patch products (R,W,h,w).

    The sum over the nine shared shifts, along x first and then along y.
    """
    p = p[:, :-2, :, :-2] + p[:, 1:-1, :, 1:-1] + p[:, 2:, :, 2:]
    return p[:-2, :, :-2] + p[1:-1, :, 1:-1] + p[2:, :, 2:]


def warp(query: Side, key: Side, values: Tensor, temperature: float) -> Tensor:
    """Eq. 4: at each query position the softmax-weighted mean of the key's values.

    values (B or 1, D, h, w) lie on the key's grid; the result (B,D,H,W) on the query's. Eq. 12's
    way back is the same with the sides exchanged. Where the grids take more than one block, their
    correlations are computed again for the gradient and never kept.
    """
    batch = max(len(query.features), len(key.features))
    out = []
    with full_precision(query.features):
        for i in range(batch):
            table = values[min(i, len(values) - 1)].flatten(1).t().float()
            inputs = query.take(i), key.take(i), table, temperature
            strips = _strips(*inputs[:2])
            again = len(strips) > 1 and torch.is_grad_enabled()
            rows = [
                recomputed(_warp, *inputs, *strip) if again else _warp(*inputs, *strip)
                for strip in strips
            ]
            out.append(torch.cat(rows).t().unflatten(1, query.grid))
    return torch.stack(out)


def _warp(
    query: Side, key: Side, table: Tensor, temperature: float, top: int, bottom: int
) -> Tensor:
    """Rows of Eq. 4 for one sample, with its values as a table (n,D): ((bottom-top)*W, D)."""
    m = _correlate(query, key, top, bottom)
    return torch.softmax(m / temperature, dim=1) @ table


@dataclass(frozen=True)
class Statistics:
    """What the match says besides colours; indices are flat positions on the other grid."""

    best: Tensor
    """(B,H,W) long: the key position of the row maximum."""
    maximum: Tensor
    """(B,H,W): the row maximum of Eq. 3, -1..1."""
    entropy: Tensor
    """(B,H,W): entropy of the softmax over key positions, 0..log n, in nats."""
    best_back: Tensor
    """(B,h,w) long: the query position of each key position's column maximum."""


@torch.no_grad()
def statistics(query: Side, key: Side, temperature: float) -> Statistics:
    """Row maximum, arg-maximum and entropy, and the column's arg-maximum, in one pass."""
    with full_precision(query.features):
        return _statistics(query, key, temperature)


def _statistics(query: Side, key: Side, temperature: float) -> Statistics:
    batch = max(len(query.features), len(key.features))
    (height, width), (h, w) = query.grid, key.grid
    rows: list[list[Tensor]] = [[], [], []]
    backs = []
    for i in range(batch):
        column_max = query.features.new_full((h * w,), -torch.inf)
        column_best = torch.zeros(h * w, dtype=torch.long, device=query.features.device)
        sides = query.take(i), key.take(i)
        for top, bottom in _strips(*sides):
            m = _correlate(*sides, top, bottom)
            maximum, best = m.max(dim=1)
            log_p = torch.log_softmax(m / temperature, dim=1)
            entropy = -(log_p.exp() * log_p).sum(dim=1)
            for into, part in zip(rows, (best, maximum, entropy), strict=True):
                into.append(part)
            highest, first = m.max(dim=0)
            better = highest > column_max
            column_max = torch.where(better, highest, column_max)
            column_best = torch.where(better, first + top * width, column_best)
        backs.append(column_best.view(h, w))
    best, maximum, entropy = (torch.cat(r).view(batch, height, width) for r in rows)
    return Statistics(best, maximum, entropy, torch.stack(backs))


def flow(best: Tensor, width: int) -> Tensor:
    """Best matches (B,H,W), flat on a grid `width` wide -> (B,H,W,2) xy in image pixels.

    Pixel centres lie at integers and cell i is centred at 4i + 1.5.
    """
    x, y = best % width, torch.div(best, width, rounding_mode="floor")
    return torch.stack([x, y], dim=-1).float() * STRIDE + (STRIDE - 1) / 2


def confidence(entropy: Tensor, positions: int) -> Tensor:
    """1 - entropy / log n: 1 for one sure match, 0 for none better than another."""
    return (1 - entropy / math.log(positions)).clamp(0, 1)


def cycle_error(stats: Statistics) -> Tensor:
    """Distance in pixels from each query cell to where its match's own best match lies: (B,H,W)."""
    batch, height, width = stats.best.shape
    there = stats.best.flatten(1)
    back = torch.gather(stats.best_back.flatten(1), 1, there).view(batch, height, width)
    start = torch.arange(height * width, device=back.device).view(1, height, width)
    return torch.linalg.vector_norm(flow(back, width) - flow(start, width), dim=-1)


def to_grid(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average-pool (B,D,H',W') onto a matching grid (B,D,h,w), as the exemplar's colours are."""
    if tuple(values.shape[-2:]) == grid:
        return values
    return F.adaptive_avg_pool2d(values, grid)


def to_patches(image: Tensor) -> Tensor:
    """(B,D,H,W) -> (B,16D,H/4,W/4): each cell holds its whole 4x4 patch."""
    return F.pixel_unshuffle(image, STRIDE)


def from_patches(patches: Tensor) -> Tensor:
    """Inverse of `to_patches`."""
    return F.pixel_shuffle(patches, STRIDE)
