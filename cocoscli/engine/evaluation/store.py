"""Features of images that were evaluated before, by what they are of: an SQLite file, any runs'."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from cocoscli.data.storage import user_cache

VERSION = b"1"
"""Of what is stored; another one finds nothing of before."""
LIMIT = 200_000
"""Arrays that are kept, the latest ones: some 10 GB at most."""
AT_ONCE = 500
"""Arrays that are written together."""


def default_path() -> Path:
    """`cocos/features.sqlite` in the user's cache folder."""
    return user_cache("features.sqlite")


class FeatureStore:
    """Arrays of float32 by marks. A file that cannot be used is done without."""

    def __init__(self, path: Path) -> None:
        self._file: sqlite3.Connection | None = None
        self._fresh: dict[bytes, np.ndarray] = {}
        with suppress(OSError, sqlite3.Error):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = sqlite3.connect(path, timeout=5)
            file.execute("CREATE TABLE IF NOT EXISTS features (mark BLOB UNIQUE, data BLOB)")
            self._file = file

    def recall(
        self, marks: Sequence[bytes], compute: Callable[[list[int]], Sequence[np.ndarray]]
    ) -> list[np.ndarray]:
        """The arrays, flat, of some marks; `compute` is given the numbers of those not stored."""
        found = [self._get(mark) for mark in marks]
        missing = [n for n, array in enumerate(found) if array is None]
        if missing:
            for n, array in zip(missing, compute(missing), strict=True):
                found[n] = self._fresh[marks[n]] = np.ascontiguousarray(array, np.float32).ravel()
            if len(self._fresh) >= AT_ONCE:
                self.save()
        return [array for array in found if array is not None]

    def _get(self, mark: bytes) -> np.ndarray | None:
        if mark in self._fresh:
            return self._fresh[mark]
        if self._file is None:
            return None
        with suppress(sqlite3.Error):
            row = self._file.execute("SELECT data FROM features WHERE mark = ?", (mark,)).fetchone()
            return None if row is None else np.frombuffer(row[0], np.float32).copy()
        return None

    def save(self) -> None:
        """Write what is new, and forget the oldest past the limit."""
        fresh, self._fresh = self._fresh, {}
        if self._file is None:
            return
        rows = ((mark, array.tobytes()) for mark, array in fresh.items())
        with suppress(sqlite3.Error), self._file:
            self._file.executemany("INSERT OR IGNORE INTO features VALUES (?, ?)", rows)
            self._file.execute(
                "DELETE FROM features WHERE rowid <= (SELECT MAX(rowid) FROM features) - ?",
                (LIMIT,),
            )


def mark_of(network: str, *parts: np.ndarray | str) -> bytes:
    """What an array is stored by: of whose features, and the pixels that they are of."""
    hashed = hashlib.blake2b(VERSION, digest_size=16)
    for part in (network, *parts):
        if isinstance(part, np.ndarray):
            hashed.update(f"{part.dtype}{part.shape}".encode())
            hashed.update(part.tobytes())
        else:
            hashed.update(part.encode() + b"\0")
    return hashed.digest()
