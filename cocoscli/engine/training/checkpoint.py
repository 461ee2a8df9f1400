"""Training state on disk: safetensors files that appear only whole, the last few kept.

A run's folder:

    run.toml                      the resolved recipe, and what the run is
    log.jsonl                     a line for every few steps, validation and warning
    checkpoints/step-0000500.*    training state, to resume from
    weights.safetensors           the network as of the last checkpoint, to use
    best.safetensors              as of the best validation
    previews/step-0000500.jpg     input, exemplar, warp, result and truth of fixed samples
    run.html                      curves and panels
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from cocosnet.weights import save_tensors
from safetensors import SafetensorError, safe_open
from torch import Tensor

from cocoscli.engine.files import TEMPORARY, storage_error
from cocoscli.errors import CocosError

FORMAT = "cocos-training-1"
FOLDER = "checkpoints"
_NAME = re.compile(r"step-(\d+)\.safetensors")


def checkpoint_path(run: Path, step: int) -> Path:
    return run / FOLDER / f"step-{step:07d}.safetensors"


def checkpoints(run: Path) -> list[Path]:
    """A run's checkpoints, oldest first."""
    found = (run / FOLDER).glob("step-*.safetensors") if run.is_dir() else ()
    return sorted((p for p in found if _NAME.fullmatch(p.name)), key=step_of)


def step_of(path: Path) -> int:
    named = _NAME.fullmatch(path.name)
    return int(named[1]) if named else -1


def save_checkpoint(
    run: Path, step: int, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], keep: int
) -> Path:
    """Write a checkpoint, then remove all but the last `keep`. Raises CocosError."""
    path = checkpoint_path(run, step)
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(plain, path, {"format": FORMAT, "numbers": json.dumps(dict(numbers))})
        for old in checkpoints(run)[:-keep]:
            old.unlink()
    except OSError as error:
        raise storage_error(path, error) from None
    return path


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and numbers of a checkpoint. Raises CocosError."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"format {metadata.get('format')!r}, expected {FORMAT!r}")
            numbers = dict(json.loads(metadata["numbers"]))
            return {key: torch.clone(file.get_tensor(key)) for key in file.keys()}, numbers  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise CocosError(
            f"{path}: not a readable training checkpoint ({reason}).",
            "Remove it: training then goes on from the one before.",
        ) from None


def remove_temporaries(run: Path) -> None:
    """What a killed process left."""
    places = (run, ".*.safetensors.*"), (run / FOLDER, ".*.safetensors.*"), (run / TEMPORARY, "*")
    for path in [path for folder, names in places for path in folder.glob(names)]:
        with suppress(OSError):
            path.unlink()
