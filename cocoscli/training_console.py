"""A training run as it happens: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cocoscli.console import PLAIN_INTERVAL, duration, note, printable, stderr, warn

Event = dict[str, Any]
"""As `log.jsonl` has them: `event` says which, `step` when."""
COLUMN = 38
"""Characters of a term and its value on a terminal."""


def train_progress(events: Iterator[Event], quiet: bool = False) -> Event:
    """Consume a run's events and show them, or with `quiet` nothing; -> the last one."""
    if not quiet:
        events = _live(events) if stderr.is_terminal else _lines(events)
    last = deque(events, maxlen=1)
    return last[0] if last else {}


def _live(events: Iterator[Event]) -> Iterator[Event]:
    latest: dict[str, Event] = {}
    with Live(console=stderr, auto_refresh=False) as live:
        for event in events:
            latest[event["event"]] = event
            if event["event"] in ("warning", "validation"):
                _say(event)
            live.update(_board(latest, stderr.width), refresh=True)
            yield event


def _lines(events: Iterator[Event]) -> Iterator[Event]:
    total, last = 0, time.monotonic()
    for event in events:
        if event["event"] == "start":
            total = event["total"]
        if event["event"] != "step":
            _say(event)
        elif (now := time.monotonic()) - last >= PLAIN_INTERVAL:
            last = now
            note(f"{_place(event, total)}: {_pace(event)}; {_values(event['terms'])}")
        yield event


def _say(event: Event) -> None:
    """The line of an event that is not a step."""
    step = event["step"]
    match event["event"]:
        case "start":
            how = "going on" if event["resumed"] else "training"
            note(f"{how} from step {step} to {event['total']}")
        case "validation":
            best = ", the best so far" if event["best"] else ""
            note(f"validation at step {step}{best}: {_values(event['figures'])}")
        case "warning":
            warn(f"step {step}: {event['message']}")
        case "checkpoint":
            note(f"checkpoint at step {step}: {event['path']}")


def _place(event: Event, total: int) -> str:
    return f"step {event['step']}/{total}, epoch {event['epoch']:.2f}"


def _pace(event: Event) -> str:
    left = duration(event["seconds_left"])
    rate, memory = event["images_per_second"], event["memory_mb"] / 1000
    return f"{rate:.3g} images/s, {left} left, {memory:.1f} GB"


def _values(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())


def _board(latest: Mapping[str, Event], width: int) -> RenderableType:
    """What stands below the lines: how far it is, the terms, the last validation and checkpoint."""
    now = latest.get("step") or next(iter(latest.values()))
    total = latest["start"]["total"] if "start" in latest else now["step"]
    head = Table.grid(padding=(0, 2, 0, 0))
    bar = ProgressBar(total=total, completed=now["step"], width=max(10, min(40, width - 40)))
    head.add_row(bar, Text(_place(now, total)))
    parts: list[RenderableType] = [head]
    if "step" in latest:
        parts += [Text(_pace(now)), _columns(now["terms"], width)]
    if found := latest.get("validation"):
        parts += [_dim(f"validation at step {found['step']}"), _columns(found["figures"], width)]
    if found := latest.get("checkpoint"):
        parts.append(_dim(f"checkpoint at step {found['step']}: {found['path']}"))
    return Group(*parts)


def _dim(text: str) -> Text:
    return Text(printable(text), style="dim", no_wrap=True, overflow="ellipsis")


def _columns(values: Mapping[str, float], width: int) -> Table:
    """Names and values, as many pairs a row as fit, read down."""
    across = max(1, width // COLUMN)
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(across):
        table.add_column(width=COLUMN - 13, no_wrap=True, overflow="ellipsis")
        table.add_column(width=9, justify="right")
    items = [(printable(name), f"{value:.3g}") for name, value in values.items()]
    rows = -(-len(items) // across)
    for row in range(rows):
        table.add_row(*(Text(cell) for pair in items[row::rows] for cell in pair))
    return table
