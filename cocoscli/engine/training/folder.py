"""The folder of a training run: its lock, its record, and where it stands."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import tomli_w

from cocoscli.data.wording import shown
from cocoscli.engine.files import PRIVATE, TEMPORARY, storage_error, write_inside
from cocoscli.engine.locks import Lock, take_lock
from cocoscli.engine.training.checkpoint import checkpoints, remove_temporaries
from cocoscli.errors import CocosError
from cocoscli.recipe import Recipe, difference
from cocoscli.recipe.files import parse_recipe

RUN = "run.toml"


def read_record(run: Path) -> dict[str, Any]:
    """`run.toml`: the recipe and what the run is. Raises CocosError."""
    path = run / RUN
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record["recipe"], dict):
            raise ValueError("no recipe in it")
        return record
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise CocosError(
            f"{shown(path)}: not the record of a training run ({error}).",
            "Choose another --output.",
        ) from None


class RunFolder:
    """The one writer of a training run's folder, held by a lock from `open` to `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: Lock | None = None

    def open(self, recipe: Recipe, seed: int, *, change_recipe: bool) -> Path | None:
        """Take the folder -> the checkpoint to go on from, None in a new one.

        A run of another recipe or seed is refused with the difference, unless `change_recipe`.
        Nothing of the run is changed. Raises CocosError.
        """
        try:
            self._refuse_foreign()
            (self.path / TEMPORARY).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(self.path, error) from None
        self._lock = take_lock(self.path)
        remove_temporaries(self.path)
        found = checkpoints(self.path)
        if found and not change_recipe:
            self._compare(recipe, seed)
        return found[-1] if found else None

    def _refuse_foreign(self) -> None:
        if not self.path.exists() or (self.path / RUN).is_file():
            return
        inside = sorted(p.name for p in self.path.iterdir() if p.name != PRIVATE)
        if inside:
            raise CocosError(
                f"{shown(self.path)}: not empty ({', '.join(inside[:5])}) and not a training run "
                f"(it has no {RUN}).",
                "Choose an empty --output.",
            )

    def _compare(self, recipe: Recipe, seed: int) -> None:
        record = read_record(self.path)
        before = parse_recipe(record["recipe"], recipe.name, str(self.path / RUN))
        changed = difference(before, recipe)
        if (other := record.get("seed", seed)) != seed:
            changed.append(f"--seed: {other} -> {seed}")
        if changed:
            raise CocosError(
                f"{shown(self.path)}: a run with another recipe ({'; '.join(changed)}).",
                "Choose another --output, or --change-recipe to go on with the new one.",
            )

    def write_record(self, recipe: Recipe, facts: dict[str, Any]) -> None:
        text = tomli_w.dumps({**facts, "recipe": recipe.to_dict()})
        self.write(RUN, text.encode("utf-8"))

    def write(self, name: str, data: bytes) -> Path:
        """Write a file that appears only whole. Raises CocosError."""
        try:
            return write_inside(self.path, name, data)
        except OSError as error:
            raise storage_error(self.path / name, error) from None

    def close(self) -> None:
        if self._lock is not None:
            with suppress(OSError):
                self._lock.close()
        self._lock = None
