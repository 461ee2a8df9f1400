"""`index.html` of a demo: what its commands have made, at a glance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

from cocoscli.engine.demo.material import EXEMPLARS
from cocoscli.engine.demo.steps import Step
from cocoscli.engine.evaluation.report import read_report, table
from cocoscli.engine.gallery import EDIT, MAKEUP, gallery_rows
from cocoscli.engine.manifest import DONE, latest_rows
from cocoscli.engine.match_page import COLUMNS, match_rows
from cocoscli.report import INDEX, Picture, Row, render_page, write_whole

LEAD = (
    "Exemplar-based image translation with small networks that come with cocos, made on this "
    "machine by the commands below."
)
ROWS = {"translate": 4, "evaluate": 3, "correspond": 3}
"""Rows that are shown of a step; of others all."""
FIGURES = ("psnr", "ssim", "label_accuracy", "pck_05")
"""Of the evaluation, those that the page explains."""


@dataclass(frozen=True)
class Part:
    """A step as the page shows it: rows of pictures below their heads, and perhaps figures."""

    step: Step
    heads: Sequence[str | Picture]
    """What stands over the columns; exemplars, where each row begins with a mask besides."""
    rows: Sequence[Row]
    figures: tuple[list[str], list[tuple[str, ...]]] | None = None

    @property
    def crossed(self) -> bool:
        """Whether masks stand against exemplars."""
        return isinstance(self.heads[0], Picture)

    @property
    def names(self) -> list[str]:
        """What the columns are called when their pictures are enlarged."""
        if self.crossed:
            return ["Mask", *("Result" for _ in self.heads)]
        return [str(head) for head in self.heads]


def write_demo(folder: Path, steps: Sequence[Step], facts: Mapping[str, str]) -> Path:
    """Write the page of a demo's folder whose steps are done; -> its path."""
    parts = [_part(folder, step) for step in steps]
    page = render_page("demo.html", "cocos demo", facts, {}, LEAD, parts=parts)
    write_whole(folder / INDEX, page)
    return folder / INDEX


def _part(folder: Path, step: Step) -> Part:
    own, most = folder / step.name, ROWS.get(step.name)
    if step.name == "translate":
        return Part(step, _exemplars(), list(islice(_matrix(own), most)))
    if step.name == "evaluate":
        rows = list(islice(_against_truth(folder), most))
        return Part(
            step, ("Mask", "Exemplar", "Result", "Truth"), rows, table(read_report(own), FIGURES)
        )
    if step.name == "correspond":
        return Part(step, tuple(COLUMNS.values()), _inside(step, islice(match_rows(own), most)))
    columns = EDIT if step.name == "edit" else MAKEUP
    heads = (*(column.head.capitalize() for column in columns), "Result")
    return Part(step, heads, _inside(step, gallery_rows(own, columns)))


def _inside(step: Step, rows: Iterable[Row]) -> list[Row]:
    """Rows of a command's own page, their files as the demo's folder has them."""
    return [
        replace(row, pictures=tuple(
            picture and replace(picture, src=f"{step.name}/{picture.src}")
            for picture in row.pictures
        ))
        for row in rows
    ]  # fmt: skip


def _exemplars() -> list[Picture]:
    names = (f"exemplar-{k:04d}.png" for k in range(EXEMPLARS))
    return [Picture(f"scenes/exemplars/{name}", f"exemplar {name}") for name in names]


def _mask(name: str) -> Picture:
    return Picture(f"scenes/masks/{name}", f"mask {name}")


def _matrix(own: Path) -> Iterator[Row]:
    """Masks, each with its result for every exemplar."""
    rows = (row for row in latest_rows(own) if row["status"] == DONE)
    for name, results in groupby(rows, key=itemgetter("input")):
        pictures = (Picture(f"translate/{row['output']}", f"{name} in the style of "
                            f"{row['exemplar']}") for row in results)  # fmt: skip
        yield Row(name, (_mask(name), *pictures))


def _against_truth(folder: Path) -> Iterator[Row]:
    """Masks, each with the exemplar whose truth is there."""
    rows = [row for row in _matrix(folder / "translate") if len(row.pictures) == 1 + EXEMPLARS]
    for k, row in enumerate(rows):
        truth = Picture(f"scenes/truth/{row.title}", f"the truth of {row.title}")
        own = row.pictures[1 + k % EXEMPLARS]
        yield Row(row.title, (row.pictures[0], _exemplars()[k % EXEMPLARS], own, truth))
