"""`cocos correspond`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from cocoscli.commands import options as o
from cocoscli.commands.manual import choice
from cocoscli.commands.running import (
    Cut,
    Row,
    finish,
    followed,
    say_defaults,
    say_pairs,
)
from cocoscli.data.storage import place


def correspond(
    inputs: o.Inputs = None,
    exemplar: o.Exemplar = None,
    weights: o.WeightsFile = None,
    output: o.Output = Path("out/correspond"),
    via: Annotated[
        str,
        choice(
            "--via",
            metavar="auto|condition|photo",
            help="What an input is matched by: its label map, edges or pose, or itself as a photo. "
            "auto: photos as photos, where the weights take them without conditions.",
        ),
    ] = "auto",
    format: Annotated[
        str,
        choice(
            "--format",
            metavar="npz|flo|kitti",
            help="Of the flow; npz holds all else too, flo and kitti are displacements of pixels.",
        ),
    ] = "npz",
    subpixel: Annotated[
        bool, typer.Option("--subpixel", help="Matches between the cells of the grid.")
    ] = False,
    warp: Annotated[bool, typer.Option("--warp", help="Write the warped exemplars too.")] = False,
    points: Annotated[
        Path | None,
        typer.Option(
            "--points",
            metavar="FILE",
            help="Carry points across: CSV key,name,x,y or x,y; JSON {key: [[x, y], ...]}.",
        ),
    ] = None,
    points_from: Annotated[
        str,
        choice("--points-from", metavar="input|exemplar", help="Where the points lie."),
    ] = "input",
    pairs: o.Pairs = "cycle",
    layout: o.LayoutName = None,
    input_condition: Annotated[
        Path | None,
        typer.Option(
            "--input-condition",
            metavar="DIR|FILE",
            show_default="the layout's own place",
            help="Where the inputs' masks are, with --via photo and weights that need them.",
            parser=place,
        ),
    ] = None,
    exemplar_condition: o.ExemplarCondition = None,
    colors: o.Colors = None,
    size: o.Size = None,
    ignore_label: o.IgnoreLabel = 255,
    gallery: o.Gallery = 200,
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
    """Find where each place of an input lies in its exemplar.

    Writes a flow for each input, with confidence, cycle error and the way back,
    and on request warped exemplars and key points carried across; index.html
    shows each match under the pointer. The same command again goes on where it
    stopped. What the numbers mean: docs/correspond.md

    \b
    Examples:
      cocos correspond masks/ --exemplar photos/ --weights w.safetensors --warp
      cocos correspond a.jpg --exemplar b.jpg --points eyes.csv
      cocos correspond faces/ --exemplar smile.jpg --format flo
    """
    from cocoscli.data.flow_files import FLOW_FORMATS
    from cocoscli.data.points import read_points
    from cocoscli.engine.correspond import ENDS, Correspondence, Matching
    from cocoscli.engine.match_page import write_pages
    from cocoscli.engine.plan import PairOptions, content, plan_pairs
    from cocoscli.engine.run import open_run
    from cocoscli.errors import UsageError

    if format not in FLOW_FORMATS:
        raise UsageError(f"--format {format}: expected one of {', '.join(FLOW_FORMATS)}.")
    cut = Cut(
        workers=workers, limit=limit, part=part, engine=engine, device=device,
        retry_failed=retry_failed, overwrite=overwrite,
    )  # fmt: skip
    if points_from not in ENDS:
        raise UsageError(f"--points-from {points_from}: expected one of {', '.join(ENDS)}.")
    carried = read_points(points) if points else None
    plan = plan_pairs(
        PairOptions(
            inputs=inputs, exemplar=exemplar, weights=weights, pairs=pairs, layout=layout,
            exemplar_condition=exemplar_condition, colors=colors, size=size,
            ignore_label=None if ignore_label < 0 else ignore_label, seed=seed, null=null,
            device=device, precision=precision, compiled=compiled,
            batch_size=batch_size, dry_run=dry_run, draws=False,
            via=via, input_condition=input_condition,
        )
    )  # fmt: skip
    say_defaults(plan, output, "out/correspond")
    work = Correspondence(
        plan.weights.model,
        plan.reader,
        Matching(
            device=plan.device, precision=plan.precision, compiled=plan.compiled,
            gallery=gallery, format=format,
            subpixel=subpixel, warp=warp, points=carried, points_from=points_from,
        ),
    )  # fmt: skip
    if dry_run:
        return say_pairs(plan, work.output_name, limit, json)
    settings = {
        **plan.settings, "command": "correspond", "as_photos": plan.reader.as_photos,
        "input_condition": str(input_condition or ""), "format": format, "subpixel": subpixel,
        "warp": warp, "points": content(str(points or "")), "points_from": points_from,
    }  # fmt: skip
    run = open_run(
        work, output, settings=settings, record=plan.record,
        plan=cut.of(plan), overwrite=overwrite,
    )  # fmt: skip
    _warn(_counted(followed(run, "pairs")), points)
    facts = {
        "weights": plan.weights.shown, "pairs": pairs, "size": plan.settings["size"],
        "matched by": "photo" if plan.reader.as_photos else "condition",
    }  # fmt: skip

    def pages(summary: dict[str, Any]) -> Path:
        failed = {"failed": str(summary["failed"])}
        return write_pages(output, gallery, len(work), {**facts, **failed})

    finish(run, pages if gallery else None, json)


def _counted(rows: Iterable[Row]) -> Counter[str]:
    """How many of the rows are done, are flagged, and had points."""
    counts: Counter[str] = Counter()
    for row in rows:
        if row["status"] == "done":
            told = ("one_to_many", "many_to_one", "points", "invalid_pixels")
            counts.update({"done": 1, **{name: int(bool(row.get(name))) for name in told}})
    return counts


def _warn(counts: Counter[str], points: Path | None) -> None:
    """What deserves a look, once for the whole run."""
    from cocoscli import console
    from cocoscli.data.wording import shown

    of = f"of {counts['done']} pairs"
    if n := counts["one_to_many"]:
        console.warn(f"{n} {of} are one-to-many: most of the input could lie in many places.")
    if n := counts["many_to_one"]:
        console.warn(f"{n} {of} are many-to-one: much of the input shares few exemplar positions.")
    if n := counts["invalid_pixels"]:
        console.warn(f"{n} {of} have displacements beyond 511 px, which KITTI files leave out.")
    if points and counts["done"] and not counts["points"]:
        console.warn(f"no point of {shown(points)} is of an image of this run: keys are paths "
                     "below its folder.")  # fmt: skip
