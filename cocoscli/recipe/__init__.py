"""Recipes: TOML files that say what a model is and how it is trained.

sections.py   what a file may say, a class a table
recipe.py     a recipe as it is used: everything resolved
files.py      where recipes lie, how they are read, `--set`
"""

from __future__ import annotations

from cocoscli.recipe.files import read_recipe, recipe_text
from cocoscli.recipe.recipe import Recipe, difference
from cocoscli.recipe.sections import Data, Exemplars, Optimiser, Schedule
from cocoscli.shipped import recipe_folder, recipe_names

__all__ = [
    "Data",
    "Exemplars",
    "Optimiser",
    "Recipe",
    "Schedule",
    "difference",
    "read_recipe",
    "recipe_folder",
    "recipe_names",
    "recipe_text",
]
