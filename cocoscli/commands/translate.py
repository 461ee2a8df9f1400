"""`cocos translate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cocoscli.commands import options as o
from cocoscli.commands.running import (
    Cut,
    check_format,
    finish,
    followed,
    say_defaults,
    say_pairs,
)


def translate(
    inputs: o.Inputs = None,
    exemplar: o.Exemplar = None,
    weights: o.WeightsFile = None,
    output: o.Output = Path("out/translate"),
    pairs: o.Pairs = "cycle",
    layout: o.LayoutName = None,
    exemplar_condition: o.ExemplarCondition = None,
    colors: o.Colors = None,
    size: o.Size = None,
    match_size: o.MatchSize = None,
    ignore_label: o.IgnoreLabel = 255,
    format: o.ResultFormat = "png",
    quality: o.Quality = 95,
    shard_samples: o.ShardSamples = 1000,
    gallery: o.Gallery = 1000,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    compiled: o.Compile = False,
    batch_size: o.BatchSize = None,
    workers: o.Workers = None,
    limit: o.Limit = None,
    part: o.Part = None,
    engine: o.Engine = "local",
    null: o.Null = False,
    retry_failed: o.RetryFailed = False,
    overwrite: o.Overwrite = False,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:
    """Render masks, edge maps or poses in the style of a photo.

    Each input gets one exemplar (--pairs) and becomes one picture, in the tree of
    the inputs. manifest.jsonl has a row for each, run.toml the settings, and
    index.html shows input, exemplar, warped exemplar and result side by side.
    The same command again goes on where it stopped. Guide: docs/translate.md

    \b
    Examples:
      cocos translate masks/ --exemplar photos/ --weights w.safetensors
      cocos translate shards/ --exemplar sunset.jpg
      cocos translate masks/ --exemplar photos/ --pairs all --limit 20
      cocos translate masks/ --exemplar photos/ --dry-run
    """
    from cocoscli.engine.gallery import write_page
    from cocoscli.engine.plan import PairOptions, plan_pairs
    from cocoscli.engine.run import open_run
    from cocoscli.engine.translate import Rendering, Translation

    check_format(format)
    cut = Cut(
        workers=workers, limit=limit, part=part, engine=engine, device=device,
        retry_failed=retry_failed, overwrite=overwrite,
    )  # fmt: skip
    plan = plan_pairs(
        PairOptions(
            inputs=inputs, exemplar=exemplar, weights=weights, pairs=pairs, layout=layout,
            exemplar_condition=exemplar_condition, colors=colors, size=size,
            ignore_label=None if ignore_label < 0 else ignore_label, seed=seed, null=null,
            device=device, precision=precision, compiled=compiled,
            batch_size=batch_size, dry_run=dry_run,
            match_size=match_size,
        )
    )  # fmt: skip
    say_defaults(plan, output, "out/translate")
    if dry_run:
        return say_pairs(plan, lambda k: plan.reader.output_name(k, format), limit, json)
    rendering = Rendering(
        device=plan.device, precision=plan.precision, compiled=plan.compiled,
        format=format, quality=quality,
        gallery=gallery, shard_samples=shard_samples,
    )  # fmt: skip
    run = open_run(
        Translation(plan.weights.model, plan.reader, rendering),
        output,
        settings={**plan.settings, "command": "translate", **rendering.settings},
        record=plan.record,
        plan=cut.of(plan),
        overwrite=overwrite,
        shards=rendering.limits,
    )
    for _ in followed(run, "pairs"):
        pass
    facts = {"weights": plan.weights.shown, "pairs": pairs, "size": plan.settings["size"]}

    def page(summary: dict[str, Any]) -> Path:
        failed = {"failed": str(summary["failed"])}
        return write_page(output, plan.reader, format, gallery, {**facts, **failed})

    finish(run, page if gallery else None, json)
