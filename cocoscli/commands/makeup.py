"""`cocos makeup`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cocoscli.commands import options as o
from cocoscli.commands.manual import choice
from cocoscli.commands.running import (
    Cut,
    check_format,
    finish,
    followed,
    machine_facts,
    say_defaults,
    say_plan,
)
from cocoscli.data.storage import place

if TYPE_CHECKING:
    from cocoscli.engine.makeup_plan import MakeupPlan


def makeup(
    source: Annotated[
        list[Path],
        typer.Option(
            "--source", metavar="FILE",
            help="The portrait that wears the makeup. May repeat: eyes from one, lips from another "
            "(--regions); what belongs to each is then given in the same order.",
        ),
    ],
    targets: Annotated[
        str,
        typer.Option(
            "--targets", metavar="DIR|FILE",
            help="A folder (walked), a file, @list.txt, or - for a path a line on standard input.",
        ),
    ],
    layer: Annotated[
        list[Path] | None,
        typer.Option(
            "--layer", metavar="FILE", show_default="computed",
            help="The makeup alone, aligned with the source: RGBA, or on white for multiply.",
        ),
    ] = None,
    bare: Annotated[
        list[Path] | None,
        typer.Option(
            "--bare", metavar="FILE",
            help="The same portrait without makeup: the difference is the makeup.",
        ),
    ] = None,
    parts: Annotated[
        list[Path] | None,
        typer.Option(
            "--parts", metavar="FILE", show_default="found by the extra [faces]",
            help="Where the source's lips and eyes are: a parsing map (19 face classes) or JSON of "
            "68 landmarks. For --regions, and without --layer and --bare.",
        ),
    ] = None,
    regions: Annotated[
        list[str] | None,
        typer.Option(
            "--regions", metavar="LIST", show_default="all",
            help="Of lips,eyes,cheeks,brows.",
        ),
    ] = None,
    strength: Annotated[
        float,
        typer.Option(
            "--strength", metavar="0..1", min=0.0, max=1.0, help="How strong the makeup is."
        ),
    ] = 1.0,
    blend: Annotated[
        str,
        choice("--blend", metavar="multiply|alpha|soft-light", help="How it is put on."),
    ] = "multiply",
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", metavar="FILE", parser=place,
            help="A checkpoint; faces: the bundled one.",
            show_default="the newest run's that match faces, or bundled ones",
        ),
    ] = None,
    output: o.Output = Path("out/makeup"),
    via: Annotated[
        str,
        choice(
            "--via", metavar="auto|photo|condition|both",
            help="What targets are matched by: themselves, their edges (where the weights take "
            "edges), or both together. auto: themselves.",
        ),
    ] = "auto",
    faces: Annotated[
        str,
        choice(
            "--faces", metavar="auto|largest|all|centred",
            help="Which faces of a target: found by the extra [faces], or the one of a centred "
            "portrait. auto: the largest with the extra, else centred.",
        ),
    ] = "auto",
    render: Annotated[
        str,
        choice(
            "--render", metavar="photo|network",
            help="network: also write what the generator draws of the face, at its size.",
        ),
    ] = "photo",
    format: o.ResultFormat = "png",
    quality: o.Quality = 95,
    shard_samples: o.ShardSamples = 1000,
    gallery: o.Gallery = 1000,
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
) -> None:  # fmt: skip
    """Put the makeup of one portrait on others, at their own size.

    The makeup is a layer of strokes (--layer), the difference to the same portrait
    without it (--bare), or else what the source's colours say. Pixels without
    makeup stay as they are. The same command again goes on where it stopped.
    Guide: docs/makeup.md

    \b
    Examples:
      cocos makeup --source ref.png --layer strokes.png --targets portraits/
      cocos makeup --source made.png --bare bare.png --targets portraits/
    """
    from cocoscli.engine.gallery import MAKEUP, write_rows
    from cocoscli.engine.makeup import Applying, Makeup
    from cocoscli.engine.makeup_plan import MakeupOptions, plan_makeup
    from cocoscli.engine.run import open_run
    from cocoscli.errors import UsageError

    check_format(format)
    cut = Cut(
        workers=workers, limit=limit, part=part, engine=engine, device=device,
        retry_failed=retry_failed, overwrite=overwrite,
    )  # fmt: skip
    if render not in ("photo", "network"):
        raise UsageError(f"--render {render}: expected photo or network.")
    plan = plan_makeup(
        MakeupOptions(
            sources=source, targets=targets, layers=layer or (), bares=bare or (),
            parts=parts or (), regions=regions or (), weights=weights, strength=strength,
            blend=blend, via=via, faces=faces, draws=render == "network", null=null,
            device=device, precision=precision, compiled=compiled,
            batch_size=batch_size,
        )
    )  # fmt: skip
    say_defaults(plan, output, "out/makeup")
    _say_left_out(plan)
    if dry_run:
        return _say_plan(plan, format, limit, json)
    applying = Applying(
        device=plan.device, precision=plan.precision, compiled=plan.compiled,
        format=format, quality=quality,
        gallery=gallery, shard_samples=shard_samples, draws=render == "network", blend=blend,
        strength=strength, via=plan.via,
    )  # fmt: skip
    run = open_run(
        Makeup(plan.weights.model, plan.reader, plan.sources, applying),
        output,
        settings={**plan.settings, "command": "makeup", **applying.settings},
        record=plan.record,
        plan=cut.of(plan),
        overwrite=overwrite,
        shards=applying.limits,
    )
    for _ in followed(run, "targets"):
        pass

    def page(summary: dict[str, Any]) -> Path:
        facts = {"weights": plan.weights.shown, "matched by": plan.via, "blend": blend,
                 "faces": plan.reader.faces, "failed": str(summary["failed"])}  # fmt: skip
        return write_rows(output, "cocos makeup", MAKEUP, gallery, facts, len(plan.reader))

    finish(run, page if gallery else None, json)


def _say_left_out(plan: MakeupPlan) -> None:
    from cocoscli import console
    from cocoscli.data.wording import few, shown

    if plan.left_out:
        names = few([shown(path) for path in plan.left_out])
        console.note(f"among the targets, and left out as the source's own: {names}")


def _say_plan(plan: MakeupPlan, format: str, limit: int | None, json: bool) -> None:
    from cocoscli.engine.makeup_items import first_names

    targets = len(plan.reader)
    facts = {
        "targets": targets if limit is None else min(targets, limit),
        "sources": len(plan.sources),
        "faces": plan.reader.faces,
        "matched_by": plan.via,
        **machine_facts(plan),
    }
    lines = list(islice(first_names(plan.reader, format), 5))
    say_plan(facts, lines, ("target", "result"), json)
