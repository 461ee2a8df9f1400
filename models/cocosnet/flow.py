"""What follows from the statistics of a match: flow, confidence, cycle error, sub-pixel peaks.

Positions are xy in pixels of the image that they lie on: pixel centres at integers, and cell i of a
matching grid is centred at 4i + 1.5.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cocosnet.config import STRIDE
from cocosnet.descriptors import Side
from cocosnet.layers import full_precision
from cocosnet.matching import Statistics

AGREE = 2.0 * STRIDE
"""What rounding to whole cells can make of neighbours that move alike, in pixels."""


def pixels(cells: Tensor) -> Tensor:
    """Positions in cells of a matching grid -> in pixels."""
    return cells * STRIDE + (STRIDE - 1) / 2


def in_cells(pixels: Tensor) -> Tensor:
    """Positions in pixels -> in cells of a matching grid."""
    return (pixels - (STRIDE - 1) / 2) / STRIDE


def cells(index: Tensor, width: int) -> Tensor:
    """Flat positions (...) on a grid `width` wide -> (...,2) xy in cells."""
    return torch.stack([index % width, torch.div(index, width, rounding_mode="floor")], dim=-1)


def positions(best: Tensor, width: int) -> Tensor:
    """Best matches (B,H,W), flat on a grid `width` wide -> (B,H,W,2) xy in image pixels."""
    return pixels(cells(best, width).float())


def confidence(entropy: Tensor, positions: int) -> Tensor:
    """1 - entropy / log n: 1 for one sure match, 0 for none better than another."""
    return (1 - entropy / math.log(positions)).clamp(0, 1)


def there_and_back(stats: Statistics) -> Tensor:
    """(B,H,W) long: the query cell that is the best match of each query cell's best match."""
    there = stats.best.flatten(1)
    return torch.gather(stats.best_back.flatten(1), 1, there).view_as(stats.best)


def mutual(stats: Statistics) -> Tensor:
    """(B,H,W) bool: whether the best match's own best match is the cell itself."""
    return cycle_error(stats) == 0


def cycle_error(stats: Statistics) -> Tensor:
    """Distance in pixels from each query cell to where its match's own best match lies: (B,H,W)."""
    _, height, width = stats.best.shape
    own = centres((height, width), stats.best.device)
    return torch.linalg.vector_norm(positions(there_and_back(stats), width) - own, dim=-1)


def usage(stats: Statistics) -> Tensor:
    """(B,h,w) long: how many query cells have each key cell as their best match.

    Large where the match is many-to-one (Appendix H).
    """
    counts = torch.zeros_like(stats.best_back.flatten(1))
    best = stats.best.flatten(1)
    return counts.scatter_add_(1, best, torch.ones_like(best)).view_as(stats.best_back)


@torch.no_grad()
def refined(query: Side, key: Side, best: Tensor) -> Tensor:
    """Best matches (B,H,W) -> (B,H,W,2) xy in pixels, at the top of the correlation around them.

    A parabola through each match and its two neighbours, along x and along y, moves it by up to
    half a cell; at the grid's border it stays.
    """
    h, w = key.grid
    found = cells(best, w)
    offsets = []
    with full_precision(query.features):
        middle = correlation_at(query, key, found)
        for axis, last in ((0, w - 1), (1, h - 1)):
            step = torch.zeros(2, dtype=torch.long, device=best.device)
            step[axis] = 1
            inside = (found[..., axis] > 0) & (found[..., axis] < last)
            sides = (
                correlation_at(query, key, torch.where(inside[..., None], found + s, found))
                for s in (-step, step)
            )
            offsets.append(torch.where(inside, _peak(middle, *sides), 0.0))
    return pixels(found + torch.stack(offsets, dim=-1))


def _peak(middle: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Where the parabola through values at 0, -1 and 1 has its top: -0.5..0.5."""
    bend = 2 * middle - before - after
    return torch.where(bend > 0, (after - before) / (2 * bend).clamp_min(1e-12), 0.0).clamp(
        -0.5, 0.5
    )


def correlation_at(query: Side, key: Side, found: Tensor) -> Tensor:
    """Eq. 3 of each query cell with one key cell, xy (B,H,W,2) long: (B,H,W)."""
    batch, height, width, _ = found.shape
    x, y = found.unbind(-1)
    sample = torch.arange(batch, device=x.device).view(-1, 1, 1)
    whose = sample.clamp_max(len(key.features) - 1)
    total = query.features.new_zeros(batch, height, width)
    for dy in range(query.kernel):
        for dx in range(query.kernel):
            ours = query.features[:, dy : dy + height, dx : dx + width]
            total += (ours * key.features[whose, y + dy, x + dx]).sum(dim=-1)
    if query.mean is not None and query.scale is not None:
        assert key.mean is not None and key.scale is not None
        total = (total - query.mean * key.mean[whose, y, x]) * query.scale * key.scale[whose, y, x]
    return total


def centres(grid: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """(h,w,2): xy of a grid's cells in pixels."""
    height, width = grid
    index = torch.arange(height * width, device=device).view(height, width)
    return positions(index, width)


def displacement_at(flow: Tensor, points: Tensor) -> Tensor:
    """The displacements, match less position, of points between cells.

    flow (B,h,w,2), points (...,2) xy in pixels -> (B,...,2). A point takes the displacements of the
    cells around it: bilinear weights among those that agree with its nearest cell to `AGREE`
    pixels, so that the two sides of a jump are not mixed. Beyond the border it is the border's.
    """
    batch, height, width, _ = flow.shape
    last = torch.tensor([width - 1, height - 1], device=flow.device)
    moved = (flow - centres((height, width), flow.device)).flatten(1, 2)
    place = in_cells(points).clamp_min(0).minimum(last)

    def displacement(cell: Tensor) -> Tensor:
        index = cell[..., 1] * width + cell[..., 0]
        return moved[:, index.flatten()].view(batch, *index.shape, 2)

    nearest = displacement((place + 0.5).floor().long())
    before = place.floor().long()
    part = place - before
    total, weights = torch.zeros_like(nearest), torch.zeros_like(nearest[..., :1])
    for corner in ((0, 0), (1, 0), (0, 1), (1, 1)):
        step = torch.tensor(corner, device=flow.device)
        found = displacement((before + step).minimum(last))
        apart = torch.linalg.vector_norm(found - nearest, dim=-1, keepdim=True)
        weight = (1 - step - part).abs().prod(dim=-1, keepdim=True) * (apart <= AGREE)
        total += weight * found
        weights += weight
    return total / weights
