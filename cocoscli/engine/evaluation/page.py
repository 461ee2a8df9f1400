"""`evaluation.html`: figures of an evaluation with the pairs at both ends of each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cocoscli.data.conditions import preview
from cocoscli.data.encoding import thumbnail
from cocoscli.engine.evaluation.items import Pair
from cocoscli.engine.evaluation.report import Report, facts, number, table
from cocoscli.engine.files import PRIVATE, TEMPORARY, storage_error, write_inside
from cocoscli.engine.gallery import mark_of
from cocoscli.errors import BadInput
from cocoscli.metrics.quality import FIGURES
from cocoscli.report import readable, render_page, write_whole

Load = Callable[[int], Pair]
PAGE = "evaluation.html"
PICTURES = f"{PRIVATE}/evaluation"
ENDS = 6
"""Pairs that are shown of each end of a figure."""
LISTED = 10_000
"""Pairs whose figures the page lists."""


def write_page(folder: Path, report: Report, pairs: Mapping[str, int], load: Load) -> Path:
    """Write the page, and the pictures that it shows, into a folder. Raises CocosError.

    `pairs` are their numbers by key, which `load` reads.
    """
    names = [name for name in FIGURES if name in report["rows"]["results"]]
    items = report["items"]
    ends = {name: _ends(items, name) for name in names}
    shown = sorted({i for both in ends.values() for part in both for i in part})
    heads, lines = table(report)
    data = {
        "heads": heads,
        "rows": lines,
        "figures": [
            {"name": name, "title": FIGURES[name].title, "better": FIGURES[name].better,
             "words": FIGURES[name].words, "ends": ends[name], **report["rows"]["results"][name]}
            for name in names
        ],
        "items": [[readable(item["key"]), readable(item["exemplar"] or "-"),
                   *(item[name] for name in names)] for item in items[:LISTED]],
        "classes": _classes(report, names),
        "notes": list(map(readable, report["notes"])),
    }  # fmt: skip
    try:
        (folder / TEMPORARY).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / PICTURES, ignore_errors=True)  # of an earlier page
        data["pictures"] = {
            i: _pictures(folder, items[i]["key"], partial(load, pairs[items[i]["key"]]))
            for i in shown
        }
        page = render_page("evaluate.html", "cocos evaluate", facts(report), data, report["output"])
        write_whole(folder / PAGE, page)
    except OSError as error:
        raise storage_error(folder, error) from None
    return folder / PAGE


def _ends(items: list[dict[str, Any]], name: str) -> tuple[list[int], list[int]]:
    """The worst pairs of a figure, worst first, and the best, best first; of those listed."""
    known = [i for i, item in enumerate(items[:LISTED]) if item[name] is not None]
    sign = 1 if FIGURES[name].better == "higher" else -1
    order = sorted(known, key=lambda i: (sign * items[i][name], i))
    few = min(ENDS, len(order) // 2 or len(order))
    return order[:few], order[::-1][:few]


def _classes(report: Report, names: list[str]) -> dict[str, Any]:
    """The figures of each class as text: heads and rows."""
    known = [n for n in names if any(n in entry for entry in report["classes"])]
    rows = [
        [str(e["id"]), readable(e["name"]), str(e["images"]),
         *(number(e[n], n) if n in e else "" for n in known)]
        for e in report["classes"]
    ]  # fmt: skip
    return {"heads": ["id", "class", "images", *(FIGURES[n].title for n in known)], "rows": rows}


def _pictures(folder: Path, key: str, load: Callable[[], Pair]) -> list[list[str]]:
    """(address, what it shows) of what there is of a pair, written as previews."""
    mark = mark_of(key)
    written = []
    try:
        pair = load()
    except BadInput:
        return []
    for what, pixels in _views(pair):
        name = f"{PICTURES}/{mark}-{what.split()[0]}.jpg"
        write_inside(folder, name, thumbnail(pixels))
        written.append([name, what])
    return written


def _views(pair: Pair) -> Iterator[tuple[str, np.ndarray]]:
    if pair.labels is not None:
        yield "input", preview(pair.labels[None], "labels")
    if pair.exemplar is not None:
        yield "exemplar", pair.exemplar
    yield "result", pair.result
    if pair.photo is not None:
        yield "photo of the input", pair.photo
    if pair.truth is not None:
        yield "truth", pair.truth
