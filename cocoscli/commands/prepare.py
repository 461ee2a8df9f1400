"""`cocos prepare`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cocoscli.commands import options as o
from cocoscli.commands.manual import choice
from cocoscli.commands.running import EXIT_FAILED_ITEMS

SAID = 20
"""Failed items that are named on the screen; all are in the manifest."""


def prepare(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE", help="A dataset's folder.", show_default="./data, else made scenes"
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Folder for the shards.")
    ] = Path("shards"),
    layout: Annotated[
        str | None,
        choice(
            "--layout",
            metavar="NAME",
            words=lambda: o.LAYOUT_NAMES,
            show_default="found by its folders",
            help="How SOURCE is laid out; see above.",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        choice(
            "--kind",
            metavar="KIND",
            words=lambda: o.KINDS,
            show_default="the layout's first",
            help="What conditions to make where a layout can make several: labels, edges, "
            "celebahq-edge, face-edges, deepfashion, pose or chains.",
        ),
    ] = None,
    keypoints: Annotated[
        Path | None,
        typer.Option(
            "--keypoints", metavar="FILE", help="Key points by stem, instead of keypoints.json."
        ),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(
            "--points",
            metavar="FILE",
            show_default="points.csv in SOURCE, if it is there",
            help="Named points of photos (CSV or JSON), for training with losses.points.",
        ),
    ] = None,
    skeleton: Annotated[
        Path | None,
        typer.Option(
            "--skeleton", metavar="FILE", help="Chains of key points, instead of skeleton.json."
        ),
    ] = None,
    subset: Annotated[
        str | None, choice("--subset", metavar="outdoor", help="Of ade20k: outdoor scenes alone.")
    ] = None,
    scenes: Annotated[
        Path | None,
        typer.Option("--scenes", metavar="FILE", help="Names of the scenes that --subset means."),
    ] = None,
    colors: o.Colors = None,
    classes: Annotated[
        int | None,
        typer.Option(
            "--classes",
            metavar="N",
            min=1,
            max=65536,
            show_default="by labels.json, or as found",
            help="Classes of label maps; ids beyond are refused.",
        ),
    ] = None,
    ignore_label: o.IgnoreLabel = 255,
    size: Annotated[
        str, choice("--size", metavar="N|WxH|original", help="Of the stored photos.")
    ] = "286",
    format: o.Format = "jpg",
    quality: o.Quality = 95,
    exemplars: Annotated[
        str | None,
        choice(
            "--exemplars",
            metavar="layout|features|identity|random|none|FILE",
            show_default="layout for label maps, else random",
            help="How each sample's exemplars are chosen; FILE is a *_ref.txt.",
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            "--features",
            metavar="FILE",
            show_default="torchvision's",
            help="VGG weights for --exemplars features.",
        ),
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            "--identity",
            metavar="CSV|PATTERN",
            help="Who is on a photo: name,identity rows, or a pattern with one group.",
        ),
    ] = None,
    generated: Annotated[
        Path | None,
        typer.Option(
            "--query-generated",
            metavar="DIR",
            help="Ask with a plain translation's outputs, not with the photos.",
        ),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", metavar="N", min=1, max=1000, help="Exemplars looked for.")
    ] = 10,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="Store all of them, not the first and last.")
    ] = False,
    val: Annotated[
        float,
        typer.Option(
            "--val", metavar="SHARE", min=0, max=1, help="Share of val where nothing else says."
        ),
    ] = 0.05,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Leave out repeated photos.")] = False,
    shard_samples: o.ShardSamples = 1000,
    shard_megabytes: Annotated[
        int,
        typer.Option(
            "--shard-megabytes", metavar="N", min=1, help="Size of a shard, about, at most."
        ),
    ] = 1000,
    generate: Annotated[
        int,
        typer.Option(
            "--generate",
            metavar="N",
            min=2,
            max=1_000_000,
            help="Scenes to generate where there is neither SOURCE nor ./data.",
        ),
    ] = 200,
    seed: o.Seed = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=0,
            show_default="one a core, at most 16",
            help="Reading and encoding processes; 0 does it all in this one.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read everything, report all faults, write nothing.")
    ] = False,
    gallery: o.Gallery = 200,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed", help="Try items again that failed before, into further shards."
        ),
    ] = False,
    overwrite: o.Overwrite = False,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:
    """Turn a dataset's folders into shards to train on.

    A sample is a photo, what its condition is made from, and exemplars chosen
    for it; index.html shows the first of them. The same command again goes on
    where it stopped. Guide: docs/prepare.md

    \b
    Layouts:
      labels         masks/ (PNG of class ids) and images/, the same stems
      folders        images/ with masks/, edges/ or keypoints.json (and
                     skeleton.json for points of no known form), or photos alone
      ade20k         annotations/SPLIT/ and images/SPLIT/
      celebahq-mask  CelebA-HQ-img/,
                     CelebAMask-HQ-mask-anno/all_parts_except_glasses/
      celebahq-edge  CelebA-HQ-img/, CelebAMask-HQ-mask-anno/N/
      face-edges     the same, or with keypoints.json of 68 landmarks beside
      deepfashion    img/ and pose/ (candidate and subset text, or OpenPose
                     JSON), or keypoints.json beside img/
      pose           the same, the drawing alone
      edges          any photos
      portraits      any portraits; the extra [faces] finds the face's parts
      people         any photos of a person; the extra [faces] finds the pose

    Splits are those of train.txt, val.txt and test.txt, of the dataset's own
    lists or of folders of these names; else a share is drawn (--val, --seed).

    \b
    Examples:
      cocos prepare
      cocos prepare CelebAMask-HQ --layout celebahq-edge --output shards
      cocos prepare photos/ --layout edges --check
    """
    from cocoscli import console
    from cocoscli.engine.preparation import PrepareOptions, plan_preparation
    from cocoscli.engine.prepare import check_items, prepare_shards

    plan = plan_preparation(
        PrepareOptions(
            source=source, generate=generate, layout=layout, kind=kind, keypoints=keypoints,
            points=points, skeleton=skeleton, subset=subset, scenes=scenes, colors=colors,
            classes=classes, size=size, format=format,
            ignore_label=None if ignore_label < 0 else ignore_label,
            quality=quality, exemplars=exemplars, features=features, identity=identity,
            generated=generated, top=top, keep_all=keep_all, val=val, dedupe=dedupe,
            shard_samples=shard_samples, shard_bytes=shard_megabytes * 10**6, seed=seed,
        )
    )  # fmt: skip
    if str(output) == "shards" and not check:
        plan.defaults.append(("output", "shards", "--output"))
    console.say_defaults(plan.defaults)
    readers = min(16, os.cpu_count() or 1) if workers is None else workers
    if dry_run:
        facts = {"items": len(plan.source), **plan.settings}
        return console.emit(facts) if json else console.table(
            [(name, str(value)) for name, value in facts.items()], "", "")  # fmt: skip
    work = (
        check_items(plan, readers)
        if check
        else prepare_shards(
            plan, output, readers, overwrite=overwrite, retry_failed=retry_failed, gallery=gallery
        )
    )
    if not check:
        passes = (
            "a first pass reads them all, a second writes them" if plan.compares else "in one pass"
        )
        console.note(f"{work.total:,} items: {passes}")
    failed = 0
    for row in console.follow(work.rows, work.total, "items"):
        failed += row["status"] == "failed"
        if row["status"] == "failed" and (check or failed <= SAID):
            console.warn(str(row["reason"]))
    if failed > SAID and not check:
        console.warn(f"and {failed - SAID:,} more failed items; manifest.jsonl names each")
    summary = work.finish()
    if json:
        console.emit(summary)
    for warning in summary.pop("warnings"):
        console.warn(warning)
    said = (f"{name} {value}" for name, value in summary.items() if value is not None)
    console.note(", ".join(said))
    if summary["failed"]:
        if not check:
            console.note("manifest.jsonl says why items failed; mend them and add --retry-failed")
        raise typer.Exit(EXIT_FAILED_ITEMS)
