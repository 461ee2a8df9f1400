"""Seeded random weights of the released networks, in the release's own files and names.

    python benchmarks/full_size.py KEYS.json TASK FOLDER

KEYS.json is {task: {network: {key: shape}}}.

The pictures that they make mean nothing; sizes, speed and memory are those of the real weights.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

PREFIXES = {"celebahq-mask": "celebahq", "celebahq-edge": "celebahqedge"}
POWER_ITERATIONS = 5


def random_state(shapes: dict[str, list[int]], generator: torch.Generator) -> dict[str, Tensor]:
    """A state dict of these shapes: scaled normal weights, u and v of a few power iterations."""
    state: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        kind = key.rsplit(".", 1)[1]
        if kind in ("weight_u", "weight_v"):
            continue
        if kind == "bias":
            state[key] = torch.zeros(shape)
        elif len(shape) < 4:  # PReLU slopes and the attention's gate
            state[key] = torch.full(shape, 0.25)
        else:
            fan_in = math.prod(shape[1:])
            state[key] = torch.randn(shape, generator=generator) / math.sqrt(fan_in)
        if kind == "weight_orig":
            state |= power_iteration(key, state[key], generator)
    return {key: state[key] for key in shapes}


def power_iteration(key: str, weight: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    matrix = weight.flatten(1)
    u = normalize(torch.randn(len(matrix), generator=generator), dim=0)
    for _ in range(POWER_ITERATIONS):
        v = normalize(matrix.t() @ u, dim=0)
        u = normalize(matrix @ v, dim=0)
    base = key.removesuffix("weight_orig")
    return {f"{base}weight_u": u, f"{base}weight_v": v}


def write_released(keys: Path, task: str, folder: Path, seed: int = 0) -> Path:
    """Write `latest_net_{Corr,G,D}.pth` of a task into `folder`, from the shapes in `keys`."""
    networks = json.loads(keys.read_text())[PREFIXES.get(task, task)]
    generator = torch.Generator().manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, shapes in networks.items():
        torch.save(random_state(shapes, generator), folder / f"latest_{name}.pth")
    return folder


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("keys", type=Path)
    parser.add_argument("task")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    print(write_released(args.keys, args.task, args.folder))
