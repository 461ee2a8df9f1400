"""What a command says: data to standard output, all else to standard error.

A progress bar with rate and time left on a terminal, plain lines elsewhere; NO_COLOR is honoured
by rich. What a terminal would not simply print (line breaks, escape sequences, odd bytes of file
names) is shown as an escape such as \\n.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")

stderr = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)
PLAIN_INTERVAL = 10.0
"""Seconds between progress lines where there is no terminal."""


def note(message: str, style: str | None = None) -> None:
    stderr.print(printable(message), style=style)


def warn(message: str) -> None:
    note(f"warning: {message}", "yellow")


def error(message: str, hint: str = "") -> None:
    note(f"error: {message}", "red")
    if hint:
        note(hint)


def printable(text: str) -> str:
    """The text on one line, with escapes for what a terminal would not simply print."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def duration(seconds: float) -> str:
    """A time to wait, in the two units that matter: `45 s`, `11 min`, `3 h 20 min`, `2 d 5 h`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    hours = round(minutes / 60)
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def say_defaults(defaults: Iterable[tuple[str, str, str]]) -> None:
    """(what, value, flag that changes it) of every default that was taken."""
    for what, value, flag in defaults:
        note(f"{what}: {value}  ({flag} to change)")


def emit(value: Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=True) + "\n")
    sys.stdout.flush()


def table(rows: Iterable[tuple[str, ...]], *columns: str) -> None:
    """A table on standard output, a line a row however long, below `columns` if there are any."""
    lines = [tuple(map(printable, row)) for row in ((columns,) if columns else ()) + tuple(rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        padded = (c + " " * (w - cell_len(c)) for c, w in zip(line, widths, strict=True))
        text = "  ".join(padded).rstrip() + "\n"
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def say_facts(facts: Mapping[str, Any], json: bool) -> None:
    """Named values on standard output: one JSON document, or a table."""
    if json:
        emit(facts)
    else:
        table((name, str(value)) for name, value in facts.items())


def follow(items: Iterable[T], total: int, unit: str) -> Iterator[T]:
    """Pass items on and show how far they are."""
    shown = _bar(items, total, unit) if stderr.is_terminal else _lines(items, total, unit)
    yield from shown


def _bar(items: Iterable[T], total: int, unit: str) -> Iterator[T]:
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=stderr, transient=True) as progress:
        task = progress.add_task("", total=total, rate="", start=False)
        for count, item in enumerate(items, 1):
            progress.start_task(task)  # with the first item: what comes before tells no rate
            elapsed = progress.tasks[0].elapsed or 1e-9
            progress.update(task, advance=1, rate=f"{(count - 1) / elapsed:.2f} {unit}/s")
            yield item


def _lines(items: Iterable[T], total: int, unit: str) -> Iterator[T]:
    start = last = 0.0
    for count, item in enumerate(items, 1):
        now = time.monotonic()
        if count == 1:  # what comes before the first item tells no rate
            start = last = now
        elif now - last >= PLAIN_INTERVAL:
            last = now
            rate = (count - 1) / (now - start)
            left = (total - count) / rate
            note(f"{count}/{total} {unit}, {rate:.2f}/s, {left:.0f} s left")
        yield item
