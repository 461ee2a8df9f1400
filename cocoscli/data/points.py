"""Files of points that are carried from one image to another: CSV and JSON, read and written.

CSV    rows `key,name,x,y`, or `x,y` alone: points of every image; a first row of these words is
       passed over
JSON   {key: [[x, y], ...]}, or [[x, y], ...]: points of every image; and what `keypoints` reads

x and y are in pixels of the image's file, whose centres lie at integers; a key is the image's path
below its folder, with or without its suffix.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from cocoscli.data.images import Size
from cocoscli.data.keypoints import parse_points, plain, read_keypoints
from cocoscli.data.skeleton import MAX_COORDINATE
from cocoscli.data.textfiles import read_json, read_text
from cocoscli.data.wording import one_line, shown
from cocoscli.errors import BadInput

EXPECTED = "CSV rows key,name,x,y or x,y, or JSON {key: [[x, y], ...]} or [[x, y], ...]"
MOST_BYTES = 2**20
"""Of a shard's points."""
COLUMNS = {4: ["key", "name", "x", "y"], 2: ["x", "y"]}


@dataclass(frozen=True)
class Points:
    """The points of an image: names, and (P,2) float64 xy."""

    names: tuple[str, ...]
    xy: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


NONE = Points((), np.empty((0, 2)))


@dataclass(frozen=True)
class PointFile:
    """The points that a file has, of each image or of all."""

    path: Path
    by_key: Mapping[str, Points | str]
    """By key without suffix; in the place of faulty points, what is wrong."""
    common: Points | None = None

    def has(self, key: str) -> bool:
        """Whether the file has points of an image, good or faulty."""
        return self.common is not None or plain(key) in self.by_key

    def of(self, key: str, size: Size) -> Points:
        """The points of an image whose file is of (width, height); none where it is not named.

        Raises BadInput for faulty points, and for one outside of the image.
        """
        points = self.common if self.common is not None else self.by_key.get(plain(key), NONE)
        if isinstance(points, str):
            raise BadInput(f"{shown(self.path)}: {key!r} {points}.", "Correct the points.")
        outside = ((points.xy < -0.5) | (points.xy > np.subtract(size, 0.5))).any(axis=1)
        for n in np.flatnonzero(outside)[:1]:
            x, y = points.xy[n]
            raise BadInput(
                f"{shown(self.path)}: point {points.names[n]!r} ({x:g}, {y:g}) lies outside of "
                f"{shown(key)}, which is {size[0]}x{size[1]}.",
                "Points are in pixels of the image's own file.",
            )
        return points


@dataclass(frozen=True)
class Carried:
    """A point and its match, each in pixels of its own file."""

    key: str
    exemplar: str
    name: str
    x: float
    y: float
    matched_x: float
    matched_y: float
    confidence: float
    cycle_error: float


def read_points(path: Path) -> PointFile:
    """Read a file of points by its suffix, .json or else CSV. Raises BadInput."""
    if path.suffix.lower() != ".json":
        return _from_csv(path)
    loaded = read_json(path, EXPECTED)
    if isinstance(loaded, list) and not any(isinstance(row, dict) for row in loaded):
        try:
            return PointFile(path, {}, _numbered(parse_points(loaded)))
        except (ValueError, TypeError, OverflowError) as error:
            raise _malformed(f"{shown(path)}: {one_line(error)}") from None
    entries = read_keypoints(path)
    return PointFile(
        path, {k: v if isinstance(v, str) else _numbered(v) for k, v in entries.items()}
    )


def _numbered(xy: np.ndarray) -> Points:
    """Points named by their number, those that are missing (NaN) left out."""
    known = np.flatnonzero(np.isfinite(xy).all(axis=1))
    return Points(tuple(map(str, known)), xy[known].astype(np.float64))


def _malformed(message: str) -> BadInput:
    return BadInput(f"{message}; expected {EXPECTED}.", "Correct the file of points.")


def _from_csv(path: Path) -> PointFile:
    found: dict[str, list[tuple[str, float, float]]] = {}
    width = None
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        for row in reader:
            where = f"{shown(path)}, line {reader.line_num}"
            cells = [cell.strip() for cell in row]
            if not any(cells) or (width is None and cells == COLUMNS.get(len(cells))):
                continue
            if len(cells) not in COLUMNS or width not in (None, len(cells)):
                raise _malformed(f"{where}: {len(cells)} columns")
            width = len(cells)
            key, name = cells[:2] if width == 4 else ("", "")
            points = found.setdefault(plain(key), [])
            points.append((name or str(len(points)), *_coordinates(cells, where)))
    except csv.Error as error:
        raise _malformed(f"{shown(path)}: {one_line(error)}") from None
    if not found:
        raise _malformed(f"{shown(path)}: no points in it")
    made = {key: _named(points) for key, points in found.items()}
    return PointFile(path, {}, made[plain("")]) if width == 2 else PointFile(path, made)


def _coordinates(cells: list[str], where: str) -> tuple[float, float]:
    try:
        x, y = float(cells[-2]), float(cells[-1])
    except ValueError:
        raise _malformed(f"{where}: {cells[-2]!r}, {cells[-1]!r} are no numbers") from None
    if not (abs(x) <= MAX_COORDINATE and abs(y) <= MAX_COORDINATE):  # nor NaN
        raise _malformed(f"{where}: {cells[-2]}, {cells[-1]} is no place in an image")
    return x, y


def _named(points: list[tuple[str, float, float]]) -> Points:
    names = tuple(name for name, _, _ in points)
    return Points(names, np.array([(x, y) for _, x, y in points], np.float64))


def scaled(xy: np.ndarray, size: Size, to: Size) -> np.ndarray:
    """Points (..., 2) of an image of (width, height), where it is resized to another size."""
    return (xy + 0.5) * np.divide(to, size) - 0.5


def encode_known(points: Points, size: Size) -> bytes:
    """Points of an image of (width, height), as a shard's `points.json`."""
    xy = points.xy.round(3).tolist()
    text = json.dumps({"size": list(size), "points": dict(zip(points.names, xy, strict=True))})
    return text.encode()


def decode_known(data: bytes, size: Size, source: str) -> Points:
    """What `encode_known` wrote, where the image is resized to `size`. Raises BadInput, which
    names `source`."""
    try:
        if len(data) > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES:,} bytes")
        stored = json.loads(data)
        width, height = (int(side) for side in stored["size"])
        names = tuple(map(str, stored["points"]))
        xy = np.array(list(stored["points"].values()), np.float64).reshape(len(names), 2)
        if min(width, height) < 1 or not (np.abs(xy) <= MAX_COORDINATE).all():
            raise ValueError("no places in an image")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"{source}: no points of an image ({one_line(error)}).",
            "Write the shards again with cocos prepare.",
        ) from None
    return Points(names, scaled(xy, (width, height), size))


def encode_points(rows: Iterable[Carried], format: str) -> bytes:
    """Points and their matches as `csv` or `json`, to a thousandth of a pixel."""
    table = [
        {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(row).items()}
        for row in rows
    ]
    if format == "json":
        return (json.dumps(table, ensure_ascii=True, indent=1) + "\n").encode()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Carried)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue().encode("utf-8", "surrogateescape")
