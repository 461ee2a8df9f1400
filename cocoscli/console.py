"""What a command says: data to standard output, all else to standard error.

A progress bar with rate and time left on a terminal, plain lines elsewhere; NO_COLOR is honoured
by rich.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

T = TypeVar("T")

stderr = Console(stderr=True, highlight=False, soft_wrap=True)
PLAIN_INTERVAL = 10.0
"""Seconds between progress lines where there is no terminal."""


def note(message: str) -> None:
    stderr.print(message, markup=False)


def warn(message: str) -> None:
    stderr.print(f"warning: {message}", style="yellow", markup=False)


def error(message: str, hint: str = "") -> None:
    stderr.print(f"error: {message}", style="red", markup=False)
    if hint:
        stderr.print(hint, markup=False)


def say_defaults(defaults: Iterable[tuple[str, str, str]]) -> None:
    """(what, value, flag that changes it) of every default that was taken."""
    for what, value, flag in defaults:
        note(f"{what}: {value}  ({flag} to change)")


def emit(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def table(rows: Iterable[tuple[str, ...]], *columns: str) -> None:
    """A table on standard output."""
    grid = Table(*columns, box=None, pad_edge=False, show_header=any(columns))
    for row in rows:
        grid.add_row(*(cell.replace("[", r"\[") for cell in row))
    Console(highlight=False, soft_wrap=True).print(grid)


def follow(items: Iterable[T], total: int, unit: str) -> Iterator[T]:
    """Pass items on and show how far they are."""
    shown = _bar(items, total, unit) if stderr.is_terminal else _lines(items, total, unit)
    yield from shown


def _bar(items: Iterable[T], total: int, unit: str) -> Iterator[T]:
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task("", total=total, rate="")
        for count, item in enumerate(items, 1):
            elapsed = progress.tasks[0].elapsed or 1e-9
            progress.update(task, advance=1, rate=f"{count / elapsed:.2f} {unit}/s")
            yield item


def _lines(items: Iterable[T], total: int, unit: str) -> Iterator[T]:
    start = last = time.monotonic()
    for count, item in enumerate(items, 1):
        now = time.monotonic()
        if now - last >= PLAIN_INTERVAL:
            last = now
            rate = count / (now - start)
            left = (total - count) / rate
            note(f"{count}/{total} {unit}, {rate:.2f}/s, {left:.0f} s left")
        yield item
