"""`cocos recipes`."""

from __future__ import annotations

from typing import Annotated

import typer

from cocoscli.commands import options as o
from cocoscli.commands.manual import completing
from cocoscli.shipped import recipe_names


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|FILE", help="The recipe to print.", show_default="list all",
            autocompletion=completing(recipe_names),
        ),
    ] = None,
    json: o.Json = False,
) -> None:  # fmt: skip
    """List the recipes that are shipped, or print one.

    One is printed as it is, to begin your own from; with --json as it resolves:
    every value, defaults too. What they train: docs/recipes.md

    \b
    Examples:
      cocos recipes
      cocos recipes ade20k > mine.toml
      cocos recipes mine.toml --json
    """
    from cocoscli import console
    from cocoscli.recipe import read_recipe, recipe_text

    if name is not None:
        if json:
            return console.emit(read_recipe(name).to_dict())
        return typer.echo(recipe_text(name), nl=False)
    found = [read_recipe(each) for each in recipe_names()]
    rows = [
        {"name": r.name, "preset": r.preset, "condition": r.sees.kind, "size": r.sees.size,
         "what": r.description} for r in found
    ]  # fmt: skip
    if json:
        return console.emit(rows)
    console.table([tuple(map(str, row.values())) for row in rows], *rows[0])
