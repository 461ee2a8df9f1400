"""The networks that commands run: given, of the newest run that fits, or bundled."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import cocosnet
import torch
from cocosnet.weights import Header, build
from cocosnet.weights import load_for_training as read_for_training

from cocoscli.data.conditions import CONDITIONS
from cocoscli.data.images import Size
from cocoscli.data.storage import local_copy
from cocoscli.engine.files import storage_error
from cocoscli.engine.memory import LARGEST, available_bytes, estimate_bytes, largest_size, size_text
from cocoscli.errors import CocosError, UsageError

RUNS = Path("runs")
"""Where training runs lie that were given no other place."""
FACE_RECIPES = ("faces", "celebahq")
"""What recipes for faces are called at the start."""
WEIGHTS = "weights.safetensors"
"""The network that a run has come to, in its folder."""


@dataclass(frozen=True)
class Weights:
    """A network ready to run, and what a run's record says of it."""

    model: cocosnet.CoCosNet
    name: str
    """The file."""
    sha256: str

    @property
    def shown(self) -> str:
        """What pages say: the file, or the name of bundled ones."""
        path = Path(self.name)
        return f"{path.stem} (bundled)" if path in _bundled() else self.name


def load_weights(path: Path, device: torch.device) -> Weights:
    """Read a checkpoint file, which a store may hold, or the bundled one of that name. Raises
    CocosError."""
    path = _file_of(path)
    file = local_copy(path)
    try:
        model = cocosnet.load(file, device)
    except cocosnet.WeightsError as error:
        raise CocosError(
            f"{error}.",
            "Weights are files that `cocos weights import` or training wrote; bundled are "
            f"{', '.join(each.stem for each in _bundled())}.",
        ) from None
    return Weights(_laid_out(model), str(path), file_sha256(file))


def newest_weights(kind: str | None, channels: int | None) -> Path | None:
    """The newest training run's weights for conditions of a kind (and so many planes); None where
    the kind is not known or no run in ./runs fits."""
    return _first_fitting((r / WEIGHTS for r in reversed(numbered_runs())), kind, channels)


def bundled_weights(kind: str | None, channels: int | None) -> Path | None:
    """The weights shipped for conditions of a kind (and so many planes); None where none are."""
    return _first_fitting(_bundled(), kind, channels)


def face_weights() -> Path | None:
    """The newest training run's weights that match faces by photos alone, as their provenance says,
    else the bundled ones; None where there are none."""
    for path in [*(r / WEIGHTS for r in reversed(numbered_runs())), *_bundled()]:
        with suppress(cocosnet.WeightsError):
            header = cocosnet.read_header(path)
            recipe = str(header.provenance.get("recipe", ""))
            if recipe.startswith(FACE_RECIPES) and not header.config.needs_exemplar_input:
                return path
    return None


def bundled_conditions() -> list[str]:
    """What the weights that are shipped are for, in words."""
    conditions = [cocosnet.read_header(path).condition for path in _bundled()]
    return [f"{c.kind} of {c.channels} planes" for c in conditions]


def bundled_sha256() -> dict[str, str]:
    """The weights that are shipped, by name."""
    return {path.stem: file_sha256(path) for path in _bundled()}


def _bundled() -> list[Path]:
    folder = Path(str(resources.files("cocoscli"))) / "weights"
    return sorted(folder.glob("*.safetensors"))


def _file_of(path: Path) -> Path:
    """A checkpoint's file: the path, or where it is no file the bundled one of that name."""
    named = next((each for each in _bundled() if str(path) == each.stem), None)
    return path if named is None or path.is_file() else named


def _first_fitting(paths: Iterable[Path], kind: str | None, channels: int | None) -> Path | None:
    """The first that is a checkpoint for such conditions."""
    for path in paths:
        with suppress(cocosnet.WeightsError):
            condition = cocosnet.read_header(path).condition
            if condition.kind == kind and channels in (None, condition.channels):
                return path
    return None


def numbered_runs() -> list[Path]:
    """The folders of ./runs that `cocos train` numbered, oldest first."""
    found = (path for path in RUNS.glob("*") if re.fullmatch(r"\d+", path.name))
    return sorted(found, key=lambda path: int(path.name))


def load_for_training(path: Path) -> cocosnet.CoCosNet:
    """Read a checkpoint to train on. Raises CocosError."""
    try:
        return read_for_training(path)
    except cocosnet.WeightsError as error:
        raise CocosError(f"{error}.", "--init takes files that training wrote.") from None


def _laid_out(model: cocosnet.CoCosNet) -> cocosnet.CoCosNet:
    return model.to(memory_format=torch.channels_last)


def text_sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def import_released(
    folder: Path, task: str, epoch: str, output: Path, *, overwrite: bool = False
) -> None:
    """Turn released files into a checkpoint. Raises CocosError and UsageError."""
    if task not in cocosnet.presets.TASKS:
        tasks = ", ".join(cocosnet.presets.TASKS)
        raise UsageError(f"--task {task}: expected one of {tasks}.")
    if output.exists() and not overwrite:
        raise CocosError(f"{output}: exists already.", "Choose another --output, or --overwrite.")
    try:
        model = cocosnet.load_released(folder, task, epoch, fold=False)
    except cocosnet.WeightsError as error:
        raise CocosError(f"{error}.", "See `cocos weights import --help`.") from None
    classes = CONDITIONS[task].classes
    model.condition = dataclasses.replace(model.condition, classes=classes)
    files = {f"{n}_sha256": file_sha256(folder / f"{epoch}_net_{n}.pth") for n in ("Corr", "G")}
    model.provenance |= files
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        cocosnet.save(model, output)
    except OSError as error:
        raise storage_error(output, error) from None


def describe_weights(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself, and the memory that it takes. Raises CocosError."""
    header = _header(path)
    config, condition = header.config, header.condition
    # What spectral norm keeps beside the weights is no parameter.
    sizes = [math.prod(s) for k, s in header.shapes.items() if not re.search(r"\._[uv]$", k)]
    model = build(config, condition, spectral=False)
    sides = (condition.size, 2 * condition.size, 4 * condition.size)
    return {
        "file": str(path),
        "bytes": _file_of(path).stat().st_size,
        "parameters": sum(sizes),
        "stored_as": header.dtype,
        "form": config.form,
        "width": config.width,
        "condition": f"{condition.kind}, {condition.channels} planes",
        "trained_at": condition.size,
        "classes": list(condition.classes),
        "exemplars_need_conditions": config.needs_exemplar_input,
        "model": config.to_dict(),
        "provenance": header.provenance,
        "memory_mb_by_side": {str(n): round(estimate_bytes(model, (n, n), 1) / 1e6) for n in sides},
    }


def describe_room(path: Path, size: Size) -> dict[str, Any]:
    """The memory that a checkpoint takes at a size, what this machine has free, and the largest
    size of that shape for which it is enough. Raises CocosError."""
    header = _header(path)
    model = build(header.config, header.condition, spectral=False)
    free = available_bytes(torch.device("cpu"))
    scale = LARGEST / max(size)
    largest = largest_size(model, (round(scale * size[0]), round(scale * size[1])), free)
    return {
        "memory_mb": round(estimate_bytes(model, size, 1) / 1e6),
        "free_mb": round(free / 1e6),
        "largest_size": size_text(largest) if largest else None,
    }


def _header(path: Path) -> Header:
    try:
        return cocosnet.read_header(_file_of(path))
    except cocosnet.WeightsError as error:
        raise CocosError(f"{error}.", "Give a checkpoint in safetensors form.") from None
