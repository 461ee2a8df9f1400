"""What commands over pairs of inputs and exemplars say and do alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from cocoscli.engine.batch import Plan
    from cocoscli.engine.plan import PairPlan
    from cocoscli.engine.run import Run

EXIT_FAILED_ITEMS = 3


def default_workers() -> int:
    return max(1, min(8, (os.cpu_count() or 1) // 2))


def batch_plan(plan: PairPlan, workers: int | None, limit: int | None, retry_failed: bool) -> Plan:
    """How a run over pairs is cut up."""
    from cocoscli import console
    from cocoscli.engine.batch import Plan

    return Plan(
        batch_size=plan.batch_size,
        workers=default_workers() if workers is None else workers,
        limit=limit,
        retry_failed=retry_failed,
        on_smaller_batch=lambda n: console.warn(f"out of memory: going on by {n} at once"),
    )


def followed(run: Run) -> Iterator[dict[str, Any]]:
    """The rows of a run, those that failed said."""
    from cocoscli import console
    from cocoscli.data.wording import shown

    for row in console.follow(run.rows(), run.total, "pairs"):
        if row["status"] == "failed":
            console.warn(f"{shown(row['key'])}: {row['error']}")
        yield row


def finish(run: Run, write_page: Callable[[dict[str, Any]], Path] | None, json: bool) -> None:
    """Write the page of a run that came to its end, and say what was done.

    `write_page` takes the summary; None: no page is wanted. Exits with 3 where items failed.
    """
    from cocoscli import console
    from cocoscli.engine.files import storage_error

    summary = run.summary()
    output = summary["output"]
    try:
        summary["page"] = str(write_page(summary)) if write_page else None
    except OSError as error:
        raise storage_error(Path(output), error) from None
    if json:
        console.emit(summary)
    place = f"shards {summary['shards']}; " if "shards" in summary else ""
    console.note(
        f"{summary['done']} done, {summary['failed']} failed, {summary['skipped']} from before; "
        f"{place}{summary['page'] or output}"
    )
    if summary["failed"]:
        raise typer.Exit(EXIT_FAILED_ITEMS)


def say_plan(
    plan: PairPlan, output_name: Callable[[int], str], limit: int | None, json: bool
) -> None:
    """What a run would do; `output_name` tells where an item's result would lie."""
    from cocoscli import console
    from cocoscli.engine.items import key_lines
    from cocoscli.engine.memory import estimate_bytes

    reader = plan.reader
    size = reader.size or (plan.weights.model.condition.size,) * 2
    pairs = len(reader.pairing)
    facts: dict[str, Any] = {
        "inputs": len(reader.inputs),
        "exemplars": len(reader.exemplars),
        "pairs": pairs if limit is None else min(pairs, limit),
        "weights": plan.weights.name,
        "layout": reader.conditions.layout.name,
        "size": plan.settings["size"],
        "device": str(plan.device),
        "precision": plan.precision,
        "batch_size": plan.batch_size,
        "memory_mb": round(estimate_bytes(plan.weights.model, size, plan.batch_size) / 1e6),
    }
    lines = list(key_lines(reader, output_name, 5))
    columns = ("input", "exemplar", "result")
    if json:
        rows = [dict(zip(columns, line, strict=True)) for line in lines]
        return console.emit({**facts, "first": rows})
    console.table((name, str(value)) for name, value in facts.items())
    console.table(lines, *columns)
