"""The page that shows a run: rows of pictures side by side, or inputs against exemplars.

    index.html               one page, its styles and script inside, opened from disk
    _cocos/rows/0000.js ...  its rows, CHUNK to a file, loaded as the reader comes to them

Rows are written as they come and never held, so a run may have any number of them. A page opened
from disk may load scripts but not read files, hence each chunk is a call: `cocosRows(0, [...])`.
Names are untrusted: they reach the page as escaped text, JSON or quoted addresses and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

INDEX = "index.html"
ROWS = "_cocos/rows"
CHUNK = 200

_TEMPORARY = ".cocos-"


@dataclass(frozen=True)
class Picture:
    """An image file of the page.

    `src` is its path as the file system has it, relative to the output folder; `alt` says what it
    shows; `caption` stands below it.
    """

    src: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Row:
    """One item: a picture (or None where there is none) a column, and a remark.

    Where the item failed, `note` is the error.
    """

    title: str
    pictures: tuple[Picture | None, ...]
    note: str = ""
    failed: bool = False
    link: tuple[str, str] | None = None
    """A page about the item alone: a file of the output folder with its `#place`, and words."""


def write_gallery(
    folder: Path,
    title: str,
    columns: Sequence[str],
    rows: Iterable[Row],
    facts: Mapping[str, str],
    total: int | None = None,
) -> Path:
    """Write the page of `rows`, one picture a column; -> its path.

    `facts` (name -> value) stand under the title; they are read after the last row, so a mapping
    filled while `rows` is consumed is fine. `total` is the number of items of the run where the
    rows are only the first of them.
    """
    heads = [{"name": readable(name)} for name in columns]
    return _write(folder, title, "gallery", heads, rows, facts, total)


def write_matrix(
    folder: Path,
    title: str,
    exemplars: Sequence[Picture],
    rows: Iterable[tuple[Picture, Sequence[Picture | None]]],
    facts: Mapping[str, str],
    total: int | None = None,
) -> Path:
    """Write the page of `rows` (an input, its result for each exemplar); -> its path.

    Exemplars stand across, inputs down. A missing result is None. `facts` and `total` are as in
    `write_gallery`.
    """
    heads = [{"name": readable(each.alt), "src": address(each.src)} for each in exemplars]
    items = (Row(source.alt, (source, *results)) for source, results in rows)
    return _write(folder, title, "matrix", heads, items, facts, total)


def render_page(
    template: str,
    title: str,
    facts: Mapping[str, str],
    data: Mapping[str, Any],
    lead: str = "",
    **written: Any,
) -> str:
    """A page that extends `base.html`; its script finds `data` as JSON in `#page-data`.

    `written` are further values of the template, which shows names as `readable`, and files by
    their `address`.
    """
    shown = {readable(name): readable(value) for name, value in facts.items()}
    page = _templates().get_template(template)
    return page.render(
        title=readable(title), lead=readable(lead), facts=shown, data=Markup(_json(data)), **written
    )


def write_whole(path: Path, text: str) -> None:
    """Write a file that appears only whole. (Not synced to disk: a page can be made again.)"""
    temporary = path.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _write(
    folder: Path,
    title: str,
    layout: str,
    heads: Sequence[Mapping[str, str]],
    rows: Iterable[Row],
    facts: Mapping[str, str],
    total: int | None,
) -> Path:
    """Write the chunks, then the page, then remove what an earlier, longer run left."""
    (folder / ROWS).mkdir(parents=True, exist_ok=True)
    width = len(heads) + (layout == "matrix")
    count, chunks = 0, 0
    failed: dict[int, int] = {}  # chunk -> failed rows, where there are any
    for chunk in _chunks(rows):
        lines = ",\n".join(_json(_entry(row, width)) for row in chunk)
        write_whole(folder / ROWS / _chunk_name(chunks), f"cocosRows({chunks}, [\n{lines}\n]);\n")
        if failures := sum(row.failed for row in chunk):
            failed[chunks] = failures
        count, chunks = count + len(chunk), chunks + 1
    data = {"layout": layout, "heads": heads, "rows": count, "chunk": CHUNK, "failed": failed}
    lead = f"The first {count:,} of {total:,} items." if total is not None and total > count else ""
    write_whole(folder / INDEX, render_page("gallery.html", title, facts, data, lead))
    _remove_stale(folder / ROWS, chunks)
    return folder / INDEX


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk


def _chunk_name(number: int) -> str:
    return f"{number:04d}.js"


def _remove_stale(folder: Path, chunks: int) -> None:
    for path in list(folder.iterdir()):
        later = re.fullmatch(r"[0-9]{4,}\.js", path.name) and int(path.stem) >= chunks
        if later or path.name.startswith(_TEMPORARY):  # the latter from a run that was killed
            path.unlink()


def _entry(row: Row, width: int) -> list[Any]:
    """A row as the script reads it: title, pictures (address, alt, caption), note, failed, and
    where there is one its link."""
    if len(row.pictures) != width:
        raise ValueError(f"{row.title!r}: {len(row.pictures)} pictures for {width} columns")
    pictures = [each and _words(each) for each in row.pictures]
    link = [row.link] if row.link else []
    return [readable(row.title), pictures, readable(row.note, breaks=True), int(row.failed), *link]


def _words(picture: Picture) -> list[str]:
    caption = [readable(picture.caption)] if picture.caption else []
    return [address(picture.src), readable(picture.alt), *caption]


def address(src: str) -> str:
    """A path as an address that can only mean that file."""
    if os.path.isabs(src):
        return Path(src).as_uri()
    return quote(os.fsencode(src.replace(os.sep, "/")), safe="/")


_VISIBLE = {code: 0x2400 + code for code in range(32)} | {127: 0x2421}
_LONE = re.compile("[\ud800-\udfff]")


def readable(text: str, breaks: bool = False) -> str:
    """Text that any page can show: control characters visible, undecodable bytes as U+FFFD.

    With `breaks`, line breaks stay.
    """
    if not text.isprintable():
        lines = [line.translate(_VISIBLE) for line in text.split("\n")]
        text = _LONE.sub("\N{REPLACEMENT CHARACTER}", ("\n" if breaks else "␊").join(lines))
    return text


def _json(value: object) -> str:
    """ASCII JSON without `<`: fit for a script file and for a script element."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _asset(name: str) -> str:
    folder = resources.files("cocoscli") / "templates"
    return (folder / name).read_text(encoding="utf-8")


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"readable": readable, "address": address}
    environment.globals["asset"] = lambda name: Markup(_asset(name))  # styles, scripts: ours
    return environment
