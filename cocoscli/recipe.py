"""Recipes: TOML files that say what a model is; found by name in the tree and in the wheel."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from cocosnet import ConditionSchema, ModelConfig, presets

from cocoscli.errors import CocosError


@dataclass(frozen=True)
class Recipe:
    """A model and the condition it is made for."""

    name: str
    description: str
    model: ModelConfig
    condition: ConditionSchema


def recipe_folder() -> Path:
    """Where the shipped recipes lie: inside the installed package, or at the tree's top."""
    inside = Path(str(resources.files("cocoscli"))) / "recipes"
    return inside if inside.is_dir() else inside.parent.parent / "recipes"


def recipe_names() -> list[str]:
    return sorted(path.stem for path in recipe_folder().glob("*.toml"))


def read_recipe(name: str) -> Recipe:
    """A shipped recipe by name, or a file by path. Raises CocosError."""
    path = Path(name) if name.endswith(".toml") else recipe_folder() / f"{name}.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CocosError(
            f"{name}: no such recipe.", f"There are {', '.join(recipe_names())}, or give a file."
        ) from None
    except (OSError, ValueError) as error:
        raise CocosError(f"{path}: not a readable recipe ({error}).") from None
    try:
        return _parse(path.stem, values)
    except (KeyError, TypeError, ValueError) as error:
        raise CocosError(f"{path}: {error}.") from None


def _parse(name: str, values: dict[str, Any]) -> Recipe:
    condition = ConditionSchema.from_dict(values["condition"])
    model = dict(values["model"])
    preset = model.pop("preset")
    if preset == "paper":
        config = presets.paper(channels=condition.channels, **model)
    else:
        config = presets.released(preset, channels=condition.channels, **model)
    return Recipe(name, str(values["description"]), config, condition)
