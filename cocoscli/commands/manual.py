"""How commands are found and read about: sections of a help text, completion, near names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

P = TypeVar("P")

OWN, ARGUMENTS = "Options", "Arguments"
SECTIONS = {
    "Results": ("output", "format", "quality", "shard_samples", "shard_megabytes", "gallery"),
    "Computing": ("device", "precision", "compiled", "batch_size", "workers", "engine", "part"),
    "Running": ("limit", "seed", "null", "retry_failed", "overwrite", "dry_run", "json", "help"),
}
"""Options that commands share, by the section of a help text that they stand in."""

ALSO = {
    "test": "translate",
    "infer": "translate",
    "inference": "translate",
    "generate": "translate",
    "match": "correspond",
    "warp": "correspond",
    "flow": "correspond",
    "preprocess": "prepare",
    "metrics": "evaluate",
    "score": "evaluate",
    "import": "weights import",
    "convert": "weights import",
    "info": "weights info",
    "help": "--help",
    "version": "--version",
}
"""What other tools call what a command does."""


def sections(params: Iterable[P]) -> dict[str, list[P]]:
    """A command's parameters by section, in the order in which they are read."""
    found: dict[str, list[P]] = {name: [] for name in (ARGUMENTS, OWN, *SECTIONS)}
    for param in params:
        found[_section(param)].append(param)
    return {name: members for name, members in found.items() if members}


def _section(param: Any) -> str:
    if param.param_type_name == "argument":
        return ARGUMENTS
    return next((name for name, members in SECTIONS.items() if param.name in members), OWN)


class Manual(TyperCommand):
    """A command whose help lists its own options first and shared ones in sections."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for name, params in sections(self.get_params(ctx)).items():
            records = []
            for param in params:
                called, text = param.get_help_record(ctx) or ("", "")
                is_argument = name == ARGUMENTS and param.metavar
                records.append((param.metavar if is_argument else called, text))
            with formatter.section(name):
                formatter.write_dl(records)


class Commands(TyperGroup):
    """Commands by name; an unknown one is told the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            names = self.list_commands(ctx)
            meant = ALSO.get(name) or next(iter(get_close_matches(name, names, 1, 0.5)), "")
            said = f"Did you mean {meant}?" if meant else f"There are {', '.join(names)}."
            ctx.fail(f"{name}: no such command. {said}")
        return super().resolve_command(ctx, args)


def choice(
    *flags: str,
    metavar: str,
    words: Callable[[], Sequence[str]] | None = None,
    **more: Any,
) -> Any:
    """An option of which a shell completes the values: `words()`, or those of the metavar.

    A metavar's words are the plain ones: `auto|cpu|FILE` has auto and cpu. Where none begins as
    what is typed, shells go on with the names of files.
    """
    return typer.Option(*flags, metavar=metavar, autocompletion=completing(words, metavar), **more)


def completing(
    words: Callable[[], Sequence[str]] | None, metavar: str = ""
) -> Callable[[str], list[str]]:
    """A completion function over `words()`, or over the words of a metavar."""
    named = [word for word in re.sub(r"\[.*?\]", "", metavar).split("|") if word.islower()]
    return lambda incomplete: [w for w in (words() if words else named) if w.startswith(incomplete)]
