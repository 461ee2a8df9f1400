"""Tiny trainings: recipes and features with which `cocos train` takes a fraction of a second.

As a script it is `cocos` with those features: `python tests/training.py train ...`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from cocosnet.config import FEATURE_LAYERS
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from cocoscli import app
from cocoscli.engine.features import LossFeatures
from cocoscli.engine.training import plan as train_plan
from cocoscli.engine.training.checkpoint import checkpoints

RECIPE = """
description = "a tiny network for tests"

[model]
preset = "{preset}"
width = 2
{model}
[condition]
kind = "labels"
size = 64

[data]
load = 72
flip = true
pseudo = ["crop", "warp", "flip"]

[optimiser]
eps = 1e-3
eps_discriminator = 1e-3

[schedule]
batch_size = 2
epochs = 50
"""
RECIPES = {
    "paper": RECIPE.format(preset="paper", model=""),
    "released": RECIPE.format(preset="celebahq-mask", model="hidden = 4\n"),
}


class TinyFeatures(nn.Module):
    """Five seeded levels under the names of VGG's layers, each half the size of the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.scales = dict.fromkeys(FEATURE_LAYERS, 1.0)
        generator = torch.Generator().manual_seed(0)
        for i in range(len(FEATURE_LAYERS)):
            weight = torch.randn(4, 4 if i else 3, 3, 3, generator=generator) / 4
            self.register_buffer(f"w{i}", weight)

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        found, x = {}, image.float()
        for i, name in enumerate(FEATURE_LAYERS):
            x = F.relu(F.conv2d(x, self.get_buffer(f"w{i}"), stride=2 if i else 1, padding=1))
            found[name] = x
        return {name: found[name] for name in layers}


def tiny_features(spec: str = "auto", device: torch.device | None = None) -> LossFeatures:
    return LossFeatures(TinyFeatures(), "tiny", "", "")  # type: ignore[arg-type]


class Bench:
    """A desk with the shards, the tiny recipes and `cocos train` on it."""

    def __init__(self, desk: Any) -> None:
        self.desk, self.folder = desk, desk.folder
        for name, text in RECIPES.items():
            desk.file(f"{name}.toml", text)

    def arguments(self, *more: object, output: str = "run", recipe: str = "paper") -> list[str]:
        fixed = f"train --recipe {recipe}.toml --data shards --output {output} --val-samples 2"
        given = [str(each) for each in more]
        workers = [] if "--workers" in given else ["--workers", "0"]
        return [*fixed.split(), *workers, *given]

    def train(self, *more: object, output: str = "run", recipe: str = "paper") -> Any:
        return self.desk.run(*self.arguments(*more, output=output, recipe=recipe))

    def log(self, output: str = "run") -> list[dict[str, Any]]:
        lines = (self.folder / output / "log.jsonl").read_text("ascii").splitlines()
        return [json.loads(line) for line in lines]

    def steps(self, output: str = "run") -> list[int]:
        """The steps of the checkpoints that are kept."""
        names = (path.stem for path in checkpoints(self.folder / output))
        return [int(name.removeprefix("step-")) for name in names]

    def learned(self, output: str = "run") -> dict[str, Tensor]:
        """Every tensor of the last checkpoint and of the weights."""
        run = self.folder / output
        return {
            f"{kind}:{name}": value
            for kind, path in (
                ("state", checkpoints(run)[-1]),
                ("weights", run / "weights.safetensors"),
            )
            for name, value in read_tensors(path).items()
        }

    def temporaries(self, output: str = "run") -> list[str]:
        run = self.folder / output
        left = [*run.rglob(".*"), *(run / "_cocos/tmp").iterdir()]
        return [str(path.relative_to(run)) for path in left]


def read_tensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def differing(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> list[str]:
    """The names under which two sets of tensors are not the same to the last bit."""
    return [k for k in {**a, **b} if k not in a or k not in b or not torch.equal(a[k], b[k])]


if __name__ == "__main__":
    pytest.MonkeyPatch().setattr(train_plan, "loss_features", tiny_features)
    app.main()
