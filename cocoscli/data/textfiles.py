"""Small files that describe a dataset: JSON and lists, read once a process."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import TypeVar

from cocoscli.data.wording import one_line, shown
from cocoscli.errors import BadInput

MAX_BYTES = 300_000_000
"""The largest file that is read; COCO's largest keypoint file has 250 MB. It is held as JSON
once, in some ten times its size, and kept as arrays."""

T = TypeVar("T")


def once(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """Keep what `read` gave for the last few files, until they change."""

    @lru_cache(maxsize=8)
    def kept(path: Path, modified: int, size: int) -> T:
        return read(path)

    @wraps(read)
    def reader(path: Path) -> T:
        try:
            status = path.stat()
        except OSError:
            return read(path)  # says what is wrong
        return kept(path, status.st_mtime_ns, status.st_size)

    return reader


def read_text(path: Path, most: int = MAX_BYTES) -> str:
    """A UTF-8 text file of at most so many bytes. Raises BadInput."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise ValueError(f"larger than {most:,} bytes")
        return data.decode("utf-8-sig")
    except (ValueError, OSError) as error:
        raise BadInput(
            f"{shown(path)}: cannot be read ({one_line(error)}); expected a text file.",
            "Correct or remove it.",
        ) from error


def is_number(text: str) -> bool:
    """Whether a word of a file is a plain number, of at most nine digits: an id, an index."""
    return text.isascii() and text.isdigit() and len(text) < 10


def read_json(path: Path, expected: str) -> object:
    """What a JSON file holds; BadInput says what was `expected`."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{shown(path)}: not JSON ({one_line(error)}); expected {expected}.",
            "Correct or remove it.",
        ) from error


@once
def read_lines(path: Path) -> tuple[str, ...]:
    """The lines of a list that are not empty, stripped."""
    return tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
