"""`cocos evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cocoscli.commands import options as o
from cocoscli.commands.manual import choice
from cocoscli.commands.running import EXIT_FAILED_ITEMS, default_workers
from cocoscli.data.storage import place


def evaluate(
    results: Annotated[
        str,
        typer.Argument(
            metavar="OUT|INPUTS",
            help="The output folder of `cocos translate`, or of anything else that makes images; "
            "or shards and other inputs, which --weights translate on the way.",
        ),
    ] = "out/translate",
    exemplar: Annotated[
        str | None,
        typer.Option(
            "--exemplar",
            metavar="DIR|FILE",
            show_default="of the run, or stored in the shards",
            help="Exemplars: of INPUTS as in `cocos translate`; of other images, by their stems.",
        ),
    ] = None,
    real: Annotated[
        Path | None,
        typer.Option(
            "--real",
            metavar="DIR",
            show_default="the inputs' own",
            help="Real photos; those of the inputs have their stems.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="DIR",
            show_default="the inputs' own",
            help="Label maps by the stems of the inputs (and of exemplars), as for edges or poses.",
        ),
    ] = None,
    exemplar_labels: Annotated[
        Path | None,
        typer.Option(
            "--exemplar-labels",
            metavar="DIR",
            show_default="the layout's own place",
            help="Label maps by the stems of the exemplars.",
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth",
            metavar="DIR",
            help="Exact renderings by the stems of the inputs, as generated scenes have them.",
        ),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines",
            help="Measure class colours, colour transfer and the unmoved exemplar too.",
        ),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="OTHER",
            help="Another folder that was evaluated: differences over the pairs of both.",
        ),
    ] = None,
    layout_of: Annotated[
        str | None,
        choice("--table", metavar="paper", help="The figures beside those that the paper prints."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            show_default="for shards the newest run's that fit, or bundled",
            help="The weights that translated, or are to: measures their correspondence too.",
            parser=place,
        ),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(
            "--points",
            metavar="FILE",
            help="Points of inputs and exemplars that show the same, for PCK; as in `correspond`.",
        ),
    ] = None,
    pairs: o.Pairs = "cycle",
    layout: o.LayoutName = None,
    exemplar_condition: o.ExemplarCondition = None,
    colors: o.Colors = None,
    ignore_label: o.IgnoreLabel = 255,
    size: o.Size = None,
    match_size: o.MatchSize = None,
    precision: o.Precision = "auto",
    features: Annotated[
        str,
        choice(
            "--features",
            metavar="auto|none|FILE",
            help="Weights of VGG-19 or VGG-16; auto is torchvision's VGG-19. none: only figures "
            "that take no other network, and so no download.",
        ),
    ] = "auto",
    inception: Annotated[
        Path | None,
        typer.Option(
            "--inception",
            metavar="FILE",
            show_default="cached or downloaded",
            help="torch-fidelity's Inception weights, for FID.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="DIR",
            show_default="OUT, or out/evaluate for INPUTS",
            help="Folder for evaluation.json and evaluation.html.",
        ),
    ] = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    batch_size: o.BatchSize = None,
    workers: o.Workers = None,
    limit: o.Limit = None,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:
    """Measure translations beside baselines and known truth.

    Takes the output of `cocos translate`; or shards and other inputs, which
    --weights translate on the way; or images that something else made. Figures are
    printed and written to evaluation.json and evaluation.html. What each of them
    means: docs/evaluate.md

    \b
    Examples:
      cocos evaluate out/translate --baselines
      cocos evaluate shards/ --weights w.safetensors --features vgg19.safetensors
      cocos evaluate theirs/ --exemplar styles/ --real photos/ --labels masks/
      cocos evaluate out/new --against out/old
    """  # fmt: skip
    from cocoscli import console
    from cocoscli.engine.device import default_batch_size, resolve_device
    from cocoscli.engine.evaluation.evaluation import Evaluation, Options
    from cocoscli.engine.evaluation.items import SET_SIZE
    from cocoscli.engine.evaluation.page import write_page
    from cocoscli.engine.evaluation.report import JSON, compare, read_report, write_report
    from cocoscli.engine.evaluation.sources import Named
    from cocoscli.engine.evaluation.subject import find_subject
    from cocoscli.engine.plan import PairOptions
    from cocoscli.errors import UsageError

    if layout_of not in (None, "paper"):
        raise UsageError(f"--table {layout_of}: expected paper.")
    other = read_report(against) if against else None
    place = resolve_device(device)
    subject = find_subject(
        results,
        PairOptions(
            inputs=results, exemplar=exemplar, weights=weights, pairs=pairs, layout=layout,
            exemplar_condition=exemplar_condition, colors=colors,
            ignore_label=None if ignore_label < 0 else ignore_label, size=size,
            match_size=match_size, seed=seed, device=device, precision=precision, batch_size=1,
            dry_run=dry_run,
        ),
        Named(real=real, labels=labels, exemplar_labels=exemplar_labels, truth=truth),
        place,
    )  # fmt: skip
    evaluation = Evaluation(
        subject,
        Options(
            weights=weights, points=points, features=features, inception=inception,
            baselines=baselines, limit=limit, seed=seed,
            batch_size=batch_size or default_batch_size(place, *SET_SIZE),
            workers=default_workers() if workers is None else workers,
        ),
        place,
    )  # fmt: skip
    if other is not None:
        evaluation.check_comparable(other)
    if dry_run:
        return console.say_facts(evaluation.plan(), json)
    for _ in console.follow(evaluation.steps(), len(evaluation), "images"):
        pass
    report = evaluation.report()
    if other is not None:
        report["against"] = {"output": str(against), "differences": compare(report, other, seed)}
    for words in report["notes"]:
        console.warn(words)
    target = output or subject.folder or Path("out/evaluate")
    write_report(target, report)
    page = write_page(target, report, evaluation.numbers, evaluation.pair)
    _say(report, json, beside_paper=layout_of == "paper")
    console.note(f"{report['images']} images; {target / JSON}, {page}")
    if report["left_out"]:
        first = report["left_out"][0]
        console.warn(
            f"{len(report['left_out'])} results left out; the first: {first['key']}: "
            f"{first['error']}"
        )
        raise typer.Exit(EXIT_FAILED_ITEMS)


def _say(report: dict[str, Any], json: bool, beside_paper: bool) -> None:
    """The table and how its figures were measured, or (`json`) the report without its items."""
    from cocoscli import console
    from cocoscli.engine.evaluation.report import (
        difference_table,
        facts,
        paper_differences,
        paper_table,
        table,
    )

    if json:
        return console.emit({name: value for name, value in report.items() if name != "items"})
    heads, lines = table(report)
    console.table(lines, *heads)
    console.table(facts(report).items())
    if beside_paper:
        heads, lines = paper_table(report)
        console.table(lines, *heads)
        console.table(paper_differences(report).items())
    if "against" in report:
        lines = difference_table(report["against"]["differences"])
        less = f"less {report['against']['output']}"
        console.table(lines, less, "mean", "95 % interval", "pairs", "here")
