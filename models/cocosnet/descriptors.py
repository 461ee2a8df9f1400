"""What Eq. 3 correlates: each position's feature vector, or its 3x3 patch, at unit length.

Letters: B batch, C channels, H W query grid, h w key grid, N = H*W, n = h*w.

`correlation` is the dense reference that writes Eq. 3 down. `describe` makes what the streamed
functions of `matching` take: for patches, the inner product of two patches is the sum over nine
shifts of the plain inner product, so the 9C-wide descriptors are never built; their means and norms
follow from box sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from cocosnet.layers import ROUNDING, unit


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
        return self.features.shape[1] - 2 * self.pad, self.features.shape[2] - 2 * self.pad

    @property
    def pad(self) -> int:
        """Zeros around the features' grid."""
        return self.kernel // 2

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
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).sub_(offset)
    squares = torch.linalg.vector_norm(padded, dim=-1).square()
    sums = torch.stack([padded.sum(dim=-1), squares], dim=1)
    total, square = F.avg_pool2d(sums, kernel, 1, divisor_override=1).unbind(1)
    mean = total / math.sqrt(values)
    spread = square - mean.square()
    # A patch whose spread drowns in rounding is constant: it matches nothing.
    size = torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)[:, 0]
    least = torch.maximum(1e-6 * square, values / x[0].numel() * (ROUNDING * size).square())
    scale = torch.where(spread > least, spread.clamp_min(1e-30).rsqrt(), 0.0)
    return Side(padded.contiguous(), mean, scale)
