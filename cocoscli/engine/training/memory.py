"""How much memory training will take, roughly, before it starts."""

from __future__ import annotations

import torch
from cocosnet import CoCosNet, Discriminator, presets
from cocosnet.weights import build

from cocoscli.engine.memory import BASE_BYTES, available_bytes
from cocoscli.engine.training.trainer import Machine
from cocoscli.errors import CocosError
from cocoscli.recipe import Recipe

EXTRA_BYTES = 220e6
"""A training process's own, with the feature network."""
PLANES = 264
"""Full-size feature maps of `width` channels that a sample's step keeps."""
RECOMPUTED = 0.41
"""The share of them that is left with recomputation."""
FEATURE_BYTES = 13_300
"""What features and losses take a pixel. These four are fitted to peaks of six runs (width 4 to 64,
64 to 256 px, fp32 and bf16); the estimate is within a quarter of each."""
STATES = 4
"""Copies of every parameter: itself, its gradient and Adam's two means."""


def training_bytes(recipe: Recipe, machine: Machine) -> float:
    """Peak bytes of one process."""
    model, judge = _networks(recipe)
    count = sum(p.numel() for p in (*model.parameters(), *judge.parameters()))
    averaged = sum(p.numel() for p in model.parameters()) if recipe.schedule.ema else 0
    batch = recipe.schedule.batch_size / (machine.processes.world * machine.parts)
    wide = 4 if machine.precision == "fp32" else 2.5
    kept = PLANES * recipe.model.width * (RECOMPUTED if machine.recompute else 1)
    pixels = recipe.sees.size**2
    return (
        BASE_BYTES
        + EXTRA_BYTES
        + 4.0 * (STATES * count + averaged)
        + batch * pixels * (wide * kept + FEATURE_BYTES)
    )


def _networks(recipe: Recipe) -> tuple[CoCosNet, Discriminator]:
    """To count parameters of. Spectral norm adds none, but takes seconds to set up."""
    with torch.device("meta"):
        judge = Discriminator(presets.discriminator(recipe.model), spectral=False)
    return build(recipe.model, recipe.condition, spectral=False), judge


def check_memory(recipe: Recipe, machine: Machine) -> None:
    """CocosError, with the settings that would do, where the memory there is cannot hold it."""
    there = available_bytes(machine.device)
    needed = training_bytes(recipe, machine)
    if needed <= there:
        return
    raise CocosError(
        f"recipe {recipe.name} takes about {needed / 1e9:.1f} GB, this machine has "
        f"{there / 1e9:.1f} GB free.",
        "Give --accumulate N (parts of a batch, one after another), --recompute, or --set "
        f"schedule.batch_size={max(1, recipe.schedule.batch_size // 2)}.",
    )
