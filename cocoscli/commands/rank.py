"""`cocos rank`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocoscli.commands import options as o
from cocoscli.commands.running import EXIT_FAILED_ITEMS


def rank(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="OUT",
            help="Output folders of `cocos translate` over the same inputs; with --tally files of "
            "answers, and the folders of their pages.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Folder of the page and its key.")
    ] = Path("out/rank"),
    tasks: Annotated[
        int, typer.Option("--tasks", metavar="N", min=1, help="Images to sort, drawn by the seed.")
    ] = 10,
    count: Annotated[
        bool, typer.Option("--tally", help="Count answers: the share of first places.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="WORDS",
            show_default="the path of the inputs",
            help="What the tally calls these images.",
        ),
    ] = None,
    seed: o.Seed = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write over another page.")
    ] = False,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:
    """Let people sort results without knowing whose they are.

    Writes one page of a few images, each with the results of all runs in random
    order, to be sorted by quality and by style; and counts the answers that the
    page saves. Guide: docs/rank.md

    \b
    Examples:
      cocos rank out/new out/old --output out/rank
      cocos rank --tally answers-*.json --output out/rank
    """  # fmt: skip
    if count:
        return _tally(paths, output, json)
    from cocoscli import console
    from cocoscli.engine.ranking.page import KEY, common_pairs, open_runs, write_rank

    runs = open_runs(paths)
    if dry_run:
        common = len(common_pairs(runs, seed))
        facts = {"runs": ", ".join(run.name for run in runs), "common pairs": common,
                 "tasks": min(tasks, common), "output": str(output)}  # fmt: skip
        return console.say_facts(facts, json)
    written = write_rank(output, runs, tasks, seed, name, overwrite)
    if json:
        console.emit({"page": str(written.page), "key": str(output / KEY),
                      "tasks": written.tasks, "left_out": written.left_out})  # fmt: skip
    if written.tasks < tasks:
        console.warn(f"{written.tasks} pairs to be shown, {tasks} asked for (--tasks).")
    console.note(f"{written.tasks} tasks: {written.page}; keep {output / KEY}, which tells whose")
    if written.left_out:
        console.warn(f"{len(written.left_out)} pairs left out; the first: {written.left_out[0]}")
        raise typer.Exit(EXIT_FAILED_ITEMS)


def _tally(paths: list[Path], output: Path, json: bool) -> None:
    """Say the shares of first places by question and dataset."""
    from cocoscli import console
    from cocoscli.engine.ranking.tally import once_a_person, read_answers, read_key, tally
    from cocoscli.errors import UsageError

    folders = [path for path in paths if path.is_dir()] or [output]
    files = [path for path in paths if not path.is_dir()]
    if not files:
        raise UsageError("--tally: no answers; expected the files that the page saves.")
    keys = {key.page: key for key in map(read_key, folders)}
    given = [read_answers(path, keys) for path in files]
    answers = once_a_person(given)
    if len(answers) < len(given):
        console.warn(f"{len(given) - len(answers)} files of a person who is counted already.")
    runs = list(dict.fromkeys(run for each in answers for run in each.key.runs))
    found = tally(answers)
    people = len({each.person for each in answers})
    if json:
        rows = [
            {"question": question, "dataset": dataset, "sorted": shares.sorted,
             "firsts": {run: shares.firsts[run] for run in runs},
             "share": {run: shares.share(run) for run in runs}}
            for (question, dataset), shares in found.items()
        ]  # fmt: skip
        return console.emit({"people": people, "rows": rows})
    lines = [
        (question, dataset, str(shares.sorted),
         *("-" if (share := shares.share(run)) is None else f"{share:.3f}" for run in runs))
        for (question, dataset), shares in found.items()
    ]  # fmt: skip
    console.table(lines, "first places", "images", "sorted", *runs)
    console.note(f"{people} people")
