"""The page of a run over pairs: a row an item, or inputs against exemplars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cocoscli.data.encoding import SHARDS
from cocoscli.data.pairs import All
from cocoscli.data.storage import looker
from cocoscli.engine.files import PRIVATE
from cocoscli.engine.items import PairReader
from cocoscli.engine.manifest import DONE, digest, latest_rows
from cocoscli.report import Picture, Row, write_gallery, write_matrix


def mark_of(key: str) -> str:
    """What an item is called in pages' addresses and in the names of their pictures."""
    return f"{digest(key):016x}"


def thumb_name(key: str, what: str) -> str:
    """Where a picture of an item (or exemplar) for the page lies in the output folder."""
    mark = mark_of(key)
    return f"{PRIVATE}/thumbs/{mark[:2]}/{mark}-{what}.jpg"


@dataclass(frozen=True)
class Column:
    """A column of small pictures, kept for each item or for each exemplar."""

    head: str
    picture: str
    """What `thumb_name` calls it."""
    names: str = "key"
    """The field of a manifest row that says what is shown."""
    of: str = "key"
    """The field that the picture is kept by."""


PAIR = (
    Column("input", "input", names="input"),
    Column("exemplar", "exemplar", names="exemplar", of="exemplar"),
    Column("warped exemplar", "warp"),
)
EDIT = (
    Column("photo", "photo", names="exemplar"),
    Column("mask", "mask"),
    Column("edited mask", "edited"),
)
MAKEUP = (
    Column("before", "before"),
    Column("makeup", "layer"),
)


def write_page(
    folder: Path, reader: PairReader, format: str, count: int, facts: Mapping[str, str]
) -> Path:
    """index.html of an output folder, with the first `count` items."""
    title = "cocos translate"
    if isinstance(reader.pairing, All):
        names = reader.exemplars.names
        there = looker(folder)
        exemplars = [picture(there, thumb_name(name, "exemplar"), name) or Picture("", name)
                     for name in names]  # fmt: skip
        rows = _matrix_rows(there, reader, format, max(1, count // len(names)))
        return write_matrix(folder, title, exemplars, rows, facts, len(reader.inputs))
    return write_rows(folder, title, PAIR, count, facts, len(reader.pairing))


def write_rows(
    folder: Path,
    title: str,
    columns: Sequence[Column],
    count: int,
    facts: Mapping[str, str],
    total: int,
) -> Path:
    """index.html of an output folder: these columns and the result of the first `count` items."""
    heads = (*(column.head for column in columns), "result")
    rows = islice(gallery_rows(folder, columns), count)
    return write_gallery(folder, title, heads, rows, facts, total)


def picture(there: Callable[[str], bool], name: str, alt: str) -> Picture | None:
    """A file of an output folder as a picture; None where it is not `there`."""
    return Picture(name, alt) if there(name) else None


def gallery_rows(folder: Path, columns: Sequence[Column]) -> Iterator[Row]:
    """The items of an output folder: these columns and the result."""
    there = looker(folder)
    for row in latest_rows(folder):
        key, exemplar = str(row["key"]), str(row.get("exemplar") or "")
        if row.get("status") != DONE:
            empty = (None,) * (len(columns) + 1)
            yield Row(key, empty, note=str(row.get("error") or ""), failed=True)
            continue
        pictures = [
            picture(there, thumb_name(str(row[c.of]), c.picture), f"{c.head} {row[c.names]}")
            for c in columns
        ]
        result = thumb_name(key, "result") if row.get("shard") else str(row["output"])
        pictures.append(picture(there, result, f"result {key}"))
        yield Row(key, tuple(pictures), note=f"exemplar {exemplar}")


def _result(reader: PairReader, k: int, format: str) -> str:
    """The picture of a result: itself, or its preview where it lies in a shard."""
    if format == SHARDS:
        return thumb_name(reader.key(k), "result")
    return reader.output_name(k, format)


def _matrix_rows(
    there: Callable[[str], bool], reader: PairReader, format: str, count: int
) -> Iterator[tuple[Picture, Sequence[Picture | None]]]:
    per_input = len(reader.exemplars)
    for i in range(min(count, len(reader.inputs))):
        items = range(i * per_input, (i + 1) * per_input)
        name = reader.inputs.key(i)
        cells = [picture(there, _result(reader, k, format), f"result {reader.key(k)}")
                 for k in items]  # fmt: skip
        thumbs = (picture(there, thumb_name(reader.key(k), "input"), name) for k in items)
        yield next((t for t in thumbs if t), Picture("", name)), cells
