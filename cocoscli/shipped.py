"""Where the shipped recipes lie. Importing this imports nothing heavy, so completion may ask it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def recipe_folder() -> Path:
    """The folder of the shipped recipes: inside the installed package, or at the tree's top."""
    inside = Path(str(resources.files("cocoscli"))) / "recipes"
    return inside if inside.is_dir() else inside.parent.parent / "recipes"


def recipe_names() -> list[str]:
    return sorted(path.stem for path in recipe_folder().glob("*.toml"))
