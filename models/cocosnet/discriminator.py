"""The two-scale patch discriminator of Eq. 13."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cocosnet.config import DiscriminatorConfig
from cocosnet.layers import GAIN, PAPER_GAIN, NonLocal, add_spectral_norm, initialise, leaky

WIDEST = 512


class PatchDiscriminator(nn.Module):
    """One scale: five convolutions of kernel 4, non-local attention before the fourth."""

    def __init__(self, fin: int, width: int) -> None:
        super().__init__()
        widths = [min(width * m, WIDEST) for m in (1, 2, 4, 8)]
        self.convs = nn.ModuleList()
        for i, (fout, stride) in enumerate(zip(widths, (2, 2, 2, 1), strict=True)):
            self.convs.append(nn.Conv2d(fin, fout, 4, stride, padding=1, bias=i == 0))
            fin = fout
        self.convs.append(nn.Conv2d(fin, 1, 4, padding=1))
        self.attention = NonLocal(widths[2])

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B,fin,H,W) -> the outputs of the five layers; the last, (B,1,h,w), is the verdict."""
        outputs = [leaky(self.convs[0](x))]
        for i, conv in enumerate(self.convs[1:4], start=1):
            before = self.attention(outputs[-1]) if i == 3 else outputs[-1]
            outputs.append(leaky(F.instance_norm(conv(before))))
        return [*outputs, self.convs[4](outputs[-1])]


class Discriminator(nn.Module):
    """Two scales; the second sees its input at half size. `spectral` False leaves the norm out."""

    def __init__(self, config: DiscriminatorConfig, *, spectral: bool = True) -> None:
        super().__init__()
        self.config = config
        self.scales = nn.ModuleList(
            PatchDiscriminator(config.channels + 3, config.width) for _ in range(2)
        )
        for scale in self.scales if spectral else ():
            if config.spectral_ends:
                add_spectral_norm(scale)
            else:
                add_spectral_norm(scale.attention)  # type: ignore[arg-type]
                add_spectral_norm(scale.convs[1:4])  # type: ignore[index,arg-type]

    def initialise(self) -> Discriminator:
        """Start values for training, as the model's generator has them."""
        initialise(self, PAPER_GAIN if self.config.spectral_ends else GAIN)
        return self

    def forward(self, image: Tensor, condition: Tensor | None = None) -> list[list[Tensor]]:
        """image (B,3,H,W), -1..1; condition (B,K,H,W) where the config has one.

        -> for each scale the outputs of its five layers.
        """
        x = image
        if self.config.channels:
            if condition is None:
                raise ValueError("this discriminator sees the condition beside the image")
            x = torch.cat([condition.to(image.dtype), image], dim=1)
        outputs = []
        for scale in self.scales:
            outputs.append(scale(x))
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return outputs
