"""`cocos translate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cocoscli.commands import options as o
from cocoscli.commands.running import (
    check_format,
    conclude,
    default_workers,
    machine_facts,
    rows_of,
    say_plan,
)

if TYPE_CHECKING:
    from cocoscli.engine.plan import PairPlan


def translate(
    inputs: o.Inputs = None,
    exemplar: o.Exemplar = None,
    weights: o.WeightsFile = None,
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Folder for the results.")
    ] = Path("out/translate"),
    pairs: o.Pairs = "cycle",
    layout: o.LayoutName = None,
    exemplar_condition: o.ExemplarCondition = None,
    colors: o.Colors = None,
    size: o.Size = None,
    ignore_label: o.IgnoreLabel = 255,
    format: o.ResultFormat = "png",
    quality: o.Quality = 95,
    shard_samples: o.ShardSamples = 1000,
    gallery: o.Gallery = 1000,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    batch_size: o.BatchSize = None,
    workers: o.Workers = None,
    limit: o.Limit = None,
    null: o.Null = False,
    retry_failed: o.RetryFailed = False,
    overwrite: o.Overwrite = False,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:
    """Render masks, edge maps or poses in the style of a photo.

    Running the same command again goes on where it stopped.

    \b
    Example: cocos translate masks/ --exemplar photos/ --weights w.safetensors
    """
    from cocoscli import console
    from cocoscli.data.encoding import SHARDS
    from cocoscli.engine.batch import Plan
    from cocoscli.engine.gallery import write_page
    from cocoscli.engine.plan import PairOptions, plan_pairs
    from cocoscli.engine.run import open_run
    from cocoscli.engine.shardset import Limits
    from cocoscli.engine.translate import Rendering, Translation
    from cocoscli.errors import UsageError

    check_format(format)
    if exemplar == "":
        raise UsageError("--exemplar is empty.", "Give a photo or a folder of photos.")
    plan = plan_pairs(
        PairOptions(
            inputs=inputs, exemplar=exemplar, weights=weights, pairs=pairs, layout=layout,
            exemplar_condition=exemplar_condition, colors=colors, size=size,
            ignore_label=None if ignore_label < 0 else ignore_label, seed=seed, null=null,
            device=device, precision=precision, batch_size=batch_size, dry_run=dry_run,
        )
    )  # fmt: skip
    if str(output) == "out/translate":
        plan.defaults.append(("output", str(output), "--output"))
    console.say_defaults(plan.defaults)
    if dry_run:
        return _say_plan(plan, format, limit, json)
    rendering = Rendering(
        device=plan.device, precision=plan.precision, format=format, quality=quality,
        gallery=gallery,
    )  # fmt: skip
    settings = {**plan.settings, "command": "translate", "format": format, "quality": quality}
    if format == SHARDS:
        settings["shard_samples"] = shard_samples
    run = open_run(
        Translation(plan.weights.model, plan.reader, rendering),
        output,
        settings=settings,
        record=plan.record,
        plan=Plan(
            batch_size=plan.batch_size,
            workers=default_workers() if workers is None else workers,
            limit=limit,
            retry_failed=retry_failed,
            on_smaller_batch=lambda n: console.warn(f"out of memory: going on by {n} at once"),
        ),
        overwrite=overwrite,
        shards=Limits(samples=shard_samples) if format == SHARDS else None,
    )
    for _ in rows_of(run, "pairs"):
        pass

    def page(summary: dict[str, Any]) -> Path:
        facts = {"weights": plan.weights.name, "pairs": pairs, "size": plan.settings["size"],
                 "failed": str(summary["failed"])}  # fmt: skip
        return write_page(output, plan.reader, format, gallery, facts)

    conclude(run, page if gallery else None, json)


def _say_plan(plan: PairPlan, format: str, limit: int | None, json: bool) -> None:
    from cocoscli.engine.items import key_lines

    reader = plan.reader
    pairs = len(reader.pairing)
    facts: dict[str, Any] = {
        "inputs": len(reader.inputs),
        "exemplars": len(reader.exemplars),
        "pairs": pairs if limit is None else min(pairs, limit),
        "layout": reader.conditions.layout.name,
        **machine_facts(plan),
    }
    say_plan(facts, list(key_lines(reader, format, 5)), ("input", "exemplar", "result"), json)
