"""From the options of `cocos train` to its work: shards, recipe, features, folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cocosnet
import torch
from cocosnet import read_header

from cocoscli.data.shards import (
    INDEX,
    ShardIndex,
    ShardList,
    find_shards,
    is_shards,
    read_index,
)
from cocoscli.data.training import SampleReader
from cocoscli.engine.compiling import wanted
from cocoscli.engine.device import check_precision, resolve_device, resolve_precision
from cocoscli.engine.features import LossFeatures, loss_features
from cocoscli.engine.models import RUNS, bundled_weights, load_for_training, numbered_runs
from cocoscli.engine.plan import SHARDS
from cocoscli.engine.training.checkpoint import checkpoints
from cocoscli.engine.training.distributed import Processes
from cocoscli.engine.training.folder import read_record
from cocoscli.engine.training.memory import check_memory, training_bytes
from cocoscli.engine.training.trainer import Machine, new_model
from cocoscli.errors import CocosError, UsageError
from cocoscli.recipe import Recipe, read_recipe, recipe_names

PREPARE = "Run `cocos prepare` first, or give --data 'SHARDS/train-{000000..000009}.tar'."
CPU_MINUTES = 10.0
"""How long a CPU trains where nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What the user asked for; None where a default is to be found."""

    data: str | None = None
    val: str | None = None
    recipe: str | None = None
    changes: tuple[str, ...] = ()
    output: Path | None = None
    init: str = "bundled"
    features: str = "auto"
    change_recipe: bool = False
    device: str = "auto"
    precision: str = "auto"
    accumulate: int = 1
    recompute: bool = False
    compiled: bool = False
    seed: int = 0
    workers: int = 1
    max_minutes: float | None = None
    max_steps: int | None = None
    save_minutes: float = 5.0
    preview_steps: int = 500
    val_samples: int = 64
    keep: int = 3


@dataclass
class TrainPlan:
    """Everything resolved."""

    options: TrainOptions
    recipe: Recipe
    machine: Machine
    features: LossFeatures
    shards: ShardList
    held_out: list[Path]
    start: Path | None
    """Weights to begin with; None for fresh ones."""
    output: Path
    minutes: float
    """0: no limit."""
    defaults: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def epoch_steps(self) -> float:
        return len(self.shards) / self.recipe.schedule.batch_size

    @property
    def total_steps(self) -> int:
        """Steps of the whole training, whatever this run's limits are."""
        schedule = self.recipe.schedule
        return max(1, round((schedule.epochs + schedule.decay_epochs) * self.epoch_steps))

    @property
    def reader(self) -> SampleReader:
        return SampleReader(self.recipe)

    def new_model(self) -> cocosnet.CoCosNet:
        """The network to start from. Raises CocosError."""
        if self.start is None:
            return new_model(self.recipe, self.options.seed)
        model = load_for_training(self.start)
        if model.config != self.recipe.model:
            differing = _differing(model.config.to_dict(), self.recipe.model.to_dict())
            raise CocosError(
                f"{self.start}: another network than the recipe's ({differing}).",
                "Give weights of that recipe, or change it with --set model....",
            )
        model.condition = self.recipe.condition
        return model

    @property
    def facts(self) -> dict[str, Any]:
        """What a checkpoint says of where it comes from."""
        schedule = self.recipe.schedule
        return {
            "source": "cocos train",
            "recipe": self.recipe.name,
            "data": len(self.shards),
            "batch_size": schedule.batch_size,
            "features": self.features.record(),
            "init": _named(self.start),
            "precision": self.machine.precision,
            "seed": self.machine.seed,
        }


