"""Colour tables: which colour stands for which class in a colour-coded mask."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from cocoscli.data.wording import one_line, shown
from cocoscli.errors import BadInput

MAX_TABLE_BYTES = 1_000_000
MAX_ID = 65_535  # ids are uint16

Color = tuple[int, int, int]
ColorTable = Mapping[int, Sequence[int]] | np.ndarray
"""From class id to (r, g, b), 0..255: a mapping, or an (N, 3) array whose row number is the id."""


def read_color_table(path: Path) -> dict[int, Color]:
    """Read a table from class id to colour.

    JSON `[[r, g, b], ...]` (the place is the id), `{"id": [r, g, b]}` or `{"id": "#rrggbb"}`;
    or CSV rows `id,r,g,b` with an optional header. Raises BadInput.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TABLE_BYTES + 1)
        if len(data) > MAX_TABLE_BYTES:
            raise ValueError(f"larger than {MAX_TABLE_BYTES:,} bytes")
        return _checked(_rows(data.decode("utf-8-sig").strip()))
    except (ValueError, OSError, RecursionError, csv.Error) as error:
        raise BadInput(
            f"{shown(path)}: not a colour table ({one_line(error)}); expected JSON "
            '[[r,g,b], ...] or {"id": [r,g,b]} or {"id": "#rrggbb"}, or CSV rows id,r,g,b.',
            "Correct the table given with --colors.",
        ) from error


def ids_of_colors(pixels: np.ndarray, colors: ColorTable, source: str) -> np.ndarray:
    """The (H, W) uint16 ids of an (H, W, 3) uint8 mask; BadInput names colours without an id."""
    items = colors.items() if isinstance(colors, Mapping) else enumerate(colors.tolist())
    try:
        table = _checked((key, list(color)) for key, color in items)
    except ValueError as error:
        raise BadInput(f"the colour table is not valid: {one_line(error)}.") from error
    keys = np.array(list(table), np.uint16)
    codes = _codes(np.array(list(table.values()), np.uint8))
    order = np.argsort(codes)
    wanted = _codes(pixels)
    place = order[np.searchsorted(codes, wanted, sorter=order).clip(max=len(codes) - 1)]
    unknown = codes[place] != wanted
    if unknown.any():
        raise BadInput(
            f"{source}: {describe_colors(pixels[unknown])} not in the colour table of "
            f"{len(table)} classes.",
            "Add them to the table given with --colors, or correct the mask.",
        )
    return keys[place]


def describe_colors(pixels: np.ndarray) -> str:
    """The commonest colours of (..., 3) uint8 pixels in words, with their counts."""
    codes, counts = np.unique(_codes(pixels), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    names = [
        f"({code >> 16}, {code >> 8 & 255}, {code & 255}) in {count:,} pixels"
        for code, count in zip(codes[order[:5]].tolist(), counts[order[:5]].tolist(), strict=True)
    ]
    rest = len(codes) - len(names)
    plural = "colour" if len(codes) == 1 else "colours"
    return f"{len(codes)} {plural}: {', '.join(names)}{f' and {rest} more' if rest else ''}"


def _codes(pixels: np.ndarray) -> np.ndarray:
    """One number a colour: (..., 3) uint8 to (...) uint32."""
    wide = pixels.astype(np.uint32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _rows(text: str) -> Iterable[tuple[object, object]]:
    """The (id, colour) pairs as written, not checked yet."""
    if not text.startswith(("[", "{")):
        rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
        if rows and rows[0][0].strip().lower() == "id":
            rows = rows[1:]
        return [(row[0], row[1:]) for row in rows]
    loaded = json.loads(text, object_pairs_hook=list)
    if text.startswith("["):
        return enumerate(loaded)
    return loaded


def _checked(rows: Iterable[tuple[object, object]]) -> dict[int, Color]:
    """The table with every id and colour validated; raises ValueError."""
    table: dict[int, Color] = {}
    owner: dict[Color, int] = {}
    for key, value in rows:
        number, color = _number(key, MAX_ID, "class id"), _color(value)
        if number in table:
            raise ValueError(f"class id {number} appears twice")
        if color in owner:
            raise ValueError(f"ids {owner[color]} and {number} have the same colour {color}")
        table[number] = color
        owner[color] = number
    if not table:
        raise ValueError("it has no rows")
    return table


def _color(value: object) -> Color:
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value):
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError(f"colour {str(value)[:40]!r} is not three numbers")
    r, g, b = (_number(part, 255, "colour value") for part in value)
    return r, g, b


def _number(value: object, most: int, what: str) -> int:
    """A whole number 0..most, also written in decimal digits."""
    if isinstance(value, np.integer) or (
        isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value)
    ):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
        return value
    raise ValueError(f"{what} {str(value)[:40]!r} is not a whole number 0..{most}")
