"""A folder of results: whole files, one manifest row an item, one run at a time.

a/x.jpg.png      results in the mirrored tree, full names kept
manifest.jsonl   a row a work item; the latest row of a key counts
run.toml         the settings that decide the results
index.html       the gallery; its parts and the lock lie in _cocos/
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import tomli_w

from cocoscli.data.wording import shown
from cocoscli.errors import CocosError

MANIFEST = "manifest.jsonl"
RUN = "run.toml"
PRIVATE = "_cocos"
TEMPORARY = f"{PRIVATE}/tmp"
SHARDS_DONE = f"{PRIVATE}/shards.jsonl"
"""The record of whole shards; see `shardset`."""
DONE, FAILED = "done", "failed"
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Faults of the storage, which end the run; another fault of a file costs its item."""


def safe_name(key: str) -> str:
    """A key as a relative path that stays below the output folder.

    Parts that would leave it (`..`, an empty name) are percent-encoded.
    """
    odd = {"": "%", ".": "%2E", "..": "%2E%2E"}
    return "/".join(odd.get(part, part) for part in key.split("/"))


def digest(key: str) -> int:
    """64 bits of a key; the manifest is indexed by them to stay small."""
    data = key.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


class OutputFolder:
    """The one writer of an output folder, held by a lock from `open` to `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None
        self._manifest: IO[str] | None = None

    def open(self, settings: Mapping[str, Any], record: Mapping[str, Any], overwrite: bool) -> None:
        """Take the folder for a run with these settings.

        `settings` decide the results: a folder of other settings is refused with the difference,
        or emptied of its results with `overwrite`. `record` is written beside them. Raises
        CocosError.
        """
        self._make(overwrite)
        self._take_lock()
        try:
            for left in (self.path / TEMPORARY).iterdir():  # of a process that was killed
                left.unlink()
            self._accept(settings, overwrite)
            _repair(self.path / MANIFEST)
            document = {"settings": dict(settings), "record": dict(record)}
            self.write(RUN, tomli_w.dumps(document).encode("utf-8", "surrogateescape"))
            self._manifest = open(  # noqa: SIM115 (closed in close)
                self.path / MANIFEST, "a", encoding="ascii"
            )
        except OSError as error:
            raise storage_error(self.path, error) from None

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
        private = [f"{PRIVATE}/{name}" for name in ("lock", "tmp", "rows", "thumbs")]
        for name in (PRIVATE, MANIFEST, RUN, *private):
            if (self.path / name).is_symlink():
                raise CocosError(f"{shown(self.path / name)}: a symbolic link.", "Remove it.")
        foreign = [p for p in sorted(os.listdir(self.path)) if p != PRIVATE]
        if foreign and not overwrite and not (self.path / RUN).exists():
            names = ", ".join(shown(Path(name)) for name in foreign[:5])
            raise CocosError(
                f"{shown(self.path)}: not empty ({names}) and not an output folder of cocos "
                f"(it has no {RUN}).",
                "Choose an empty --output, or --overwrite to write into it all the same.",
            )

    def _take_lock(self) -> None:
        try:
            lock = open(self.path / PRIVATE / "lock", "a")  # noqa: SIM115
        except OSError as error:
            raise storage_error(self.path, error) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise CocosError(
                f"{shown(self.path)}: another process is writing to this output folder.",
                "Wait for it to end, or choose another --output.",
            ) from None
        self._lock = lock

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
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise CocosError(
                f"{self.path / RUN}: not a run record of cocos ({error}).",
                "Choose another --output, or --overwrite.",
            ) from None

    def _clear(self) -> None:
        for row in read_manifest(self.path):
            for name in {row.get("output"), row.get("shard")} - {None}:
                result = self.path / safe_name(str(name))
                if result.is_file() and self._inside(result):
                    result.unlink()
        for record in (MANIFEST, SHARDS_DONE):
            (self.path / record).unlink(missing_ok=True)

    def _inside(self, target: Path) -> bool:
        """Whether the folder that a target lies in (the deepest there is) is below this one."""
        folder = next(parent for parent in target.parents if parent.exists())
        return folder.resolve().is_relative_to(self.path.resolve())

    def write(self, name: str, data: bytes) -> str:
        """Write a file that appears only whole; -> its sha256.

        `name` is relative to the folder. Raises CocosError for a target that a symbolic link leads
        out of it, OSError where the storage fails.
        """
        target = self.path / name
        if not self._inside(target):
            raise CocosError(
                f"{shown(target)}: a link leads out of the output folder.", "Remove it."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target, self.path / TEMPORARY) as file:
            file.write(data)
        return hashlib.sha256(data).hexdigest()

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a manifest row; call it when the item's files are in place."""
        assert self._manifest is not None
        self._manifest.write(json.dumps(row, ensure_ascii=True) + "\n")

    def flush(self) -> None:
        assert self._manifest is not None
        self._manifest.flush()

    def truncate_manifest(self, length: int) -> None:
        """Cut off rows whose results are not in place."""
        assert self._manifest is not None
        if os.path.getsize(self.path / MANIFEST) > length:
            os.truncate(self.path / MANIFEST, length)

    def close(self) -> None:
        """Let go of the folder."""
        for file in (self._manifest, self._lock):
            if file is not None:
                with suppress(OSError):  # a full disk was said when it was met
                    file.close()
        self._manifest = self._lock = None


@contextmanager
def whole_file(target: Path, folder: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `target`, synced and whole, when the block ends without an error.

    `folder` holds it until then; it lies on the same file system.
    """
    handle, temporary = tempfile.mkstemp(dir=folder)
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def storage_error(path: Path, error: OSError) -> CocosError:
    """The storage's fault in words; what was written before stays."""
    reason = error.strerror or str(error)
    return CocosError(
        f"{shown(path)}: the output cannot be written ({reason}).",
        "What is already written stays; mend that and run the same command again to go on.",
    )


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} was {before.get(key, 'not set')!r}, is {now.get(key, 'not set')!r}"
        for key in sorted(set(before) | set(now))
        if before.get(key) != now.get(key)
    ]


def _repair(path: Path) -> None:
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


def _is_row(row: Any) -> bool:
    """Whether a line of a manifest is one of ours: the columns that are relied on are there."""
    if not isinstance(row, dict) or not isinstance(row.get("key"), str):
        return False
    names = [row["key"], row.get("output") or ""]
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

    A key whose latest row says `done` but whose file is gone needs it again.
    """

    def __init__(self, folder: Path, statuses: tuple[str, ...]) -> None:
        def ended(row: dict[str, Any]) -> bool:
            if row.get("status") == DONE and not (folder / str(row.get("output"))).is_file():
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
    with whole_file(folder / MANIFEST, folder / TEMPORARY) as file:
        for row in latest_rows(folder):
            file.write((json.dumps(row, ensure_ascii=True) + "\n").encode())