def plan_training(options: TrainOptions, processes: Processes) -> TrainPlan:
    """Resolve options, cheap checks first. Raises CocosError and UsageError."""
    defaults: list[tuple[str, str, str]] = []
    device = resolve_device(options.device)
    check_precision(options.precision, device)
    data = options.data or _default_data(defaults)
    training = _training_shards(data)
    indices = _indices(training)
    index = next(iter(indices.values()))
    kind, channels = str(index.values["kind"]), index.values.get("channels")
    name = options.recipe or _fitting_recipe(index, device, defaults)
    recipe = _fit(read_recipe(name, options.changes), kind, channels, index, name)
    _check_batch(recipe, options, processes)
    shards = ShardList(training)
    held_out = _held_out(options, indices, training)
    precision = resolve_precision(options.precision, device, recipe.model.width)
    machine = Machine(
        device=device, precision=precision, parts=options.accumulate, recompute=options.recompute,
        compiled=wanted(options.compiled, device, defaults), seed=options.seed, processes=processes,
    )  # fmt: skip
    check_memory(recipe, machine)
    features = loss_features(options.features, device)
    if options.features == "auto":
        defaults.append(("features", features.name, "--features"))
    start = _start(options, recipe, defaults)
    output = options.output or _default_output(recipe, start, options.seed, defaults)
    minutes = options.max_minutes
    if minutes is None:
        minutes = CPU_MINUTES if device.type == "cpu" and options.max_steps is None else 0.0
        if minutes:
            defaults.append(("stops after", f"{minutes:g} minutes, to go on later", "--max-time"))
    return TrainPlan(
        options, recipe, machine, features, shards, held_out, start, output, minutes, defaults
    )


def _default_data(defaults: list[tuple[str, str, str]]) -> str:
    data = str(SHARDS)
    if not is_shards(data):
        raise CocosError(f"no shards: ./{data} holds no {INDEX}.", PREPARE)
    defaults.append(("data", f"./{data}", "--data"))
    return data


def _training_shards(data: str) -> list[Path]:
    """The shards to train on, at least one. Raises CocosError."""
    if not is_shards(data):
        raise CocosError(
            f"{data}: no shards; expected a folder with {INDEX}, or tar files.", PREPARE
        )
    shards = find_shards(data, "train")
    if not shards:
        raise CocosError(f"{data}: names no shards.", PREPARE)
    return shards


def _indices(shards: Sequence[Path]) -> dict[Path, ShardIndex]:
    """The index of each folder that shards lie in. Raises CocosError where their kinds differ."""
    indices = {folder: read_index(folder) for folder in dict.fromkeys(s.parent for s in shards)}
    (first, of_first), *others = (
        (folder, (index.values.get("kind"), index.values.get("channels")))
        for folder, index in indices.items()
    )
    if of_first[0] is None:
        raise CocosError(
            f"{first / INDEX}: it does not say the kind of the conditions.",
            "Give shards that `cocos prepare` wrote.",
        )
    for folder, of_other in others:
        if of_other != of_first:
            raise CocosError(
                f"{folder} holds {of_other[0]} conditions of {of_other[1]} planes, {first} "
                f"{of_first[0]} of {of_first[1]}.",
                "Train on shards of one kind.",
            )
    return indices


def _held_out(
    options: TrainOptions, indices: Mapping[Path, ShardIndex], training: Sequence[Path]
) -> list[Path]:
    """The shards to validate on. Raises CocosError where there are none."""
    if options.val is not None:
        return find_shards(options.val, "val")
    trained = set(training)
    held_out = (
        folder / row["name"]
        for folder, index in indices.items()
        for row in index.values["shards"]
        if row["split"] in ("val", "test")
    )
    paths = [path for path in held_out if path not in trained]
    if not paths:
        folder, index = next(iter(indices.items()))
        raise CocosError(
            f"{folder}: no validation split ({INDEX} counts "
            f"{', '.join(map(str, index.values.get('counts', {}))) or 'nothing'}).",
            "Prepare with --val 0.05, or give other shards with --val.",
        )
    return paths


