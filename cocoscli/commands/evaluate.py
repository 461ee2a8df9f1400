"""`cocos evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cocoscli.commands import options as o
from cocoscli.commands.running import EXIT_FAILED_ITEMS, default_workers


def evaluate(
    folder: Annotated[
        Path, typer.Argument(metavar="OUT", help="The output folder of `cocos translate`.")
    ] = Path("out/translate"),
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
        typer.Option(
            "--table", metavar="paper", help="The figures beside those that the paper prints."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="The weights that translated: measures their correspondence too.",
        ),
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            "--features",
            metavar="auto|FILE",
            help="Weights of VGG-19 or VGG-16; auto is torchvision's VGG-19.",
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
            show_default="OUT",
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
    """Measure translations: consistency, style, distances of sets, truth where it is known.

    \b
    Example: cocos evaluate out/translate --baselines --features vgg19.safetensors
    """  # fmt: skip
    from cocoscli import console
    from cocoscli.engine.device import default_batch_size, resolve_device
    from cocoscli.engine.evaluation.evaluation import Evaluation, Options
    from cocoscli.engine.evaluation.items import SET_SIZE
    from cocoscli.engine.evaluation.page import write_page
    from cocoscli.engine.evaluation.report import JSON, compare, read_report, write_report
    from cocoscli.engine.evaluation.sources import Named
    from cocoscli.errors import UsageError

    if layout_of not in (None, "paper"):
        raise UsageError(f"--table {layout_of}: expected paper.")
    other = read_report(against) if against else None
    place = resolve_device(device)
    evaluation = Evaluation(
        folder,
        Options(
            named=Named(real=real, labels=labels, exemplar_labels=exemplar_labels, truth=truth),
            weights=weights, features=features, inception=inception, baselines=baselines,
            limit=limit, seed=seed,
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
    target = output or folder
    write_report(target, report)
    page = write_page(target, report, evaluation.reader)
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
