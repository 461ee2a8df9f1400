"""`manifest.jsonl`: a row a work item; the latest row of a key counts."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cocoscli.engine.files import TEMPORARY, whole_file

MANIFEST = "manifest.jsonl"
DONE, FAILED = "done", "failed"


def digest(key: str) -> int:
    """64 bits of a key; the manifest is indexed by them to stay small."""
    data = key.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def repair(path: Path) -> None:
    """Cut off a last line that a crash left without its end."""
    if not path.exists():
        return
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


def read_manifest(folder: Path) -> Iterator[dict[str, Any]]:
    """The manifest's rows in the order of writing; a line that is no row is passed over."""
    try:
        file = open(folder / MANIFEST, encoding="utf-8", errors="replace")  # noqa: SIM115
    except FileNotFoundError:
        return
    with file:
        for line in file:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if _is_row(row):
                yield row


def result_file(row: Mapping[str, Any]) -> Any:
    """The file of an output folder that holds a row's result: its shard, or a file of its own."""
    return row.get("shard") or row.get("output") or ""


def result_files(row: Mapping[str, Any]) -> list[Any]:
    """All files of an output folder that hold a row's results: that one, and `also` others."""
    also = row.get("also")
    return [result_file(row), *(also if isinstance(also, list) else [])]


def _is_row(row: Any) -> bool:
    """Whether a line of a manifest is one of ours: the columns that are relied on are there."""
    if not isinstance(row, dict) or not isinstance(row.get("key"), str):
        return False
    names = [row["key"], *result_files(row)]
    try:
        sizes = [len(os.fsencode(part)) for name in names for part in name.split("/")]
    except (AttributeError, UnicodeEncodeError):
        return False
    whole = row.get("status") != DONE or bool(row.get("output"))
    return whole and max(sizes) <= 255 and isinstance(row.get("input", ""), str)


def _latest(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Digests of the manifest's keys, and which rows are the latest of their key."""
    marks = np.fromiter((digest(row["key"]) for row in read_manifest(folder)), dtype=np.uint64)
    latest = np.zeros(len(marks), dtype=bool)
    _, from_end = np.unique(marks[::-1], return_index=True)
    latest[len(marks) - 1 - from_end] = True
    return marks, latest


def latest_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """One row a key, the one that counts, in the order of writing."""
    _, latest = _latest(folder)
    return (row for row, keep in zip(read_manifest(folder), latest, strict=False) if keep)


class Finished:
    """The keys that need no more work, 8 bytes each.

    A key whose latest row says `done` but of whose files one is gone needs it again.
    """

    def __init__(self, folder: Path, statuses: tuple[str, ...]) -> None:
        def ended(row: dict[str, Any]) -> bool:
            if row.get("status") == DONE and not all(
                (folder / name).is_file() for name in result_files(row)
            ):
                return False
            return row.get("status") in statuses

        marks, latest = _latest(folder)
        keep = np.fromiter((ended(row) for row in read_manifest(folder)), dtype=bool)
        self._marks = np.sort(marks[latest & keep])

    def __contains__(self, key: str) -> bool:
        mark = np.uint64(digest(key))
        at = int(np.searchsorted(self._marks, mark))
        return at < len(self._marks) and bool(self._marks[at] == mark)

    def __len__(self) -> int:
        return len(self._marks)


def compact(folder: Path) -> None:
    """Leave one row a key in the manifest, the latest."""
    _, latest = _latest(folder)
    if latest.all():
        return
    rewrite(folder, latest_rows(folder))


def rewrite(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Put a manifest of these rows in the place of the one there is."""
    with whole_file(folder / MANIFEST, folder / TEMPORARY) as file:
        for row in rows:
            file.write((json.dumps(row, ensure_ascii=True) + "\n").encode())
