"""The pages of `cocos correspond`: a row an item, and a view of a match under the pointer.

index.html              rows of pictures; each leads to its item's place in
match.html              one view for all items, at `#item=MARK`
_cocos/matches/...js    the cells of an item, loaded when it is looked at
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from cocoscli.data.storage import looker
from cocoscli.engine.gallery import mark_of, picture, thumb_name
from cocoscli.engine.manifest import DONE, latest_rows
from cocoscli.engine.match_pictures import cells_name
from cocoscli.report import Picture, Row, readable, render_page, write_gallery, write_whole

VIEW = "match.html"
COLUMNS = {
    "input": "Input",
    "exemplar": "Exemplar",
    "warp": "Warped exemplar",
    "confidence": "Confidence",
    "lines": "Surest mutual matches",
}
ONE_TO_MANY = (
    "One-to-many: {low_confidence:.0%} of the input could lie in many places of the exemplar."
)
MANY_TO_ONE = (
    "Many-to-one: one place of the exemplar is the match of {most_used} cells; "
    "{used:.0%} of the places are used."
)


def write_pages(folder: Path, count: int, total: int, facts: Mapping[str, str]) -> Path:
    """index.html and match.html of an output folder, with the first `count` of `total` items."""
    title = "cocos correspond"
    shown = list(_shown(folder, count))
    items = [[mark_of(r["key"]), readable(r["key"]), readable(r["exemplar"])] for r in shown]
    view = render_page("match.html", title, {}, {"items": items, "index": "index.html"})
    write_whole(folder / VIEW, view)
    rows = islice(match_rows(folder), count)
    return write_gallery(folder, title, list(COLUMNS.values()), rows, facts, total)


def _shown(folder: Path, count: int) -> Iterator[dict[str, Any]]:
    """The rows of those items whose cells are there."""
    there = looker(folder)
    for row in islice(latest_rows(folder), count):
        if row.get("status") == DONE and there(cells_name(row["key"])):
            yield row


def match_rows(folder: Path) -> Iterator[Row]:
    """The items of an output folder of `cocos correspond`."""
    there = looker(folder)
    return (_row(there, row) for row in latest_rows(folder))


def _row(there: Callable[[str], bool], row: dict[str, Any]) -> Row:
    key, exemplar = row["key"], str(row.get("exemplar") or "")
    if row.get("status") != DONE:
        return Row(key, (None,) * len(COLUMNS), str(row.get("error") or ""), failed=True)
    pictures: list[Picture | None] = []
    for what, words in COLUMNS.items():
        name = thumb_name(exemplar if what == "exemplar" else key, what)
        alt = f"exemplar {exemplar}" if what == "exemplar" else f"{words} of {row['input']}"
        pictures.append(picture(there, name, alt))
    link = (f"{VIEW}#item={mark_of(key)}", "Look at the matches")
    shown = there(cells_name(key))
    return Row(key, tuple(pictures), describe(row), link=link if shown else None)


def describe(row: Mapping[str, Any]) -> str:
    """The figures of a finished item in words, and what they warn of."""
    lines = [
        f"exemplar {row['exemplar']}",
        f"confidence {row['confidence']:.2f}, cycle error {row['cycle_error']:.1f} px, "
        f"{row['mutual']:.0%} mutual",
    ]
    if row["one_to_many"]:
        lines.append(ONE_TO_MANY.format(**row))
    if row["many_to_one"]:
        lines.append(MANY_TO_ONE.format(**row))
    return "\n".join(lines)
