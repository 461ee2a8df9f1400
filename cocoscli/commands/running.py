"""What commands that map a network over items do alike, from the first item to the exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cocoscli import console

if TYPE_CHECKING:
    from cocoscli.engine.batch import Plan
    from cocoscli.engine.part import Part
    from cocoscli.engine.plan import PairPlan, RunPlan
    from cocoscli.engine.run import Run

EXIT_FAILED_ITEMS = 3

Row = Mapping[str, Any]


def default_workers() -> int:
    return max(1, min(8, (os.cpu_count() or 1) // 2))


def workers_each(plan: RunPlan[Any]) -> int:
    """The decoding processes of each of many workers: on CPUs the others keep the cores busy."""
    return 0 if plan.device.type == "cpu" else 2


def check_format(format: str) -> None:
    """UsageError unless results can be of this format."""
    from cocoscli.data.encoding import RESULT_FORMATS
    from cocoscli.errors import UsageError

    if format not in RESULT_FORMATS:
        raise UsageError(f"--format {format}: expected one of {', '.join(RESULT_FORMATS)}.")


def say_defaults(plan: RunPlan[Any], output: Path, usual: str) -> None:
    """Say each default that was taken, `usual` being the output folder's."""
    own = [("output", usual, "--output")] if str(output) == usual else []
    console.say_defaults([*plan.defaults, *own])


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How a run is cut up and where it is done, as the options of these names say it.

    Raises UsageError for what cannot be.
    """

    workers: int | None
    limit: int | None
    part: str | None
    engine: str
    device: str
    retry_failed: bool
    overwrite: bool

    def __post_init__(self) -> None:
        from cocoscli.engine.engines import parse_engine
        from cocoscli.errors import UsageError

        parse_engine(self.engine)
        if self.own and self.overwrite:
            raise UsageError(
                f"--overwrite with --part {self.part}: a part would take the others' results away.",
                "Choose another --output, or run once without --part.",
            )

    @cached_property
    def own(self) -> Part | None:
        """The part that is done; None: all."""
        from cocoscli.engine.part import parse_part

        return parse_part(self.part) if self.part else None

    def of(self, plan: RunPlan[Any]) -> Plan:
        """The cut of a run that is resolved."""
        from cocoscli.engine.batch import Plan
        from cocoscli.engine.engines import parse_engine

        elsewhere = parse_engine(self.engine, self.device, plan.memory)
        workers = self.workers
        if workers is None:
            workers = workers_each(plan) if elsewhere else default_workers()
        return Plan(
            batch_size=plan.batch_size,
            workers=workers,
            limit=self.limit,
            part=self.own,
            engine=elsewhere,
            retry_failed=self.retry_failed,
            on_smaller_batch=lambda n: console.warn(f"out of memory: going on by {n} at once"),
        )


def followed(run: Run, unit: str) -> Iterator[Row]:
    """Do the work, show how far it is and say each fault; each item's row once it is recorded."""
    from cocoscli.data.wording import shown

    for row in console.follow(run.rows(), run.total, unit):
        if row["status"] == "failed":
            console.warn(f"{shown(row['key'])}: {row['error']}")
        yield row


def finish(run: Run, write_page: Callable[[dict[str, Any]], Path] | None, json: bool) -> None:
    """Write the page and say what was done; leave with exit code 3 where items have failed.

    `write_page` is given the summary; None: no page is wanted. Of parts, the last one at work
    writes the page, of all of them.
    """
    summary, output, part = run.summary(), run.output.path, run.plan.part
    summary["page"] = None
    with run.ending() as last:
        if last and write_page:
            of_all = {**summary, "failed": run.failed(run.pending.all)} if part else summary
            summary["page"] = str(write_page(of_all))
    summary |= run.facts
    if json:
        console.emit(summary)
    place = f"shards {summary['shards']}; " if "shards" in summary else ""
    console.note(
        f"{f'part {part}: ' if part else ''}{summary['done']} done, {summary['failed']} failed, "
        f"{summary['skipped']} from before; {place}{summary['page'] or output}"
    )
    if left := summary.get("left"):
        console.note(f"{left} items of other parts are left, and none of them is at work")
    if summary["failed"]:
        raise typer.Exit(EXIT_FAILED_ITEMS)


def machine_facts(plan: RunPlan[Any]) -> dict[str, Any]:
    """How a plan would run, for `--dry-run`."""
    return {
        "weights": plan.weights.name,
        "size": plan.settings["size"],
        **({"match_size": plan.settings["match_size"]} if "match_size" in plan.settings else {}),
        "device": str(plan.device),
        "precision": plan.precision,
        "batch_size": plan.batch_size,
        "memory_mb": round(plan.memory / 1e6),
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


def say_pairs(
    plan: PairPlan, output_name: Callable[[int], str], limit: int | None, json: bool
) -> None:
    """The same for a run over pairs; `output_name` tells where an item's result would lie."""
    from cocoscli.engine.items import key_lines

    reader = plan.reader
    pairs = len(reader.pairing)
    facts = {
        "inputs": len(reader.inputs),
        "exemplars": len(reader.exemplars),
        "pairs": pairs if limit is None else min(pairs, limit),
        "layout": reader.conditions.layout.name,
        **machine_facts(plan),
    }
    say_plan(facts, list(key_lines(reader, output_name, 5)), ("input", "exemplar", "result"), json)
