"""A folder of shards in the making: whole shards only, each recorded once it is in place.

What is written is a fixed function of the items and their order, so a run that was stopped goes on
after its last whole shard and ends with the same bytes. A shard is put in its place, then the rows
of its samples join the manifest, then it is recorded. What a stopped run left without a record,
shard or rows, is taken away.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from cocoscli.data.references import REFERENCES
from cocoscli.data.shards import INDEX, SHARD_NAME, Sample, ShardWriter, remove_shards
from cocoscli.engine.files import TEMPORARY, whole_file
from cocoscli.engine.journal import journal_files, open_journal, rewrite
from cocoscli.engine.manifest import Rows
from cocoscli.engine.output import SHARDS_DONE, OutputFolder, shard_records
from cocoscli.engine.part import marked

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
    """Empty where no item since the last shard had a sample."""
    split: str
    samples: int
    bytes: int
    sha256: str
    position: int
    """Items of the work, in writing order, that are dealt with by its end."""


class ShardSet:
    """The shards of an output folder, or a part's own, written one after another."""

    def __init__(self, output: OutputFolder, limits: Limits) -> None:
        self.output, self.limits = output, limits
        self.record = marked(SHARDS_DONE, output.part)
        lines = [
            line
            for path in journal_files(output.path, self.record)
            for line in path.read_text(errors="replace").splitlines()
        ]
        with Rows(journal_files(output.path, output.manifest.name)) as manifest:
            rows = Counter(map(_shard_of, manifest))
        others = {path.name for path in output.path.glob("*.tar") if not self._owns(path.name)}
        others |= {name for name in rows if not self._owns(name)}
        self.done = list(self._recorded(lines, rows))
        names = {*others, *(shard.name for shard in self.done)}
        surplus = remove_shards(output.path, keep=names)
        if surplus or not self.done or len(self.done) < len(lines):
            (output.path / INDEX).unlink(missing_ok=True)
        if not self.done:
            (output.path / REFERENCES).unlink(missing_ok=True)
        if rows.keys() - names:
            output.drop_rows(lambda row: _shard_of(row) not in names)
        rewrite(output.path, self.record, map(asdict, self.done))
        self.position = self.done[-1].position if self.done else 0
        """Items that need no more work."""
        self._counts = Counter(shard.split for shard in self.done if shard.name)

    def _owns(self, name: str) -> bool:
        """Whether a shard is one of this set, by its name."""
        found, part = SHARD_NAME.fullmatch(name), self.output.part
        return found is not None and found[3] == (part.name if part else None)

    @property
    def whole(self) -> list[Shard]:
        """The shards that are in place."""
        return [shard for shard in self.done if shard.name]

    def _recorded(self, lines: Iterable[str], rows: Mapping[str, int]) -> Iterator[Shard]:
        """The recorded shards, up to the first whose file, rows or record are not as they were."""
        for line in lines:
            try:
                shard = Shard(**json.loads(line))
            except (ValueError, TypeError):
                return
            file = self.output.path / shard.name
            if shard.name and not (file.is_file() and file.stat().st_size == shard.bytes):
                return
            if shard.name and rows[shard.name] != shard.samples:
                return
            yield shard

    def write(
        self, items: Iterable[tuple[str, Sample | None, Row]], again: bool = False
    ) -> Iterator[Row]:
        """Write the items from `position` on: (split, sample or None where there is none, row).

        Yields each row as it is dealt with, and so before its shard is whole. In the manifest it
        says its `shard`; its `output`, the name of a member, gets the shard's name in front.
        Items that are tried `again` were counted before: they go into further shards and leave
        `position` as it is. OSError where the storage fails.
        """
        shard: _OpenShard | None = None
        position = self.position
        try:
            for split, sample, row in items:
                if shard and (shard.split != split or shard.is_full(self.limits)):
                    self._commit(shard, position)
                    shard = None
                if sample is None:
                    placed = {**row, "shard": None}
                    self.output.append(placed)
                    self.output.flush()
                else:
                    shard = shard or _OpenShard(self.output, split, self._counts[split])
                    placed = shard.add(sample, row)
                position += not again
                yield placed
            if shard:
                self._commit(shard, position)
                shard = None
            elif position > self.position:
                self._record(Shard("", "", 0, 0, "", position))
        finally:
            if shard:
                shard.discard()

    def _commit(self, shard: _OpenShard, position: int) -> None:
        sha256, size = shard.close()
        for row in shard.rows:
            self.output.append(row)
        self.output.flush(sync=True)
        self._record(Shard(shard.name, shard.split, len(shard.rows), size, sha256, position))
        self._counts[shard.split] += 1

    def _record(self, shard: Shard) -> None:
        journal = open_journal(self.output.path, self.record)
        journal.append(asdict(shard))
        journal.flush(sync=True)
        journal.close()
        self.done.append(shard)
        self.position = shard.position

    def listing(self) -> list[Row]:
        """The shards of all parts as `index.json` lists them."""
        names = ("name", "split", "samples", "bytes", "sha256")
        folder = self.output.path
        records = (record.read_text().splitlines() for record in shard_records(folder))
        rows = (json.loads(line) for lines in records for line in lines)
        there = (row for row in rows if row["name"] and (folder / row["name"]).is_file())
        return [{name: row[name] for name in names} for row in there]

    def finish(self, index: Mapping[str, Any]) -> None:
        """Leave one row a key in the manifest, and write `index.json`; what parts that died left
        unrecorded is taken away."""
        remove_shards(self.output.path, keep={shard["name"] for shard in index["shards"]})
        self.output.merge()
        self.output.write(INDEX, (json.dumps(index, indent=1, ensure_ascii=True) + "\n").encode())


def _shard_of(row: Mapping[str, Any]) -> str:
    return str(row.get("shard") or "")


class _OpenShard:
    """The shard that is being filled; its file is temporary until `close`."""

    def __init__(self, output: OutputFolder, split: str, number: int) -> None:
        self.split, self.rows = split, list[Row]()
        part = f"{output.part.name}-" if output.part else ""
        self.name = f"{split}-{part}{number:06d}.tar"
        self.path = output.path / self.name
        self._stack = ExitStack()
        file = self._stack.enter_context(whole_file(self.path, output.path / TEMPORARY))
        self._writer = ShardWriter(file)

    def is_full(self, limits: Limits) -> bool:
        return self._writer.count >= limits.samples or self._writer.nbytes >= limits.bytes

    def add(self, sample: Sample, row: Row) -> Row:
        """Write a sample -> its row, which says where it is."""
        self._writer.add(sample)
        placed = {**row, "shard": self.name}
        if member := row.get("output"):
            placed["output"] = f"{self.name}/{member}"
        self.rows.append(placed)
        return placed

    def close(self) -> tuple[str, int]:
        """Put the file in its place -> (sha256, bytes)."""
        sha256 = self._writer.close()
        self._stack.close()
        return sha256, self.path.stat().st_size

    def discard(self) -> None:
        """Leave no file behind."""
        self._stack.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
