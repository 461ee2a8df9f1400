"""`manifest.jsonl`: a row a work item; the latest row of a key counts.

Parts have manifests of their own (`manifest-003-of-016.jsonl`) and merge them into it. All of a
folder's manifests are always read together, so that nothing depends on whether they are merged.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from cocoscli.data.storage import looker, open_local
from cocoscli.engine.journal import rewrite, segments

MANIFEST = "manifest.jsonl"
DONE, FAILED = "done", "failed"


def digest(key: str) -> int:
    """64 bits of a key; the manifest is indexed by them to stay small."""
    data = key.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def manifests(folder: Path) -> list[Path]:
    """The manifests that a folder has: the whole run's and then the parts', and last what of them
    lies in segments."""
    whole = folder / MANIFEST
    parts = sorted(folder.glob("manifest-*-of-*.jsonl"))
    there = [whole, *parts] if whole.exists() else parts
    return [*there, *segments(folder, "manifest*.jsonl")]


class Rows:
    """The rows of manifests as they are now, to be read any number of times.

    What is added or put in their place later is not seen. A line that is no row is passed over.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        with ExitStack() as stack:
            files = [stack.enter_context(open_local(path)) for path in paths]
            self._files = [(file, os.fstat(file.fileno()).st_size) for file in files]
            self._stack = stack.pop_all()

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for file, end in self._files:
            yield from _rows(file, end)

    def latest(self) -> tuple[np.ndarray, np.ndarray]:
        """Digests of the keys, and which rows are the latest of theirs: by time, then by place."""
        marks = np.fromiter((digest(row["key"]) for row in self), dtype=np.uint64)
        times = np.fromiter((_time(row) for row in self), dtype=np.float64)
        order = np.lexsort((times, marks))
        last = np.append(np.diff(marks[order]) != 0, True)[: len(marks)]
        latest = np.zeros(len(marks), dtype=bool)
        latest[order[last]] = True
        return marks, latest


def _rows(file: IO[bytes], end: int) -> Iterator[dict[str, Any]]:
    file.seek(0)
    for line in file:
        end -= len(line)
        if end < 0:
            return
        try:
            row = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            continue
        if _is_row(row):
            yield row


def read_manifest(folder: Path) -> Iterator[dict[str, Any]]:
    """All rows of a folder in the order of writing."""
    with Rows(manifests(folder)) as rows:
        yield from rows


def _time(row: Mapping[str, Any]) -> float:
    """When a row was made, in seconds of the clock where it was; older ones do not say."""
    time = row.get("time")
    return time if isinstance(time, (int, float)) else 0.0


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


def latest_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """One row a key, the one that counts, in the order of writing."""
    with Rows(manifests(folder)) as rows:
        _, latest = rows.latest()
        yield from (row for row, keep in zip(rows, latest, strict=True) if keep)


class Finished:
    """The keys that need no more work, 8 bytes each.

    A key whose latest row says `done` but of whose files one is gone needs it again.
    """

    def __init__(self, folder: Path, statuses: tuple[str, ...]) -> None:
        there = looker(folder)

        def ended(row: dict[str, Any]) -> bool:
            if row.get("status") == DONE and not all(map(there, result_files(row))):
                return False
            return row.get("status") in statuses

        with Rows(manifests(folder)) as rows:
            marks, latest = rows.latest()
            keep = (bool(counts) and ended(row) for row, counts in zip(rows, latest, strict=True))
            self._marks = np.sort(marks[np.fromiter(keep, dtype=bool)])

    def __contains__(self, key: str) -> bool:
        mark = np.uint64(digest(key))
        at = int(np.searchsorted(self._marks, mark))
        return at < len(self._marks) and bool(self._marks[at] == mark)

    def __len__(self) -> int:
        return len(self._marks)


def merge(folder: Path) -> None:
    """Leave one row a key in the manifest, the latest of all manifests. Nobody else writes now."""
    paths = manifests(folder)
    with Rows(paths) as rows:
        _, latest = rows.latest()
        if paths == [folder / MANIFEST] and latest.all():
            return
        kept = (row for row, keep in zip(rows, latest, strict=True) if keep)
        rewrite(folder, MANIFEST, kept)
    for path in paths:
        if path.parent != folder:  # a segment, whose rows are in the manifest now
            path.unlink(missing_ok=True)
