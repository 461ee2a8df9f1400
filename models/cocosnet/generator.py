"""The translation network G (section 3.2): the warped exemplar modulates every block."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cocosnet.config import MULTIPLE, ModelConfig
from cocosnet.layers import (
    Blocks,
    Conv2d,
    NonLocal,
    Spade,
    SpadeBlock,
    add_spectral_norm,
    as_weights,
    generator_norm,
    leaky,
    reflect_conv,
)

WIDTHS = (16, 16, 16, 8, 4, 2, 1)
"""Channels of the seven residual blocks, in multiples of the width n (Table 5)."""
UP_BEFORE = (False, True, False, True, True, True, True)
"""Where the size doubles; before block 6 the non-local block follows the doubling."""
ATTENTION_BEFORE = 5


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


class StyleEncoder(nn.Module):
    """T_i of Eq. 6: two convolutions from the warped exemplar to alpha_i and beta_i."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.trunk = Conv2d(3, hidden, 3, padding=1)
        self.heads = Conv2d(hidden, 2 * channels, 3, padding=1)

    def forward(self, warped: Tensor, size: torch.Size) -> tuple[Tensor, Tensor]:
        """warped (B,3,any,any), a block's (H,W) -> alpha, beta (B,c_i,H,W)."""
        warped = F.interpolate(warped, size=size, mode="bilinear", align_corners=False)
        alpha, beta = self.heads(F.relu(self.trunk(warped))).chunk(2, dim=1)
        return alpha, beta


class PaperBlock(nn.Module):
    """A residual block with one modulated norm (Eq. 5: alpha * norm(F) + beta)."""

    def __init__(self, fin: int, fout: int, config: ModelConfig) -> None:
        super().__init__()
        self.conv_0 = reflect_conv(fin, fout)
        self.norm = generator_norm(config.norm, fout)
        self.style = StyleEncoder(fout, config.hidden)
        self.conv_1 = reflect_conv(fout, fout)
        self.shortcut = nn.Conv2d(fin, fout, 1, bias=False) if fin != fout else nn.Identity()

    def forward(self, x: Tensor, warped: Tensor) -> Tensor:
        """x (B,fin,H,W), warped exemplar (B,3,any,any) -> (B,fout,H,W)."""
        y = self.conv_0(leaky(x))
        alpha, beta = self.style(warped, y.shape[-2:])
        y = self.conv_1(leaky(alpha * self.norm(y) + beta))
        return y + self.shortcut(x)


class _Generator(nn.Module):
    """What both forms share: seven blocks that grow from 1/32 to full size, and the way out."""

    blocks: Blocks
    attention: NonLocal
    out: nn.Conv2d

    def grow(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B,16n,H/32,W/32) and what modulates the blocks -> (B,3,H,W), -1..1."""
        for i, block in enumerate(self.blocks):
            if UP_BEFORE[i]:
                x = _double(x)
            if i == ATTENTION_BEFORE:
                x = self.attention(x)
            x = self.blocks.run(block, x, condition)
        return torch.tanh(self.out(as_weights(self.out, leaky(x))))


class PaperGenerator(_Generator):
    """Table 5: a constant code z, seven modulated norms; only the warped exemplar enters."""

    def __init__(self, config: ModelConfig, spectral: bool = True) -> None:
        super().__init__()
        n = config.width
        self.code = nn.Parameter(torch.randn(1, 16 * n, 8, 8))
        self.start = Conv2d(16 * n, 16 * n, 3, padding=1)
        fins = (16, *WIDTHS[:-1])
        self.blocks = Blocks(
            PaperBlock(a * n, b * n, config) for a, b in zip(fins, WIDTHS, strict=True)
        )
        self.attention = NonLocal(4 * n)
        self.out = nn.Conv2d(n, 3, 3, padding=1)
        if spectral:
            add_spectral_norm(self)

    def forward(self, warped: Tensor, x: Tensor) -> Tensor:
        """Eq. 7. warped (B,3,H/4,W/4); of the condition x (B,K,H,W) only its size is used."""
        warped = as_weights(self, warped)
        size = (x.shape[-2] // MULTIPLE, x.shape[-1] // MULTIPLE)
        code = F.interpolate(self.code, size=size, mode="bilinear", align_corners=False)
        return self.grow(self.start(code.expand(len(warped), -1, -1, -1)), warped)


class ReleasedGenerator(_Generator):
    """The released generator: warped exemplar and condition map modulate all norms."""

    def __init__(self, config: ModelConfig, spectral: bool = True) -> None:
        super().__init__()
        n, condition = config.width, 3 + config.channels
        self.start = Conv2d(condition, 16 * n, 3, padding=1)
        fins = (16, *WIDTHS[:-1])
        self.blocks = Blocks(
            SpadeBlock(a * n, b * n, condition, config.hidden, config.norm)
            for a, b in zip(fins, WIDTHS, strict=True)
        )
        self.attention = NonLocal(4 * n)
        self.out = nn.Conv2d(n, 3, 3, padding=1)
        if spectral:
            add_spectral_norm(self.blocks, skip=(Spade,))
            add_spectral_norm(self.attention)

    def forward(self, warped: Tensor, x: Tensor) -> Tensor:
        """warped (B,3,H,W) and the condition x (B,K,H,W) -> (B,3,H,W), -1..1."""
        condition = torch.cat([as_weights(self, warped), as_weights(self, x)], dim=1)
        size = (x.shape[-2] // MULTIPLE, x.shape[-1] // MULTIPLE)
        start = F.interpolate(condition, size=size, mode="nearest")
        return self.grow(self.start(start), condition)
