"""Dense matching (Eq. 4, 12): pure functions, streamed, exact, forward and backward.

Letters: B batch, C channels, H W query grid, h w key grid, N = H*W, n = h*w, D values to warp.

The N x n matrix of Eq. 3 is never held: its tiles (`tiles`) go through a running softmax, and the
gradient computes them again. What follows from the statistics of a match is in `flow`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from cocosnet.config import STRIDE
from cocosnet.descriptors import Side
from cocosnet.layers import full_precision
from cocosnet.tiles import Adjoint, Tile, Tiles

LOWEST = -1e30
"""Below every correlation over a temperature, and finite."""
NEGLIGIBLE = -60.0
"""Logits so far below the row maximum count for nothing: exponentials of less than 1e-26. Smaller
ones end as denormal numbers, which processors take ten times as long to multiply."""


def warp(query: Side, key: Side, values: Tensor, temperature: float) -> Tensor:
    """Eq. 4: at each query position the softmax-weighted mean of the key's values.

    values (B or 1, D, h, w) lie on the key's grid; the result (B,D,H,W) on the query's. Eq. 12's
    way back is the same with the sides exchanged. Can be differentiated once, in all it takes.
    """
    batch = max(len(query.features), len(key.features))
    out = []
    with full_precision(query.features):
        for i in range(batch):
            table = values[min(i, len(values) - 1)].flatten(1).t().float()
            warped = _Warp.apply(temperature, *query.take(i), *key.take(i), table)
            out.append(warped.t().unflatten(1, query.grid))
    return torch.stack(out)


class _Warp(torch.autograd.Function):
    """Eq. 4 of one sample: sides and a table of values (n,D) -> (N,D)."""

    @staticmethod
    def forward(ctx: Any, temperature: float, *tensors: Any) -> Tensor:
        *sides, table = tensors
        query, key = Side(*sides[:3]), Side(*sides[3:])
        tiles = Tiles(query, key, temperature)
        strips = [_warp_strip(tiles, strip, table) for strip in tiles.strips]
        warped, log_total = (torch.cat(parts) for parts in zip(*strips, strict=True))
        ctx.temperature = temperature
        ctx.save_for_backward(*tensors, warped, log_total)
        return warped

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *sides, table, warped, log_total = ctx.saved_tensors
        query, key = Side(*sides[:3]), Side(*sides[3:])
        width, w = query.grid[1], key.grid[1]
        tiles = Tiles(query, key, ctx.temperature)
        adjoint = Adjoint(tiles)
        of_table = torch.zeros_like(table)
        inner = (gradient * warped).sum(dim=1, keepdim=True)
        with full_precision(table):
            for top, bottom in tiles.strips:
                rows = slice(top * width, bottom * width)
                for tile in tiles.walk(top, bottom):
                    columns = slice(tile.left * w, tile.right * w)
                    p = _exp(tile.logits - log_total[rows])
                    of_table[columns].addmm_(p.t(), gradient[rows])
                    pull = (gradient[rows] @ table[columns].t()).sub_(inner[rows]).mul_(p)
                    adjoint.add((top, bottom), tile, pull)
        return None, *adjoint.query, *adjoint.key, of_table


def _warp_strip(tiles: Tiles, strip: tuple[int, int], table: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of Eq. 4 (R*W,D), and the logarithm (R*W,1) of their softmax's denominator."""
    running = _Running(table)
    w = tiles.key.grid[1]
    for tile in tiles.walk(*strip):
        running.add(tile.logits, tile.logits.amax(dim=1, keepdim=True), tile.left * w)
    return running.mean, running.maximum + running.total.log()


def _exp(logits: Tensor) -> Tensor:
    """exp in place, 0 where negligible."""
    return F.threshold_(logits, NEGLIGIBLE, -torch.inf).exp_()


