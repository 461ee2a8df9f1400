"""Where the results of a run go: files in the mirrored tree, or samples of shards.

An item is packed and `put` in a thread; `record` then takes the items in the work's order and
yields each row. Files are in place when they are put. Samples join a shard when they are recorded,
and their rows join the manifest with the whole shard.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from cocoscli.data.shards import SCHEMA, Sample
from cocoscli.engine.files import file_name
from cocoscli.engine.output import OutputFolder
from cocoscli.engine.shardset import Limits, Row, ShardSet

SPLIT = "results"
"""What shards of results are named by."""
Put = tuple[Row, Sample | None]
"""The columns of a row that tell where the result is, and the sample that goes into a shard."""


@dataclass(frozen=True)
class Packed:
    """A result as bytes."""

    sample: Sample
    """Its members, the one that `output` and `sha256` tell of first; its key is that in a shard."""
    source: str
    """The key that the input has, or would have, in a shard."""
    columns: Row = field(default_factory=dict)
    """Columns of the manifest row that are known only now."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    """For the page, by their names in the output folder."""


class Putting(Protocol):
    """What takes results; other processes may do it too."""

    def __init__(self, output: OutputFolder) -> None: ...

    @property
    def output(self) -> OutputFolder: ...

    def put(self, row: Row, packed: Packed) -> Put:
        """Take a result of the item that `row` describes; runs in a thread."""
        ...


class Results(Putting, Protocol):
    """The one place that a run writes its results to."""

    elsewhere: type[Putting]
    """What takes them in other processes, made of an output folder there."""

    def record(self, items: Iterable[tuple[Row, Sample | None]]) -> Iterator[Row]:
        """Add whole rows to the manifest, and pass them on. OSError where the storage fails."""
        ...

    def finish(self) -> dict[str, Any]:
        """Bring together what all runs in the folder wrote, while no other is at work -> what a
        summary says of the results."""
        ...


class Files:
    """A file a member, in the mirrored tree."""

    elsewhere: type[Putting]

    def __init__(self, output: OutputFolder) -> None:
        self.output = output

    def put(self, row: Row, packed: Packed) -> Put:
        names = [file_name(row["key"], suffix) for suffix in packed.sample.members]
        written = zip(names, packed.sample.members.values(), strict=True)
        hashes = [self.output.write(name, data) for name, data in written]
        also = {"also": names[1:]} if names[1:] else {}
        return {**packed.columns, "output": names[0], "sha256": hashes[0], **also}, None

    def record(self, items: Iterable[tuple[Row, Sample | None]]) -> Iterator[Row]:
        for row, _ in items:
            self.output.append(row)
            self.output.flush()
            yield row

    def finish(self) -> dict[str, Any]:
        self.output.merge()
        return {}


Files.elsewhere = Files


class Samples:
    """A sample an item, which is on its way into a shard."""

    def __init__(self, output: OutputFolder) -> None:
        self.output = output

    def put(self, row: Row, packed: Packed) -> Put:
        key, members = packed.sample.key, packed.sample.members
        suffix, data = next(iter(members.items()))
        sha256 = hashlib.sha256(data).hexdigest()
        meta = {**row, **packed.columns, "source": packed.source, "sha256": sha256}
        text = json.dumps(meta, ensure_ascii=True, sort_keys=True).encode()
        sample = Sample(key, {**members, "meta.json": text})
        return {**packed.columns, "output": f"{key}.{suffix}", "sha256": sha256}, sample


class Shards(Samples):
    """Shards of samples; what is done later, or again, goes into shards of its own."""

    elsewhere: type[Putting] = Samples

    def __init__(self, output: OutputFolder, limits: Limits) -> None:
        super().__init__(output)
        self.shards = ShardSet(output, limits)

    def record(self, items: Iterable[tuple[Row, Sample | None]]) -> Iterator[Row]:
        return self.shards.write((SPLIT, sample, row) for row, sample in items)

    def finish(self) -> dict[str, Any]:
        shards = self.shards.listing()
        index = {
            "schema": SCHEMA,
            "kind": SPLIT,
            "counts": {SPLIT: sum(shard["samples"] for shard in shards)},
            "settings": self.output.settings(),
            "shards": shards,
        }
        self.shards.finish(index)
        return {"shards": len(shards)}
