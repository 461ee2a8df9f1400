"""Two images of one kind of thing laid over each other by their features.

The arg-max of a match decides for each cell alone. Here neighbours decide together: for every
displacement within reach, the correlations of all cells are smoothed, and each cell takes the
displacement that is best in its neighbourhood. So a smooth motion is found where features are
alike over wide regions, as skin is. Both images have one grid and are roughly aligned already.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cocosnet.config import STRIDE
from cocosnet.descriptors import Side

EVEN = 0.1
"""What is added to every direction's strength, relative to the strongest one's, before they are
made even."""
SHARPNESS = 0.05
"""Temperature of the choice among displacements."""


class Registration(NamedTuple):
    """Where each cell of the first image lies in the second, B h w its grid."""

    moves: Tensor
    """(B,h,w,2) xy in pixels, to a fraction of a cell."""
    agreement: Tensor
    """(B,h,w), -1..1: the correlation there, over the neighbourhood."""
    certainty: Tensor
    """(B,h,w), 0..1: how much of a soft choice among all displacements falls on it."""
    cycle_error: Tensor
    """(B,h,w): pixels between a cell and where the way back from its place leads."""


def register(first: Tensor, second: Tensor, reach: int, spread: float) -> Registration:
    """Displacements of up to `reach` cells between features (B,h,w,C), decided over neighbourhoods
    of `spread` cells (the standard deviation of a Gaussian)."""
    ours, theirs = evened(first, second)
    there = _smoothed(correlations(ours, theirs, reach), spread)
    back = _smoothed(correlations(theirs, ours, reach), spread)
    moves, agreement, certainty = _best(there, reach)
    returns, _, _ = _best(back, reach)
    return Registration(STRIDE * moves, agreement, certainty, STRIDE * _cycle_error(moves, returns))


def features_of(side: Side) -> Tensor:
    """(B,h,w,C): what a side correlates, without its padding."""
    height, width = side.grid
    return side.features[:, side.pad : side.pad + height, side.pad : side.pad + width]


def evened(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Features (B,h,w,C) of both images, centred and turned so that all their directions count
    alike, at unit length.

    A network's few strongest directions tell skin from hair from ground; weaker ones tell where on
    the skin. It is done pair by pair, over both images together.
    """
    values = torch.cat([x.flatten(1, 2) for x in torch.broadcast_tensors(first, second)], dim=1)
    middle = values.mean(dim=1, keepdim=True)
    centred = (values - middle).double()
    covariance = centred.transpose(1, 2) @ centred / centred.shape[1]
    strengths, directions = torch.linalg.eigh(covariance)
    deviations = strengths.clamp_min(0).sqrt()
    weights = 1 / (deviations + EVEN * deviations[:, -1:]).clamp_min(1e-12)
    turn = (directions * weights[:, None]).to(values.dtype)

    def turned(x: Tensor) -> Tensor:
        rows = (x - middle[:, None]).flatten(1, 2) @ turn
        return F.normalize(rows, dim=-1).unflatten(1, x.shape[1:3])

    return turned(first.expand_as(second) if len(first) < len(second) else first), turned(second)


def correlations(first: Tensor, second: Tensor, reach: int) -> Tensor:
    """(B,h,w,C) both -> (B,r,r,h,w), r = 2 reach + 1: the inner product of each cell with that
    displaced by (dy, dx); -1 beyond the border."""
    batch, height, width, _ = first.shape
    padded = F.pad(second, (0, 0, reach, reach, reach, reach))
    side = 2 * reach + 1
    found = first.new_empty(batch, side, side, height, width)
    inside = F.pad(first.new_ones(1, height, width), (reach,) * 4)
    for dy in range(side):
        for dx in range(side):
            there = (slice(dy, dy + height), slice(dx, dx + width))
            product = (first * padded[:, there[0], there[1]]).sum(dim=-1)
            found[:, dy, dx] = torch.where(inside[:, there[0], there[1]] > 0, product, -1.0)
    return found


def _smoothed(volume: Tensor, spread: float) -> Tensor:
    """Each displacement's correlations over the neighbourhood of each cell."""
    radius = max(1, round(3 * spread))
    offsets = torch.arange(-radius, radius + 1, device=volume.device)
    kernel = torch.exp(-(offsets.float() ** 2) / (2 * spread**2))
    kernel = (kernel / kernel.sum()).to(volume.dtype)
    planes = volume.flatten(0, 2)[:, None]
    planes = F.pad(planes, (radius,) * 4, mode="replicate")
    planes = F.conv2d(planes, kernel.view(1, 1, -1, 1))
    planes = F.conv2d(planes, kernel.view(1, 1, 1, -1))
    return planes.view_as(volume)


def _best(volume: Tensor, reach: int) -> tuple[Tensor, Tensor, Tensor]:
    """Moves (B,h,w,2) in cells at the top of each cell's correlations, the top, its certainty."""
    side = 2 * reach + 1
    flat = volume.flatten(1, 2)
    top, index = flat.max(dim=1)
    row, column = torch.div(index, side, rounding_mode="floor"), index % side

    def value(dy: int, dx: int) -> Tensor:
        place = (row + dy).clamp(0, side - 1) * side + (column + dx).clamp(0, side - 1)
        return flat.gather(1, place[:, None])[:, 0]

    def peak(before: Tensor, after: Tensor) -> Tensor:
        bend = (2 * top - before - after).clamp_min(1e-9)
        return ((after - before) / (2 * bend)).clamp(-0.5, 0.5)

    x = column - reach + peak(value(0, -1), value(0, 1))
    y = row - reach + peak(value(-1, 0), value(1, 0))
    certainty = torch.softmax(flat / SHARPNESS, dim=1).amax(dim=1)
    return torch.stack([x, y], dim=-1), top, certainty


def _cycle_error(moves: Tensor, returns: Tensor) -> Tensor:
    """Cells between each cell and where its match's own match lies: (B,h,w)."""
    batch, height, width, _ = moves.shape
    rows, columns = torch.meshgrid(
        torch.arange(height, device=moves.device), torch.arange(width, device=moves.device),
        indexing="ij",
    )  # fmt: skip
    x = (columns + moves[..., 0]).round().long().clamp(0, width - 1)
    y = (rows + moves[..., 1]).round().long().clamp(0, height - 1)
    index = (y * width + x).flatten(1)[..., None].expand(-1, -1, 2)
    back = returns.flatten(1, 2).gather(1, index).view(batch, height, width, 2)
    return torch.linalg.vector_norm(moves + back, dim=-1)
