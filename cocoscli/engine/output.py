"""A folder of results: whole files, one manifest row an item, one run (or its parts) at a time.

a/x.jpg.png      results in the mirrored tree, full names kept; or shards of them
manifest.jsonl   a row a work item; the latest row of a key counts; parts have manifests of
                 their own, manifest-003-of-016.jsonl, and merge them into it
run.toml         the settings that decide the results
index.html       the gallery; its parts and the lock lie in _cocos/
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import filterfalse
from pathlib import Path
from typing import Any

import tomli_w

from cocoscli.data.shards import INDEX, remove_shards
from cocoscli.data.wording import shown
from cocoscli.engine.files import (
    PRIVATE,
    TEMPORARY,
    is_inside,
    safe_name,
    storage_error,
    write_inside,
)
from cocoscli.engine.journal import Journal, journal_files, open_journal, rewrite, segments
from cocoscli.engine.leases import Lease
from cocoscli.engine.locks import DOOR, LOCK, Lock, door, take_locks
from cocoscli.engine.manifest import (
    MANIFEST,
    Rows,
    manifests,
    merge,
    read_manifest,
    result_files,
)
from cocoscli.engine.part import Part, marked
from cocoscli.errors import CocosError

RUN = "run.toml"
SHARDS_DONE = f"{PRIVATE}/shards.jsonl"
"""The record of whole shards; see `shardset`."""


class OutputFolder:
    """The writer of an output folder, or of a part's share of it, held from `open` to `close`."""

    def __init__(self, path: Path, part: Part | None = None) -> None:
        self.path, self.part = path, part
        self.manifest = path / marked(MANIFEST, part)
        """Where this writer's rows go."""
        self._locks: list[Lock] = []
        self._manifest: Journal | None = None

    def open(self, settings: Mapping[str, Any], record: Mapping[str, Any], overwrite: bool) -> None:
        """Take the folder for a run with these settings.

        `settings` decide the results: a folder of other settings is refused with the difference,
        or emptied of its results with `overwrite`. `record` is written beside them; parts share
        that of the first. Raises CocosError.
        """
        self._make(overwrite)
        try:
            with door(self.path):
                self._locks, alone = take_locks(self.path, self.part)
                if alone:
                    for left in (self.path / TEMPORARY).iterdir():  # of a process that was killed
                        left.unlink(missing_ok=True)  # its workers may be ending still
                self._accept(settings, overwrite)
                if alone or not (self.path / RUN).exists():
                    document = {"settings": dict(settings), "record": dict(record)}
                    self.write(RUN, tomli_w.dumps(document).encode("utf-8", "surrogateescape"))
                self._open_manifest()
        except OSError as error:
            raise storage_error(self.path, error) from None

    def _open_manifest(self) -> None:
        self._manifest = open_journal(self.path, self.manifest.name)

    def _make(self, overwrite: bool) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._refuse_foreign(overwrite)
            (self.path / TEMPORARY).mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise CocosError(
                f"{shown(self.path)}: a file is in the output folder's place.",
                "Choose another --output.",
            ) from None
        except NotADirectoryError:
            raise CocosError(
                f"{shown(self.path)}: a part of this path is a file.", "Choose another --output."
            ) from None
        except OSError as error:
            raise storage_error(self.path, error) from None

    def _refuse_foreign(self, overwrite: bool) -> None:
        """CocosError for links in the place of our own files, and for a folder of other things."""
        locks = LOCK, DOOR, marked(LOCK, self.part)
        folders = [f"{PRIVATE}/{name}" for name in ("tmp", "rows", "thumbs")]
        for name in (PRIVATE, MANIFEST, self.manifest.name, RUN, *locks, *folders):
            if (self.path / name).is_symlink():
                raise CocosError(f"{shown(self.path / name)}: a symbolic link.", "Remove it.")
        foreign = [p for p in sorted(p.name for p in self.path.iterdir()) if p != PRIVATE]
        if foreign and not overwrite and not (self.path / RUN).exists():
            names = ", ".join(shown(Path(name)) for name in foreign[:5])
            raise CocosError(
                f"{shown(self.path)}: not empty ({names}) and not an output folder of cocos "
                f"(it has no {RUN}).",
                "Choose an empty --output, or --overwrite to write into it all the same.",
            )

    def _accept(self, settings: Mapping[str, Any], overwrite: bool) -> None:
        if overwrite:
            self._clear()
        elif (self.path / RUN).exists() and (changed := _changes(self.settings(), settings)):
            raise CocosError(
                f"{shown(self.path)}: holds a run with other settings: {'; '.join(changed)}.",
                "Choose another --output, or --overwrite to redo it with the new settings.",
            )

    def settings(self) -> dict[str, Any]:
        """The settings that the folder was made with; CocosError where they cannot be read."""
        try:
            text = (self.path / RUN).read_bytes().decode("utf-8", "surrogateescape")
            return dict(tomllib.loads(text)["settings"])
        except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise CocosError(
                f"{self.path / RUN}: not a run record of cocos ({error}).",
                "Choose another --output, or --overwrite.",
            ) from None

    def _clear(self) -> None:
        for row in read_manifest(self.path):
            for name in filter(None, result_files(row)):
                result = self.path / safe_name(name)
                if result.is_file() and is_inside(self.path, result):
                    result.unlink()
        if records := shard_records(self.path):
            remove_shards(self.path)
            (self.path / INDEX).unlink(missing_ok=True)
        for record in (*manifests(self.path), *records):
            record.unlink(missing_ok=True)

    def write(self, name: str, data: bytes) -> str:
        """Write a file that appears only whole; -> its sha256.

        `name` is relative to the folder. Raises CocosError for a target that a symbolic link leads
        out of it, OSError where the storage fails.
        """
        self._check()
        write_inside(self.path, name, data)
        return hashlib.sha256(data).hexdigest()

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a manifest row; call it when the item's files are in place."""
        assert self._manifest is not None
        self._manifest.append(row)

    def flush(self, *, sync: bool = False) -> None:
        """Hand the rows to the system; with `sync`, wait until the storage has them."""
        assert self._manifest is not None
        self._check()
        self._manifest.flush(sync=sync)

    def _check(self) -> None:
        """OSError where a lock was lost."""
        for lock in self._locks:
            if isinstance(lock, Lease):
                lock.check()

    def drop_rows(self, stale: Callable[[Mapping[str, Any]], bool]) -> None:
        """Take rows out of this writer's manifest whose results are not in place."""
        assert self._manifest is not None
        self._manifest.close()
        name = self.manifest.name
        with Rows(journal_files(self.path, name)) as rows:
            rewrite(self.path, name, filterfalse(stale, rows))
        self._open_manifest()

    def merge(self) -> None:
        """End this writer's rows, and bring those of all writers together; no other is at work."""
        if self._manifest is not None:
            self._manifest.close()
            self._manifest = None
        merge(self.path)

    def close(self) -> None:
        """Let go of the folder."""
        for file in (self._manifest, *self._locks):
            if file is not None:
                with suppress(OSError):  # a full disk was said when it was met
                    file.close()
        self._manifest, self._locks = None, []


def shard_records(folder: Path) -> list[Path]:
    """The records of whole shards that a folder has: the whole run's and the parts'."""
    whole, names = Path(SHARDS_DONE), f"{Path(SHARDS_DONE).stem}*.jsonl"
    return [*sorted((folder / whole.parent).glob(names)), *segments(folder, names)]


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} was {before.get(key, 'not set')!r}, is {now.get(key, 'not set')!r}"
        for key in sorted(set(before) | set(now))
        if before.get(key) != now.get(key)
    ]