class _Running:
    """A softmax-weighted mean of a table (n,D), as the columns of the logits come in."""

    def __init__(self, table: Tensor) -> None:
        self.table = torch.cat([table, torch.ones_like(table[:, :1])], dim=1)
        self.maximum = table.new_tensor(LOWEST)
        self.sums = table.new_zeros(())

    def add(self, logits: Tensor, peaks: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Logits (R,T) of columns `start` to start+T and their row maxima (R,1) -> the factor (R,1)
        that what was summed before shrank by, and the exponentials, in the logits' place."""
        maximum = torch.maximum(self.maximum, peaks)
        shrink = (self.maximum - maximum).exp()
        exponentials = _exp(logits.sub_(maximum))
        self.maximum = maximum
        values = self.table[start : start + logits.shape[1]]
        self.sums = shrink * self.sums + exponentials @ values
        return shrink, exponentials

    @property
    def total(self) -> Tensor:
        """(R,1): the softmax's denominator, over the exponential of the maximum."""
        return self.sums[:, -1:]

    @property
    def mean(self) -> Tensor:
        return self.sums[:, :-1] / self.total


@dataclass(frozen=True)
class Statistics:
    """What the match says besides colours; indices are flat positions on the other grid."""

    best: Tensor
    """(B,H,W) long: the key position of the row maximum."""
    maximum: Tensor
    """(B,H,W): the row maximum of Eq. 3, -1..1."""
    entropy: Tensor
    """(B,H,W): entropy of the softmax over key positions, 0..log n, in nats."""
    mean: Tensor
    """(B,H,W,2): the softmax's mean position, xy in key cells."""
    covariance: Tensor
    """(B,H,W,3): xx, xy and yy of its positions, in squared cells."""
    best_back: Tensor
    """(B,h,w) long: the query position of each key position's column maximum."""


@torch.no_grad()
def statistics(query: Side, key: Side, temperature: float) -> Statistics:
    """All of `Statistics`, in one pass."""
    batch = max(len(query.features), len(key.features))
    with full_precision(query.features):
        samples = [
            _statistics(Tiles(query.take(i), key.take(i), temperature)) for i in range(batch)
        ]
    return Statistics(*(torch.stack(parts) for parts in zip(*samples, strict=True)))


def _statistics(tiles: Tiles) -> tuple[Tensor, ...]:
    """The fields of `Statistics` for one sample."""
    (height, width), (h, w) = tiles.query.grid, tiles.key.grid
    table = _moments_table(h, w, tiles.key.features.device)
    columns = _Columns(tiles)
    strips = []
    for strip in tiles.strips:
        rows = _Rows(table)
        for tile in tiles.walk(*strip):
            columns.add(strip[0] * width, tile)
            rows.add(tile.logits, tile.left * w)
        strips.append(rows.results())
    best, maximum, entropy, mean, covariance = (torch.cat(p) for p in zip(*strips, strict=True))
    shape = (height, width)
    return (
        best.view(shape),
        maximum.view(shape) * tiles.temperature,
        entropy.view(shape),
        mean.view(*shape, 2) + mean.new_tensor([(w - 1) / 2, (h - 1) / 2]),
        covariance.view(*shape, 3),
        columns.best.view(h, w),
    )


def _moments_table(h: int, w: int, device: torch.device) -> Tensor:
    """(n,5): x, y, xx, xy, yy of each key cell, from the grid's middle."""
    y, x = torch.meshgrid(
        torch.arange(h, device=device) - (h - 1) / 2,
        torch.arange(w, device=device) - (w - 1) / 2,
        indexing="ij",
    )
    return torch.stack([x, y, x * x, x * y, y * y], dim=-1).flatten(0, 1)


class _Rows:
    """A strip's row statistics."""

    def __init__(self, table: Tensor) -> None:
        self.running = _Running(table)
        self.best: Tensor | int = 0
        self.energy: Tensor | float = 0.0
        """The sum of exponentials times what they are of."""

    def add(self, logits: Tensor, start: int) -> None:
        peaks, first = logits.max(dim=1, keepdim=True)
        before, total = self.running.maximum, self.running.sums
        self.best = torch.where(peaks > before, first + start, self.best)
        shrink, exponentials = self.running.add(logits.clone(), peaks, start)
        fall = before - self.running.maximum
        if total.ndim:
            self.energy = shrink * (self.energy + fall * total[:, -1:])
        logits.sub_(self.running.maximum).mul_(exponentials)
        self.energy = self.energy + logits.sum(dim=1, keepdim=True)

    def results(self) -> tuple[Tensor, ...]:
        """Best, maximum, entropy, mean from the middle, covariance; rows of the strip."""
        running, moments = self.running, self.running.mean
        assert isinstance(self.best, Tensor)
        entropy = running.total.log() - self.energy / running.total
        x, y, xx, xy, yy = moments.unbind(1)
        covariance = torch.stack([xx - x * x, xy - x * y, yy - y * y], dim=1)
        return self.best, running.maximum, entropy, moments[:, :2], covariance


class _Columns:
    """The column maximum of each key position, as tiles come in."""

    def __init__(self, tiles: Tiles) -> None:
        h, w = tiles.key.grid
        self.width = w
        self.maximum = tiles.key.features.new_full((h * w,), -torch.inf)
        self.best = torch.zeros(h * w, dtype=torch.long, device=self.maximum.device)

    def add(self, start: int, tile: Tile) -> None:
        """A tile whose first row is query position `start`."""
        span = slice(tile.left * self.width, tile.right * self.width)
        highest, first = tile.logits.max(dim=0)
        better = highest > self.maximum[span]
        self.maximum[span] = torch.where(better, highest, self.maximum[span])
        self.best[span] = torch.where(better, first + start, self.best[span])


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
