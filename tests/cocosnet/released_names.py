"""Our networks under the released code's names: the inverse of what `released` reads."""

from __future__ import annotations

import re
from pathlib import Path

import cocosnet
import torch
from cocosnet import CoCosNet, Discriminator
from torch import Tensor

HEADS = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3")
INSIDE = {
    ".parametrizations.weight.original": ".weight_orig",
    ".parametrizations.weight.0._": ".weight_",
    ".trunk.": ".mlp_shared.1.",
    ".shortcut.": ".conv_s.",
}
OUTSIDE = {
    "input_adaptor": "adaptive_model_seg",
    "exemplar_adaptor": "adaptive_model_img",
    "shared.blocks": "layer",
    "shared.theta": "theta",
    "shared.phi": "phi",
    "start": "fc",
    "out": "conv_img",
    "attention": "attn",
}


def _name(key: str) -> str:
    for ours, theirs in INSIDE.items():
        key = key.replace(ours, theirs)
    for ours, theirs in OUTSIDE.items():
        key = re.sub(rf"^{ours}(?=\.)", theirs, key)
    key = re.sub(r"\.convs\.(\d)\.", lambda m: f".layer{int(m[1]) + 1}.0.", key)
    return re.sub(r"(^|\.)blocks\.(\d)\.", lambda m: f"{m[1]}{HEADS[int(m[2])]}.", key)


def network_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of a correspondence network or generator, spectral norm not folded."""
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        if ".heads." in key:
            for part, half in zip(("gamma", "beta"), value.chunk(2), strict=True):
                out[_name(key).replace(".heads.", f".mlp_{part}.")] = half.clone()
        else:
            out[_name(key)] = value.clone()
    return out


def discriminator_state(state: dict[str, Tensor], decoder: bool = True) -> dict[str, Tensor]:
    """The state dict of a discriminator; `decoder` adds some of the release's unused branch."""
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        for ours, theirs in INSIDE.items():
            key = key.replace(ours, theirs)
        key = re.sub(r"^scales\.(\d)\.", r"discriminator_\1.", key).replace(".attention.", ".attn.")
        key = re.sub(r"\.convs\.([04])\.", r".model\1.0.", key)
        key = re.sub(r"\.convs\.([123])\.", r".model\1.0.0.", key)
        out[key] = value.clone()
    if decoder:
        for scale in range(2):
            out[f"discriminator_{scale}.dec.1.0.weight_orig"] = torch.zeros(4, 8, 3, 3)
            out[f"discriminator_{scale}.dec.1.0.weight_u"] = torch.zeros(4)
            out[f"discriminator_{scale}.dec.9.bias"] = torch.zeros(3)
    return out


def states(model: CoCosNet) -> dict[str, dict[str, Tensor]]:
    return {
        "Corr": network_state(model.correspondence.state_dict()),
        "G": network_state(model.generator.state_dict()),
    }


def write(folder: Path, states: dict[str, dict[str, Tensor]], epoch: str = "latest") -> Path:
    for name, state in states.items():
        torch.save(state, folder / f"{epoch}_net_{name}.pth")
    return folder


def shapes(state: dict[str, Tensor]) -> dict[str, list[int]]:
    return {key: list(value.shape) for key, value in state.items()}


def full_size(task: str) -> dict[str, dict[str, list[int]]]:
    """Keys and shapes of the three networks of a task as ours are built."""
    config = cocosnet.presets.released(task)
    with torch.device("meta"):
        model = CoCosNet(config)
        critic = Discriminator(cocosnet.presets.discriminator(config))
        all_states = states(model) | {"D": discriminator_state(critic.state_dict(), decoder=False)}
    return {f"net_{name}": shapes(state) for name, state in all_states.items()}
