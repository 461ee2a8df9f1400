"""Rows that are added one by one, and are there after a crash: a JSON document a line.

On a file system a journal is a file that grows. An object of a store cannot: there its rows are put
as segments, `_cocos/journal/manifest.000000.jsonl`, the last of which is put anew, longer, every
`EVERY` seconds until it has `ROWS` rows. Whoever reads a journal reads its segments too.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from cocoscli.data.storage import Remote
from cocoscli.engine.files import PRIVATE, TEMPORARY, whole_file

SEGMENTS = f"{PRIVATE}/journal"
EVERY = 5.0
"""Seconds; what a process that is killed did in the last of them is done again."""
ROWS = 10_000
"""Of a segment at most, some megabytes."""

Row = Mapping[str, Any]


class Journal(Protocol):
    """A journal that is being written."""

    def append(self, row: Row) -> None: ...

    def flush(self, *, sync: bool = False) -> None:
        """Hand the rows over; with `sync`, wait until the storage has them. OSError."""
        ...

    def close(self) -> None:
        """The same, for good."""
        ...


def open_journal(folder: Path, name: str) -> Journal:
    """Add to a journal of an output folder."""
    return Segments(folder, name) if isinstance(folder, Remote) else Growing(folder / name)


def journal_files(folder: Path, name: str) -> list[Path]:
    """The files that a journal has, the oldest first."""
    whole = folder / name
    return [*([whole] if whole.exists() else []), *segments(folder, f"{whole.stem}.*.jsonl")]


def segments(folder: Path, pattern: str) -> list[Path]:
    """Segments of an output folder's journals; there are none on a file system."""
    return sorted((folder / SEGMENTS).glob(pattern))


def rewrite(folder: Path, name: str, rows: Iterable[Row]) -> None:
    """Put a journal of these rows in the place of the one there is."""
    before = segments(folder, f"{Path(name).stem}.*.jsonl")
    with whole_file(folder / name, folder / TEMPORARY) as file:
        for row in rows:
            file.write(line(row))
    for path in before:
        path.unlink(missing_ok=True)


def line(row: Row) -> bytes:
    return (json.dumps(row, ensure_ascii=True) + "\n").encode()


class Growing:
    """A file; a last line that a crash left without its end is cut off."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            _repair(path)
        self._file: IO[bytes] = open(path, "ab")  # noqa: SIM115 (closed in close)

    def append(self, row: Row) -> None:
        self._file.write(line(row))

    def flush(self, *, sync: bool = False) -> None:
        self._file.flush()
        if sync:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _repair(path: Path) -> None:
    with open(path, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 4096)
            file.seek(start)
            cut = file.read(end - start).rfind(b"\n")
            if cut >= 0:
                file.truncate(start + cut + 1)
                return
            end = start
        file.truncate(0)


class Segments:
    """Objects."""

    def __init__(self, folder: Remote, name: str) -> None:
        self._stem, self._folder = Path(name).stem, folder / SEGMENTS
        there = segments(folder, f"{self._stem}.*.jsonl")
        self._number = 1 + int(there[-1].name.split(".")[-2]) if there else 0
        self._lines: list[bytes] = []
        self._put, self._time = 0, time.monotonic()

    def append(self, row: Row) -> None:
        self._lines.append(line(row))

    def flush(self, *, sync: bool = False) -> None:
        full = len(self._lines) >= ROWS
        if sync or full or time.monotonic() - self._time >= EVERY:
            self._write()
        if full:
            self._number, self._lines, self._put = self._number + 1, [], 0

    def _write(self) -> None:
        if len(self._lines) > self._put:
            name = f"{self._stem}.{self._number:06d}.jsonl"
            (self._folder / name).write_bytes(b"".join(self._lines))
            self._put = len(self._lines)
        self._time = time.monotonic()

    def close(self) -> None:
        self._write()
