"""A full-size training step (256 px, batch 1) beside the plain reference path: time and memory.

    python benchmarks/training.py [--steps 3] [--precision bf16] [--recompute] [--json]

The reference path trains as the released code does: fp32, dense correlation of unfolded
descriptors and dense attention kept for the backward pass, spectral norm at every call, the
discriminator's images made anew after the generator's update. Both take the released
`celebahq-edge` network and losses with a VGG-19; weights are random: speed does not depend on them.
Each path runs in a process of its own, in turn; medians of the steps after the first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from cocosnet import layers, matching
from cocosnet.descriptors import correlation
from cocosnet.features import random_features
from cocosnet.training import Batch, Pass, discriminator_terms, generator_terms, weighted
from reference import plain_layers
from run import cpu_name, own_peak, print_report
from torch import Tensor
from torch.nn import functional as F

from cocoscli.engine.training.loading import Loaded
from cocoscli.engine.training.trainer import Machine, Trainer, new_model
from cocoscli.recipe import read_recipe

RECIPE, SIDE = "celebahq-edge-released", 256


@dataclass
class DenseMatch:
    """What a step asks of a match, with the whole matrix (1,N,n) at hand."""

    correlation: Tensor
    bank: Any
    query: Any
    temperature: float

    def warp(self, values: Tensor) -> Tensor:
        return self._mix(torch.softmax(self.correlation / self.temperature, dim=2), values)

    def warp_back(self, values: Tensor) -> Tensor:
        return self._mix(
            torch.softmax(self.correlation.transpose(1, 2) / self.temperature, dim=2), values
        )

    def _mix(self, weights: Tensor, values: Tensor) -> Tensor:
        mixed = weights @ values.flatten(2).transpose(1, 2)
        return mixed.transpose(1, 2).unflatten(2, self.query.grid)

    @cached_property
    def colours(self) -> Tensor:
        return self.warp(self.bank.colours)

    @cached_property
    def warped(self) -> Tensor:
        return F.interpolate(self.colours, scale_factor=4, mode="bilinear", align_corners=False)


@dataclass
class Grid:
    """One side of a dense match."""

    grid: tuple[int, int]
    colours: Tensor

    @property
    def side(self) -> Grid:
        return self


class ReferenceTrainer(Trainer):
    """The same networks, losses and optimisers, each step plainly."""

    def advance(self, parts: Any, epoch: float) -> dict[str, float]:
        batch = self.batch(parts[0], epoch)
        with plain_layers():
            terms = self._generator_terms(batch)
            self._learn("generator", terms)
            with torch.no_grad():
                fake = self._pass(batch).image
            self._learn("discriminator", discriminator_terms(fake, batch, self.discriminator))
        return {name: float(value.detach()) for name, value in terms.items()}

    def _pass(self, batch: Batch) -> Pass:
        corr, config = self.model.correspondence, self.model.config
        ours = corr.adapt_input(batch.input)
        theta = corr.shared.input_features(ours, batch.input)
        adapted = corr.adapt_exemplar(batch.exemplar)
        phi = corr.shared.exemplar_features(adapted, batch.exemplar_input)
        m = correlation(theta, phi, config.match_kernel, config.match_norm)
        h, w = phi.shape[-2:]
        colours = matching.to_grid(batch.exemplar, (h, w))
        grid = Grid((h, w), colours)
        match: Any = DenseMatch(m, grid, grid, config.temperature)
        image = self.model.generator(match.warped, batch.input)
        return Pass(image, match, ours, corr.adapt_exemplar(batch.photo))

    def _generator_terms(self, batch: Batch) -> dict[str, Tensor]:
        judge, config = self.discriminator, self.recipe.losses
        return generator_terms(config, self._pass(batch), batch, judge, self.features)

    def _learn(self, which: str, terms: dict[str, Tensor]) -> None:
        total = torch.stack(list(weighted(self.recipe.losses, terms).values())).sum()
        total.backward()
        self.optimisers[which].step()
        self.optimisers[which].zero_grad(set_to_none=True)


def made_batch(channels: int) -> Loaded:
    generator = torch.Generator().manual_seed(1)

    def pixels(*shape: int) -> Tensor:
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)

    maps = [pixels(1, channels, SIDE, SIDE) for _ in range(2)]
    photos = [pixels(1, SIDE, SIDE, 3) for _ in range(2)]
    return Loaded(("made",), (0,), photos[0], maps[0], photos[1], maps[1], torch.ones(1))


def run_path(name: str, precision: str, recompute: bool, steps: int) -> dict[str, Any]:
    """Seconds of a step and peak resident MB of this process."""
    recipe = read_recipe(RECIPE, ("schedule.batch_size=1", "schedule.ema=0"))
    make = ReferenceTrainer if name == "reference" else Trainer
    if name == "reference":  # one block holds all, nothing is computed again
        layers.BLOCK_ELEMENTS, recompute = 2**40, False
    machine = Machine(device=torch.device("cpu"), precision=precision, recompute=recompute)
    trainer = make(recipe, new_model(recipe, 0), random_features(19), machine)
    batch = made_batch(recipe.model.channels)
    times, terms = [], {}
    for _ in range(steps + 1):
        start = time.perf_counter()
        terms = trainer.advance([batch], 0.0)
        times.append(time.perf_counter() - start)
    return {"seconds": statistics.median(times[1:]), "peak_mb": own_peak(), "terms": terms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16"))
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--path", choices=("reference", "cocos"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.path:
        precision = "fp32" if args.path == "reference" else args.precision
        print(json.dumps(run_path(args.path, precision, args.recompute, args.steps)))
        return
    report: dict[str, Any] = {
        "machine": f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "workload": f"{RECIPE}, full size, {SIDE} px, batch 1, VGG-19; cocos in {args.precision}",
    }
    for name in ("reference", "cocos"):
        command = [sys.executable, str(Path(__file__)), *sys.argv[1:], "--path", name]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        figures = json.loads(output)
        report |= {f"{name}_{key}": figures[key] for key in ("seconds", "peak_mb")}
    report["time_ratio"] = round(report["cocos_seconds"] / report["reference_seconds"], 3)
    report["memory_ratio"] = round(report["cocos_peak_mb"] / report["reference_peak_mb"], 3)
    print_report(report, args.json)


if __name__ == "__main__":
    main()
