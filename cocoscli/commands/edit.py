"""`cocos edit`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cocoscli.commands import options as o
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
    from cocoscli.engine.edit_plan import EditPlan


def edit(
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="A photo, or a folder of photos.")
    ],
    edited: Annotated[
        Path,
        typer.Option(
            "--edited", metavar="FILE|DIR",
            help="The edited mask (edge map, pose); or a folder, of one edit a photo by the "
            "photos' stems, or of several edits of one photo.",
        ),
    ],
    weights: Annotated[
        Path,
        typer.Option(
            "--weights", metavar="FILE", parser=place,
            help="A checkpoint; scenes or faces: the bundled one.",
        ),
    ],
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask", metavar="FILE|DIR", show_default="the photo's edges, for weights of edges",
            help="The photo's own mask (edge map, pose), or a folder of them by the same stems.",
        ),
    ] = None,
    output: o.Output = Path("out/edit"),
    keep: Annotated[
        bool,
        typer.Option(
            "--keep", help="Keep the photo's size, and its pixels away from what was edited."
        ),
    ] = False,
    border: Annotated[
        int | None,
        typer.Option(
            "--border", metavar="PIXELS", min=0, show_default="a 16th of the shorter side",
            help="With --keep: how far around an edit the new picture fades into the photo.",
        ),
    ] = None,
    colors: o.Colors = None,
    size: o.Size = None,
    match_size: o.MatchSize = None,
    ignore_label: o.IgnoreLabel = 255,
    format: o.ResultFormat = "png",
    quality: o.Quality = 95,
    shard_samples: o.ShardSamples = 1000,
    gallery: o.Gallery = 1000,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    batch_size: o.BatchSize = None,
    workers: o.Workers = None,
    limit: o.Limit = None,
    part: o.Part = None,
    engine: o.Engine = "local",
    retry_failed: o.RetryFailed = False,
    overwrite: o.Overwrite = False,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:  # fmt: skip
    """Draw photos anew where their masks were edited.

    A photo is its own exemplar, so what is drawn takes its colours. --keep leaves
    the photo as it is away from the edit, at its own size. The same command again
    goes on where it stopped. Guide: docs/edit.md

    \b
    Examples:
      cocos edit a.jpg --mask a.png --edited b.png --weights w.safetensors
      cocos edit photos/ --mask masks/ --edited new/ --weights w.safetensors
    """
    from cocoscli import console
    from cocoscli.data.wording import shown
    from cocoscli.engine.edit import Editing
    from cocoscli.engine.edit_plan import EditOptions, plan_edits
    from cocoscli.engine.gallery import EDIT, write_rows
    from cocoscli.engine.run import open_run
    from cocoscli.engine.translate import Rendering

    check_format(format)
    cut = Cut(
        workers=workers, limit=limit, part=part, engine=engine, device=device,
        retry_failed=retry_failed, overwrite=overwrite,
    )  # fmt: skip
    plan = plan_edits(
        EditOptions(
            image=image, mask=mask, edited=edited, weights=weights, keep=keep, border=border,
            colors=colors, size=size, ignore_label=None if ignore_label < 0 else ignore_label,
            match_size=match_size, gallery=gallery, device=device, precision=precision,
            batch_size=batch_size,
        )
    )  # fmt: skip
    say_defaults(plan, output, "out/edit")
    _say_left_out(plan)
    if dry_run:
        return _say_plan(plan, format, limit, json)
    rendering = Rendering(
        device=plan.device, precision=plan.precision, format=format, quality=quality,
        gallery=gallery, shard_samples=shard_samples,
    )  # fmt: skip
    run = open_run(
        Editing(plan.weights.model, plan.reader, rendering),
        output,
        settings={**plan.settings, "command": "edit", **rendering.settings},
        record=plan.record,
        plan=cut.of(plan),
        overwrite=overwrite,
        shards=rendering.limits,
    )
    for row in followed(run, "edits"):
        if row.get("changed") == 0:
            same = "the photo as it is" if keep else "the photo, drawn anew"
            console.warn(f"{shown(row['key'])}: nothing is edited in it; its result is {same}.")

    def page(summary: dict[str, Any]) -> Path:
        facts = {"weights": plan.weights.shown, "size": plan.settings["size"],
                 "kept": "away from the edit" if keep else "nothing",
                 "failed": str(summary["failed"])}  # fmt: skip
        return write_rows(output, "cocos edit", EDIT, gallery, facts, len(plan.reader))

    finish(run, page if gallery else None, json)


def _say_left_out(plan: EditPlan) -> None:
    """A warning that counts the photos which nothing was edited of."""
    from cocoscli import console
    from cocoscli.data.wording import few, shown
    from cocoscli.engine.edit_items import without_edit

    names = [shown(path) for path in without_edit(plan.reader)]
    if names:
        console.warn(f"without an edited mask, and so left out: {few(names)}")


def _say_plan(plan: EditPlan, format: str, limit: int | None, json: bool) -> None:
    from cocoscli.engine.edit_items import first_names

    edits = len(plan.reader)
    facts = {
        "edits": edits if limit is None else min(edits, limit),
        "kept": plan.reader.keep,
        **machine_facts(plan),
    }
    lines = list(islice(first_names(plan.reader, format), 5))
    say_plan(facts, lines, ("edited", "photo", "result"), json)
