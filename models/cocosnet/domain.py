"""From two domains to one: the adaptors F_A and F_B (Eq. 1, 2) and the block that both share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cocosnet.config import ModelConfig
from cocosnet.layers import (
    Blocks,
    Conv2d,
    ResidualBlock,
    SpadeBlock,
    instance_norm,
    leaky,
    reflect_conv,
    single,
)


def channel_normalise(x: Tensor, *, centre: bool, eps: float) -> Tensor:
    """Unit L2 norm over channels at each position, after taking off the mean where `centre`.

    It closes an adaptor, so that Eq. 9 cannot be met by shrinking. (B,C,H,W) -> (B,C,H,W); in fp32
    whatever x is.
    """
    y = single(x)
    if centre:
        y = y - y.mean(dim=1, keepdim=True)
    return (y / (torch.linalg.vector_norm(y, dim=1, keepdim=True) + eps)).to(x.dtype)


def _stem(fin: int, width: int, kernel: int) -> nn.ModuleList:
    """The five convolutions of Table 5: n, 2n at 1/2, 4n, 8n at 1/4, 8n."""
    plan = [(1, 1), (2, 2), (4, 1), (8, 2), (8, 1)]
    convs = nn.ModuleList()
    for multiple, stride in plan:
        k = kernel if stride == 2 else 3
        convs.append(Conv2d(fin, multiple * width, k, stride, padding=1, bias=False))
        fin = multiple * width
    return convs


class PaperAdaptor(nn.Module):
    """F of Eq. 1 and 2 as in Table 5: five convolutions, three residual blocks."""

    def __init__(self, fin: int, config: ModelConfig) -> None:
        super().__init__()
        n = config.width
        self.convs = _stem(fin, n, config.adaptor_kernel)
        self.blocks = Blocks(
            ResidualBlock(a * n, b * n, "instance") for a, b in ((8, 8), (8, 8), (8, 4))
        )

    def features(self, x: Tensor) -> Tensor:
        """(B,fin,H,W) -> (B,4n,H/4,W/4), before normalisation."""
        for conv in self.convs:
            x = leaky(instance_norm(conv(x)))
        for block in self.blocks:
            x = self.blocks.run(block, x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(B,fin,H,W) -> (B,4n,H/4,W/4), zero mean and unit norm over channels."""
        return channel_normalise(self.features(x), centre=True, eps=1e-6)


class ReleasedAdaptor(nn.Module):
    """The released adaptor: its residual blocks are modulated by the adaptor's own input."""

    def __init__(self, fin: int, config: ModelConfig) -> None:
        super().__init__()
        n = config.width
        self.convs = _stem(fin, n, config.adaptor_kernel)
        self.blocks = Blocks(
            SpadeBlock(a * n, b * n, fin, config.hidden) for a, b in ((8, 8), (8, 8), (8, 4))
        )

    def features(self, x: Tensor) -> Tensor:
        """(B,fin,H,W) -> (B,4n,H/4,W/4), before normalisation."""
        raw = x
        for i, conv in enumerate(self.convs):
            x = instance_norm(conv(x if i == 0 else leaky(x)))
        for block in self.blocks:
            x = self.blocks.run(block, x, raw)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """(B,fin,H,W) -> (B,4n,H/4,W/4), unit norm over channels."""
        return channel_normalise(self.features(x), centre=False, eps=torch.finfo(torch.float64).eps)


class PaperShared(nn.Module):
    """The adaptive feature block: four residual blocks with batch norm, one 1x1, both branches."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = 4 * config.width
        self.blocks = nn.Sequential(*(ResidualBlock(c, c, "batch") for _ in range(4)))
        self.project = nn.Conv2d(c, c, 1)

    def start_as_identity(self) -> None:
        """Residual blocks that add nothing yet: what is learned first is domain S itself."""
        for i in range(len(self.blocks)):
            nn.init.zeros_(self.get_parameter(f"blocks.{i}.norm_1.weight"))

    def forward(self, x: Tensor) -> Tensor:
        """(B,4n,h,w) in domain S -> (B,4n,h,w) to correlate."""
        return self.project(self.blocks(x))

    def input_features(self, x: Tensor, condition: Tensor | None) -> Tensor:
        return self(x)

    def exemplar_features(self, x: Tensor, condition: Tensor | None) -> Tensor:
        return self(x)

    def both(
        self, x: Tensor, y: Tensor, condition: Tensor, exemplar_condition: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Both branches as one batch of 2B, which the batch norm sees as one."""
        ours, theirs = self(torch.cat([x, y])).chunk(2)
        return ours, theirs


class _SharedResidual(nn.Module):
    """conv, InstanceNorm, PReLU, conv, InstanceNorm, plus the input, the same PReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = reflect_conv(channels, channels)
        self.conv2 = reflect_conv(channels, channels)
        self.prelu = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(instance_norm(self.conv1(x)))
        return self.prelu(instance_norm(self.conv2(y)) + x)


class ReleasedShared(nn.Module):
    """The released block: the condition may be mixed in, and the two branches part at the 1x1."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.mask_mix = config.mask_mix
        c = 4 * config.width + (config.channels if config.mask_mix else 0)
        self.blocks = nn.Sequential(*(_SharedResidual(c) for _ in range(4)))
        self.theta = nn.Conv2d(c, 4 * config.width, 1)
        self.phi = nn.Conv2d(c, 4 * config.width, 1)

    def _mixed(self, x: Tensor, condition: Tensor | None) -> Tensor:
        if self.mask_mix:
            if condition is None:
                raise ValueError("these weights mix the exemplar's condition in: exemplar_input")
            condition = F.interpolate(condition, size=x.shape[-2:], mode="nearest")
            x = torch.cat([x, condition.to(x.dtype)], dim=1)
        return self.blocks(x)

    def input_features(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """(B,4n,h,w) of the input's adaptor, condition (B,K,H,W) -> (B,4n,h,w)."""
        return self.theta(self._mixed(x, condition))

    def exemplar_features(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """The same for the exemplar's branch; ValueError where its condition is missing."""
        return self.phi(self._mixed(x, condition))

    def both(
        self, x: Tensor, y: Tensor, condition: Tensor, exemplar_condition: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Both branches, one after the other."""
        theirs = self.exemplar_features(y, exemplar_condition)
        return self.input_features(x, condition), theirs
