"""Where recipes lie and how they are read: the shipped ones by name, others by path."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from cocoscli.errors import CocosError, UsageError
from cocoscli.recipe.recipe import Recipe, losses_of
from cocoscli.recipe.sections import FILE
from cocoscli.shipped import recipe_folder, recipe_names

LARGEST_FILE = 10**6
SHOWN = 3
"""Faults that one error names."""


def recipe_text(name: str) -> str:
    """A shipped recipe by name, or a file by path (with `/`, or ending in .toml), as it is.

    Raises CocosError.
    """
    path = _path(name)
    try:
        if not path.is_file():
            raise FileNotFoundError
        with open(path, "rb") as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise CocosError(f"{path}: more than {LARGEST_FILE:,} bytes: not a recipe.")
        return data.decode("utf-8")
    except FileNotFoundError:
        raise CocosError(f"{name}: no such recipe.", _known(name)) from None
    except (OSError, ValueError) as error:
        raise CocosError(f"{path}: not a readable recipe ({error}).") from None


def _path(name: str) -> Path:
    is_file = name.endswith(".toml") or os.sep in name
    return Path(name) if is_file else recipe_folder() / f"{name}.toml"


def _known(name: str) -> str:
    near = get_close_matches(name, recipe_names(), 1)
    meant = f"Did you mean {near[0]}? " if near else ""
    return f"{meant}There are {', '.join(recipe_names())}; or give a file.toml."


def read_recipe(name: str, changes: Sequence[str] = ()) -> Recipe:
    """A shipped recipe by name or a file by path, with `key.key=value` changes.

    Values are TOML; what is not is taken as text. Raises CocosError, and UsageError for changes.
    """
    path = _path(name)
    try:
        values = tomllib.loads(recipe_text(name))
    except (ValueError, RecursionError) as error:
        raise CocosError(f"{path}: not a TOML file ({error}).") from None
    recipe = parse_recipe(values, path.stem, str(path))
    if not changes:
        return recipe
    for change in changes:
        values = _merged(values, _parse_change(change))
    try:
        return parse_recipe(values, path.stem, "--set")
    except CocosError as error:
        raise UsageError(error.message, error.hint) from None


def _parse_change(change: str) -> dict[str, Any]:
    key, equals, value = change.partition("=")
    for line in (change, f"{key} = {_quoted(value.strip())}"):
        if equals:
            with suppress(ValueError, RecursionError):
                return tomllib.loads(line)
    raise UsageError(f"--set {change}: expected KEY=VALUE, such as losses.context=5.")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merged(old, value)
        merged[key] = value
    return merged


def parse_recipe(values: Mapping[str, Any], name: str, where: str) -> Recipe:
    """The recipe that tables of plain values say; `where` they are from, for CocosError."""
    try:
        file: Any = FILE.model_validate(values)
        return Recipe(
            name=file.name or name,
            description=file.description,
            preset=file.model.preset,
            network=file.model.model_dump(exclude_unset=True, exclude={"preset"}),
            sees=file.condition,
            losses=losses_of(file.model.preset, file.losses.model_dump(exclude_unset=True)),
            data=file.data,
            optimiser=file.optimiser,
            schedule=file.schedule,
        )
    except ValidationError as error:
        faults = [_fault(one) for one in error.errors(include_url=False)]
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        said = "; ".join(faults[:SHOWN]) + more
    except ValueError as error:
        said = str(error)
    raise CocosError(f"{where}: {said}.", "`cocos recipes NAME` prints a whole one.")


def _fault(fault: Any) -> str:
    key = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key{_nearest(fault['loc'])}"
    if fault["type"] == "missing":
        return f"{key}: missing"
    if fault["type"] == "value_error":
        return f"{key}: {fault['ctx']['error']}"
    is_table = fault["type"] in ("model_type", "mapping_type")
    said = "should be a table" if is_table else fault["msg"].replace("Input should", "should")
    found = repr(fault["input"])
    return f"{key}: {said}, not {found if len(found) <= 60 else found[:57] + '...'}"


def _nearest(place: tuple[int | str, ...]) -> str:
    """What an unknown key may have meant: a key of its table, or of any."""
    *tables, key = map(str, place)
    table: Any = FILE
    for name in tables:
        table = table.model_fields[name].annotation
    here = {name: ".".join((*tables, name)) for name in table.model_fields}
    anywhere = {path.rpartition(".")[2]: path for path in _keys(FILE)}
    for known, likeness in ((here, 0.6), (anywhere, 0.8)):
        if near := get_close_matches(key, known, 1, likeness):
            return f" (did you mean {known[near[0]]}?)"
    return ""


def _keys(table: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in table.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _keys(inner, f"{prefix}{name}.")
        else:
            yield prefix + name
