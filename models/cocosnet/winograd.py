"""3x3 convolutions by Winograd's minimal filtering, F(4x4, 3x3): a quarter of the products.

A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural Networks (2016). An output tile of
4x4 comes from an input tile of 6x6: the input tile goes through one matrix, each of the 36 places
that come out is a product over channels of its own, and what these give goes through another
matrix. The polynomials behind it are evaluated at 0, +-1/sqrt(2), +-sqrt(2) and infinity: points so
close to 1 in size that fp32 is about as exact as in the plain sum.

For inference on a CPU, whose libraries have no such convolution. In bf16 all three are products of
bf16 summed in fp32, which costs a relative error of about 1.5 % against 0.2 % of the plain sum; all
but a hundredth of it is that of the places, however tiles and results are transformed.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

TILE = 4
"""Outputs of a tile a side."""
PLACES = TILE + 2
"""Its inputs a side."""
TILES_AT_ONCE = 256
"""Tiles whose places are held at once, so that they stay in the cache."""


@cache
def _matrices(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """What 3x3 weights (36,9), input tiles (36,36) and places (16,36) go through."""
    p, q = math.sqrt(0.5), math.sqrt(2.0)
    points = (p, -p, q, -q)
    others = (q, q, p, p)
    both = p**2 * q**2, p**2 + q**2
    divisors = [2 * x**2 * (x**2 - y**2) for x, y in zip(points, others, strict=True)]
    of_weight = [[1 / both[0], 0.0, 0.0]]
    of_weight += [[1 / d, x / d, x**2 / d] for x, d in zip(points, divisors, strict=True)]
    of_weight += [[0.0, 0.0, 1.0]]
    of_input = [[both[0], 0.0, -both[1], 0.0, 1.0, 0.0]]
    of_input += [
        [0.0, -x * y**2, -(y**2), x, 1.0, 0.0] for x, y in zip(points, others, strict=True)
    ]
    of_input += [[0.0, both[0], 0.0, -both[1], 0.0, 1.0]]
    of_places = [
        [float(k == 0), *(x**k for x in points), float(k == TILE - 1)] for k in range(TILE)
    ]
    sides = (torch.tensor(m, dtype=torch.float64) for m in (of_weight, of_input, of_places))
    weight, input, places = (torch.kron(side, side).to(dtype) for side in sides)
    return weight, input, places


def transformed(weight: Tensor) -> Tensor:
    """A weight (O,C,3,3) -> (36,C,O), what `convolve` takes."""
    matrix, _, _ = _matrices(torch.float32)
    places = matrix @ weight.permute(2, 3, 1, 0).flatten(0, 1).flatten(1).float()
    return places.view(-1, weight.shape[1], weight.shape[0]).to(weight.dtype)


def convolve(padded: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """padded (B,C,H+2,W+2), weight as `transformed` gives it, bias (O) -> (B,O,H,W), channels last.

    H and W are multiples of 4. Has no gradient.
    """
    batch, _, height, width = padded.shape
    out = padded.new_empty(batch, height - 2, width - 2, weight.shape[2])
    for sample, into in zip(padded.permute(0, 2, 3, 1).contiguous(), out, strict=True):
        _convolve(sample, weight, bias, into)
    return out.permute(0, 3, 1, 2)


def _convolve(padded: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """padded (H+2,W+2,C), out (H,W,O)."""
    _, of_input, of_places = _matrices(weight.dtype)
    down, across = out.shape[0] // TILE, out.shape[1] // TILE
    _, inputs, outputs = weight.shape
    tiles = padded.unfold(0, PLACES, TILE).unfold(1, PLACES, TILE).permute(3, 4, 0, 1, 2)
    results = out.view(down, TILE, across, TILE, outputs).permute(1, 3, 0, 2, 4)
    rows = max(1, TILES_AT_ONCE // across)
    for top in range(0, down, rows):
        strip = slice(top, top + rows)
        places = of_input @ tiles[:, :, strip].flatten(0, 1).flatten(1)
        products = torch.bmm(places.view(PLACES**2, -1, inputs), weight).flatten(1)
        found = (of_places @ products).view(TILE, TILE, -1, across, outputs)
        into = results[:, :, strip]
        into.copy_(found if bias is None else found.add_(bias))
