"""A folder of shards in the making: whole shards only, each recorded once it is in place.

What is written is a fixed function of the items and their order, so a run that was stopped goes on
after its last whole shard and ends with the same bytes.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from cocoscli.data.shards import INDEX, Sample, ShardWriter
from cocoscli.engine.files import TEMPORARY, whole_file
from cocoscli.engine.manifest import MANIFEST
from cocoscli.engine.output import SHARDS_DONE, OutputFolder

SHARD_NAME = re.compile(r"(train|val|test)-\d{6,}\.tar")
Row = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """When a shard is full: by its samples, or by their bytes if that comes first."""

    samples: int = 1000
    bytes: int = 10**9


@dataclass(frozen=True)
class Shard:
    """One whole shard, and where the work stood when it was done."""

    name: str
    """Empty where every item since the last shard failed."""
    split: str
    samples: int
    bytes: int
    sha256: str
    position: int
    """Items of the work, in writing order, that are dealt with by its end."""
    manifest: int
    """Length of the manifest with this shard's rows."""


class ShardSet:
    """The shards of an output folder, written one after another."""

    def __init__(self, output: OutputFolder, limits: Limits) -> None:
        self.output, self.limits = output, limits
        self.done = list(self._recorded())
        if not self.done:
            self._remove_surplus()
        last = self.done[-1] if self.done else None
        self.position = last.position if last else 0
        """Items that need no more work."""
        output.truncate_manifest(last.manifest if last else 0)
        state = "".join(json.dumps(asdict(shard)) + "\n" for shard in self.done)
        output.write(SHARDS_DONE, state.encode())
        self._counts = Counter(shard.split for shard in self.done if shard.name)

    def _remove_surplus(self) -> None:
        """Index and shards of an earlier run that nothing records any more."""
        for path in self.output.path.iterdir():
            if path.name == INDEX or SHARD_NAME.fullmatch(path.name):
                path.unlink()

    def _recorded(self) -> Iterator[Shard]:
        """The recorded shards, up to the first whose file or record is not as it was."""
        path, manifest = self.output.path / SHARDS_DONE, self.output.path / MANIFEST
        length = manifest.stat().st_size if manifest.exists() else 0
        for line in path.read_text().splitlines() if path.exists() else ():
            try:
                shard = Shard(**json.loads(line))
            except (ValueError, TypeError):
                return
            file = self.output.path / shard.name
            if shard.name and not (file.is_file() and file.stat().st_size == shard.bytes):
                return
            if shard.manifest > length:
                return
            yield shard

    def write(self, items: Iterable[tuple[str, Sample | None, Row]]) -> Iterator[Row]:
        """Write the items from `position` on: (split, sample or None where it failed, row).

        Yields each row once its shard is whole and recorded. OSError where the storage fails.
        """
        shard: _OpenShard | None = None
        position = self.position
        try:
            for split, sample, row in items:
                if shard and (shard.split != split or shard.is_full(self.limits)):
                    yield from self._commit(shard, position)
                    shard = None
                shard = shard or _OpenShard(self.output, split, self._counts[split])
                shard.add(sample, row)
                position += 1
            if shard:
                yield from self._commit(shard, position)
                shard = None
        finally:
            if shard:
                shard.discard()

    def _commit(self, shard: _OpenShard, position: int) -> Iterator[Row]:
        name, sha256, size = shard.close()
        for row in shard.rows:
            self.output.append({**row, "shard": name or None})
        self.output.flush()
        length = (self.output.path / MANIFEST).stat().st_size
        record = Shard(name, shard.split, shard.samples, size, sha256, position, length)
        with open(self.output.path / SHARDS_DONE, "a", encoding="ascii") as file:
            file.write(json.dumps(asdict(record)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.done.append(record)
        self._counts[shard.split] += bool(name)
        yield from shard.rows


class _OpenShard:
    """The shard that is being filled; its file is temporary until `close`."""

    def __init__(self, output: OutputFolder, split: str, number: int) -> None:
        self.split, self.rows = split, list[Row]()
        self.name = f"{split}-{number:06d}.tar"
        self.path = output.path / self.name
        self._folder = output.path / TEMPORARY
        self._stack = ExitStack()
        self._writer: ShardWriter | None = None

    @property
    def samples(self) -> int:
        return self._writer.count if self._writer else 0

    def is_full(self, limits: Limits) -> bool:
        writer = self._writer
        return writer is not None and (
            writer.count >= limits.samples or writer.nbytes >= limits.bytes
        )

    def add(self, sample: Sample | None, row: Row) -> None:
        self.rows.append(row)
        if sample is None:
            return
        if self._writer is None:
            file = self._stack.enter_context(whole_file(self.path, self._folder))
            self._writer = ShardWriter(file)
        self._writer.add(sample)

    def close(self) -> tuple[str, str, int]:
        """Put the file in its place -> (name, sha256, bytes); empty where no sample came."""
        if self._writer is None:
            return "", "", 0
        sha256 = self._writer.close()
        self._stack.close()
        return self.name, sha256, self.path.stat().st_size

    def discard(self) -> None:
        """Leave no file behind."""
        if self._writer:
            self._writer.abandon()
        self._stack.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
