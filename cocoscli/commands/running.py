"""What commands that map a network over items do alike, from the first item to the exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cocoscli import console

if TYPE_CHECKING:
    from cocoscli.engine.plan import RunPlan
    from cocoscli.engine.run import Run

EXIT_FAILED_ITEMS = 3

Row = Mapping[str, Any]


def default_workers() -> int:
    return max(1, min(8, (os.cpu_count() or 1) // 2))


def check_format(format: str) -> None:
    """UsageError unless results can be of this format."""
    from cocoscli.data.encoding import RESULT_FORMATS
    from cocoscli.errors import UsageError

    if format not in RESULT_FORMATS:
        raise UsageError(f"--format {format}: expected one of {', '.join(RESULT_FORMATS)}.")


def rows_of(run: Run, unit: str) -> Iterator[Row]:
    """Do the work, show how far it is and say each fault; each item's row once it is recorded."""
    from cocoscli.data.wording import shown

    for row in console.follow(run.rows(), run.total, unit):
        if row["status"] == "failed":
            console.warn(f"{shown(row['key'])}: {row['error']}")
        yield row


def conclude(run: Run, page: Callable[[dict[str, Any]], Path] | None, json: bool) -> None:
    """Write the page and say what was done; leave with exit code 3 where items have failed.

    `page` writes it, given the summary; None for no page.
    """
    from cocoscli.engine.files import storage_error

    summary, output = run.summary(), run.output.path
    try:
        summary["page"] = str(page(summary)) if page else None
    except OSError as error:
        raise storage_error(output, error) from None
    if json:
        console.emit(summary)
    place = f"shards {summary['shards']}; " if "shards" in summary else ""
    console.note(
        f"{summary['done']} done, {summary['failed']} failed, {summary['skipped']} from before; "
        f"{place}{summary['page'] or output}"
    )
    if summary["failed"]:
        raise typer.Exit(EXIT_FAILED_ITEMS)


def machine_facts(plan: RunPlan[Any]) -> dict[str, Any]:
    """How a plan would run, for `--dry-run`."""
    from cocoscli.engine.memory import computed_at_once, estimate_bytes
    from cocoscli.engine.plan import seen_size

    model = plan.weights.model
    size = seen_size(plan.reader.size, model)
    at_once = computed_at_once(plan.device, plan.batch_size)
    return {
        "weights": plan.weights.name,
        "size": plan.settings["size"],
        "device": str(plan.device),
        "precision": plan.precision,
        "batch_size": plan.batch_size,
        "memory_mb": round(estimate_bytes(model, size, at_once) / 1e6),
    }


def say_plan(
    facts: Mapping[str, Any], lines: Sequence[tuple[str, ...]], columns: tuple[str, ...], json: bool
) -> None:
    """The answer to `--dry-run`: facts, and the first items."""
    if json:
        rows = [dict(zip(columns, line, strict=True)) for line in lines]
        return console.emit({**facts, "first": rows})
    console.table((name, str(value)) for name, value in facts.items())
    console.table(lines, *columns)
