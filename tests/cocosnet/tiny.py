"""Small seeded networks and inputs for the tests of the network library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from cocosnet import CoCosNet, Discriminator, DiscriminatorConfig, ModelConfig, presets
from cocosnet.layers import NonLocal
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = 3

PAPER = presets.paper(CHANNELS, width=2)
MASKED = presets.paper(CHANNELS, width=2, exemplar_mask=True)
MIXED = presets.released("celebahq-mask", width=2, channels=CHANNELS, hidden=4)
PATCHED = presets.released("deepfashion", width=2, channels=CHANNELS, hidden=4)
CONFIGS = {"paper": PAPER, "exemplar_mask": MASKED, "mask_mix": MIXED, "warp_patch": PATCHED}


def liven(module: nn.Module) -> nn.Module:
    """Give every parameter and statistic that starts at a neutral value one that matters."""
    for child in module.modules():
        if isinstance(child, NonLocal):
            child.gamma.data.fill_(0.7)
        if isinstance(child, nn.BatchNorm2d) and child.affine:
            nn.init.normal_(child.weight, 1, 0.2)
            nn.init.normal_(child.bias, 0, 0.2)
        if isinstance(child, nn.BatchNorm2d):
            nn.init.normal_(child.running_mean, 0, 0.1)
            nn.init.uniform_(child.running_var, 0.5, 1.5)
    return module.eval()


def network(config: ModelConfig = PAPER, seed: int = 0) -> CoCosNet:
    torch.manual_seed(seed)
    model = CoCosNet(config)
    liven(model)
    return model


def critic(channels: int = 0, seed: int = 0, **changes: Any) -> Discriminator:
    torch.manual_seed(seed)
    model = Discriminator(DiscriminatorConfig(channels=channels, width=2, **changes))
    liven(model)
    return model


def masks(
    batch: int = 1, height: int = 64, width: int = 64, channels: int = CHANNELS, seed: int = 0
) -> Tensor:
    """One-hot maps of random 8x8 blocks: (B,K,H,W)."""
    generator = torch.Generator().manual_seed(100 + seed)
    ids = torch.randint(channels, (batch, height // 8, width // 8), generator=generator)
    planes = F.one_hot(ids, channels).permute(0, 3, 1, 2).float()
    return F.interpolate(planes, size=(height, width), mode="nearest")


def photos(batch: int = 1, height: int = 64, width: int = 64, seed: int = 0) -> Tensor:
    """(B,3,H,W), -1..1."""
    generator = torch.Generator().manual_seed(200 + seed)
    return torch.rand(batch, 3, height, width, generator=generator) * 2 - 1


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(300 + seed))


@contextmanager
def saved_bytes() -> Iterator[list[int]]:
    """The sizes of the tensors that are kept for the backward pass, each storage once."""
    sizes: list[int] = []
    kept: dict[int, torch.Tensor] = {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in kept:
            kept[storage.data_ptr()] = x
            sizes.append(storage.nbytes())
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        yield sizes


def gap(a: Tensor, b: Tensor) -> float:
    """The largest absolute difference."""
    assert a.shape == b.shape, (a.shape, b.shape)
    return float((a - b).detach().abs().max())