def _fitting_recipe(
    index: ShardIndex, device: torch.device, defaults: list[tuple[str, str, str]]
) -> str:
    """The shipped recipe for shards of a kind: the smallest on a CPU, else the largest."""
    kind, channels = index.values["kind"], index.values.get("channels")
    recipes = [read_recipe(name) for name in recipe_names()]
    fitting = [r for r in recipes if r.sees.kind == kind and r.channels in (None, channels)]
    if not fitting:
        kinds = ", ".join(sorted({r.sees.kind for r in recipes}))
        raise CocosError(
            f"no recipe is made for {kind} conditions of {channels} planes; there are recipes for "
            f"{kinds}.",
            "`cocos recipes NAME > mine.toml` prints one to change; give it with --recipe.",
        )
    named = set(index.classes)

    def merit(r: Recipe) -> tuple[bool, int]:
        """The data's own classes first, then the size for the machine."""
        cost = int(r.network.get("width", 64)) * r.sees.size
        fits = bool(named) and set(r.sees.classes) == named
        return fits, -cost if device.type == "cpu" else cost

    best = max(fitting, key=merit)
    defaults.append(("recipe", f"{best.name}: {best.description}", "--recipe"))
    return best.name


def _fit(recipe: Recipe, kind: str, channels: Any, index: ShardIndex, name: str) -> Recipe:
    """The recipe, for these shards. Raises CocosError where it is made for others."""
    if recipe.sees.kind != kind:
        raise CocosError(
            f"recipe {name} takes {recipe.sees.kind} conditions, the shards hold {kind}.",
            "Choose another --recipe, or prepare the dataset with another --kind.",
        )
    if channels is None:
        return recipe
    classes = index.classes if len(index.classes) == channels else ()
    return recipe.with_channels(int(channels), classes)


def _check_batch(recipe: Recipe, options: TrainOptions, processes: Processes) -> None:
    shares = processes.world * options.accumulate
    if recipe.schedule.batch_size % shares:
        raise UsageError(
            f"a batch of {recipe.schedule.batch_size} does not divide into {processes.world} "
            f"processes with --accumulate {options.accumulate}.",
            f"Set a multiple of {shares} with --set schedule.batch_size=N.",
        )


def _start(
    options: TrainOptions, recipe: Recipe, defaults: list[tuple[str, str, str]]
) -> Path | None:
    if options.init == "none":
        return None
    if options.init != "bundled":
        return Path(options.init)
    path = bundled_weights(recipe.sees.kind, recipe.model.channels)
    if path is None or read_header(path).config != recipe.model:
        return None
    defaults.append(("starts from", f"the bundled {path.name}", "--init"))
    return path


def _default_output(
    recipe: Recipe, start: Path | None, seed: int, defaults: list[tuple[str, str, str]]
) -> Path:
    """The newest run if it began like this one and is not at its end, else a new folder."""
    runs = numbered_runs()
    if runs and checkpoints(runs[-1]) and _is_open(runs[-1], recipe, start, seed):
        defaults.append(("goes on with", str(runs[-1]), "--output"))
        return runs[-1]
    output = RUNS / f"{int(runs[-1].name) + 1 if runs else 0:03d}"
    defaults.append(("output", str(output), "--output"))
    return output


def _is_open(run: Path, recipe: Recipe, start: Path | None, seed: int) -> bool:
    try:
        record = read_record(run)
    except CocosError:
        return False
    same = (record.get("seed"), record.get("init")) == (seed, _named(start))
    return same and record["recipe"] == recipe.to_dict() and not record.get("finished", False)


def _named(start: Path | None) -> str:
    return start.name if start else "none"


def _differing(a: dict[str, Any], b: dict[str, Any]) -> str:
    return "; ".join(f"{k} {a[k]!r}, recipe {b[k]!r}" for k in a if a[k] != b[k])


def describe(plan: TrainPlan) -> dict[str, Any]:
    """What would be trained, for a dry run."""
    recipe, machine = plan.recipe, plan.machine
    return {
        "recipe": recipe.name,
        "form": recipe.model.form,
        "width": recipe.model.width,
        "condition": f"{recipe.sees.kind}, {recipe.model.channels} planes",
        "size": recipe.sees.size,
        "samples": len(plan.shards),
        "batch_size": recipe.schedule.batch_size,
        "steps": plan.total_steps,
        "device": str(machine.device),
        "precision": machine.precision,
        "features": plan.features.name,
        "memory_mb": round(training_bytes(recipe, machine) / 1e6),
        "output": str(plan.output),
    }
