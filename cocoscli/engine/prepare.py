"""`cocos prepare`: a dataset's folders to shards.

Where exemplars are chosen, a scan first hashes every photo and describes every layout; then samples
are encoded in processes and written in a fixed order. The order, the split and the choice follow
from the seed and the names alone, so any number of processes writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cocoscli
from cocoscli.data.encoding import encode_photo
from cocoscli.data.images import fitted, open_photo, read_bytes
from cocoscli.data.retrieval import Retrieval
from cocoscli.data.shards import INDEX, SCHEMA, Sample, encode_key
from cocoscli.data.sources import encode_sources
from cocoscli.data.wording import shown
from cocoscli.engine.descriptors import LAYOUT_STORE, DescriptorStore
from cocoscli.engine.files import storage_error
from cocoscli.engine.manifest import read_manifest
from cocoscli.engine.output import OutputFolder
from cocoscli.engine.parallel import Batch, cut, read_in_order
from cocoscli.engine.preparation import Encoding, Preparation
from cocoscli.engine.scan import SPLITS, Scan, Scanner, Source, scan_all
from cocoscli.engine.shardset import Limits, Row, ShardSet
from cocoscli.errors import BadInput

BATCH = 8
"""Items that a reading process hands over at once."""
KEPT = 256
"""Encoded exemplars that a process keeps."""
USED, SKIPPED, FAILED = STATUSES = ("used", "skipped", "failed")


@dataclass(frozen=True)
class Encoded:
    """One item as it is stored."""

    members: dict[str, bytes]
    """`image.*` and `condition.*`."""
    image: str
    """The photo's path below the root."""
    sha256: str
    """Of the photo's file."""
    largest_id: int
    """Of its label map, the ignored label left out; -1 without one."""


class Encoder:
    """Encodes samples; held by the reading processes."""

    def __init__(
        self, source: Source, encoding: Encoding, scan: Scan, chosen: Retrieval, dedupe: bool
    ) -> None:
        self.source, self.encoding, self.scan, self.chosen = source, encoding, scan, chosen
        self.originals = scan.originals() if dedupe else None
        self._kept: dict[int, Encoded] = {}

    def __getitem__(self, batch: Batch) -> list[tuple[str, Sample | None, Row]]:
        return [self._one(i) for i in batch]

    def _one(self, i: int) -> tuple[str, Sample | None, Row]:
        split = SPLITS[self.scan.splits[i]]
        row: Row = {"key": self.source.names[i], "split": split, "status": FAILED, "reason": None}
        if self.originals is not None and self.originals[i] >= 0:
            same = self.source.names[int(self.originals[i])]
            return split, None, {**row, "status": SKIPPED, "reason": f"the same photo as {same}"}
        try:
            own = self._encoded(i)
            found = {"sha256": own.sha256, "largest_id": own.largest_id}
            return split, self._sample(i, split, own), {**row, "status": USED, **found}
        except BadInput as error:
            return split, None, {**row, "reason": str(error)}
        except OSError as error:
            reason = f"{shown(self.source.item(i))}: {error.strerror or error}."
            return split, None, {**row, "reason": reason}

    def _sample(self, i: int, split: str, own: Encoded) -> Sample:
        members = dict(own.members)
        exemplars: list[dict[str, Any]] = []
        for j, score in self.chosen.each(i):
            try:
                pair = self._encoded(j).members
            except (BadInput, OSError):  # it has a row of its own
                continue
            members |= {_exemplar_name(suffix, len(exemplars)): d for suffix, d in pair.items()}
            exemplars.append({"key": self.source.names[j], "score": round(score, 6)})
        meta = {
            "key": self.source.names[i],
            "image": own.image,
            "kind": self.source.layout.kind,
            "split": split,
            "sha256": own.sha256,
            "exemplars": exemplars,
            "query": self.chosen.query,
        }
        members["meta.json"] = json.dumps(meta, ensure_ascii=True, sort_keys=True).encode()
        return Sample(encode_key(self.source.names[i]), members)

    def _encoded(self, i: int) -> Encoded:
        if i not in self._kept:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[i] = self._encode(i)
        return self._kept[i]

    def _encode(self, i: int) -> Encoded:
        path = self.source.photo(i)
        data = read_bytes(path)
        photo = open_photo(path, data)
        self.source.check_aspect(i, path, photo.size)
        photo = fitted(photo, self.encoding.size)
        sources = self.source.sources(i, photo.size)
        format = self.encoding.format
        suffix, condition = encode_sources(sources)
        members = {
            f"image.{format}": encode_photo(photo, format, self.encoding.quality),
            f"condition.{suffix}": condition,
        }
        return Encoded(
            members,
            os.path.relpath(path, self.source.root),
            hashlib.sha256(data).hexdigest(),
            largest_id(sources.arrays.get("ids"), self.source.ignore),
        )


def largest_id(ids: np.ndarray | None, ignore: int | None) -> int:
    """Of class ids (H,W), `ignore` left out; -1 where none is left."""
    if ids is None:
        return -1
    largest = int(ids.max())
    if largest != ignore:
        return largest
    others = ids[ids != ignore]
    return int(others.max()) if others.size else -1


def _exemplar_name(suffix: str, number: int) -> str:
    """`image.jpg` -> `exemplar.0.jpg`, `condition.png` -> `exemplar_condition.0.png`."""
    name, _, tail = suffix.partition(".")
    return f"{'exemplar' if name == 'image' else 'exemplar_condition'}.{number}.{tail}"


def writing_order(splits: np.ndarray, seed: int) -> np.ndarray:
    """(N,) indices: split after split, shuffled within each."""
    shuffled = np.random.default_rng(seed).permutation(len(splits))
    return shuffled[np.argsort(splits[shuffled], kind="stable")]


def write_samples(
    encoder: Encoder, output: OutputFolder, limits: Limits, seed: int, workers: int
) -> tuple[ShardSet, Iterator[Row]]:
    """The shards of an output folder -> what is there already, and the rows of the rest as they
    are written. OSError where the storage fails."""
    shards = ShardSet(output, limits)
    order = writing_order(encoder.scan.splits, seed)
    batches = cut((int(i) for i in order[shards.position :]), BATCH)
    results = (r for batch in read_in_order(encoder, batches, workers) for r in batch)
    skipped = (("", None, row) for row in skipped_rows(encoder.source))
    after = max(0, shards.position - len(order))

    def everything() -> Iterator[tuple[str, Sample | None, Row]]:
        yield from results
        yield from (x for n, x in enumerate(skipped) if n >= after)

    return shards, shards.write(everything())


def skipped_rows(source: Source) -> Iterator[Row]:
    """Rows of the photos that no item goes with."""
    for path in source.without_item():
        reason = "no item of the layout goes with this photo"
        key = os.path.relpath(path, source.root)
        yield {"key": key, "split": None, "status": SKIPPED, "reason": reason}


def index_values(
    source: Source, chosen: Retrieval, shards: ShardSet, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """`index.json`: counts, classes, settings and hashes."""
    rows = [s for s in shards.done if s.name]
    duplicates, largest = survey(read_manifest(shards.output.path))
    channels = largest + 1 if source.channels is None and largest >= 0 else source.channels
    counts = {split: sum(s.samples for s in rows if s.split == split) for split in SPLITS}
    return {
        "schema": SCHEMA,
        "kind": source.layout.kind,
        "channels": channels,
        "classes": source.layout.class_names(source.root),
        "counts": {split: n for split, n in counts.items() if n},
        "duplicates": duplicates,
        "query": chosen.query,
        "leaking": chosen.leaking,
        "settings": dict(settings),
        "shards": [{"name": s.name, "split": s.split, "samples": s.samples, "bytes": s.bytes,
                    "sha256": s.sha256} for s in rows],
    }  # fmt: skip


def survey(rows: Iterable[Row]) -> tuple[int, int]:
    """Rows of the manifest -> photos that repeat another one, stored or left out; and the largest
    class id that is stored, -1 for none."""
    photos, left_out, largest = array("q"), 0, -1
    for row in rows:
        if row["status"] == USED:
            photos.append(int(row["sha256"][:15], 16))
            largest = max(largest, row["largest_id"])
        left_out += row["status"] == SKIPPED and row["split"] is not None
    return left_out + len(photos) - len(np.unique(photos)), largest


def write_index(output: OutputFolder, values: Mapping[str, Any]) -> None:
    output.write(INDEX, (json.dumps(values, indent=1, ensure_ascii=True) + "\n").encode())


@dataclass
class Work:
    """A pass over all items: its rows as they come, and the summary at the end."""

    total: int
    rows: Iterator[Row]
    finish: Callable[[], dict[str, Any]]


def check_items(plan: Preparation, workers: int) -> Work:
    """Read and encode every item as `prepare_shards` would, and write nothing."""
    source = plan.source
    scan = Scan.skipped(plan.splits())
    encoder = Encoder(source, plan.encoding, scan, Retrieval.nothing(len(source)), dedupe=False)
    counts: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for batch in read_in_order(encoder, cut(range(len(source)), BATCH), workers):
            for _, _, row in batch:
                counts[row["status"]] += 1
                yield row
        for row in skipped_rows(source):
            counts[row["status"]] += 1
            yield row

    return Work(len(source), rows(), lambda: {name: counts[name] for name in STATUSES})


def prepare_shards(plan: Preparation, path: Path, workers: int, overwrite: bool) -> Work:
    """Write the shards of a dataset into a folder, from where an earlier run stopped."""
    output = OutputFolder(path)
    shards: list[ShardSet] = []
    start = time.monotonic()

    def rows() -> Iterator[Row]:
        try:
            output.open(
                {**plan.settings, "command": "prepare"}, {"cocos": cocoscli.__version__}, overwrite
            )
            yield from write()
        except OSError as error:
            raise storage_error(path, error) from None
        finally:
            output.close()

    def write() -> Iterator[Row]:
        scan = scan_dataset(plan, output, workers)
        chosen = plan.choose(scan, output.path, workers)
        encoder = Encoder(plan.source, plan.encoding, scan, chosen, plan.options.dedupe)
        shardset, written = write_samples(encoder, output, plan.limits, plan.options.seed, workers)
        shards.append(shardset)
        yield from written
        write_index(output, index_values(plan.source, chosen, shardset, plan.settings))

    def finish() -> dict[str, Any]:
        counts = Counter(row.get("status") for row in read_manifest(path))
        return {
            **{name: counts[name] for name in STATUSES},
            "shards": sum(bool(shard.name) for shard in shards[0].done),
            "seconds": round(time.monotonic() - start, 1),
            "output": str(path),
        }

    return Work(len(plan.source), rows(), finish)


def scan_dataset(plan: Preparation, output: OutputFolder, workers: int) -> Scan:
    """The first pass, where one is needed; layout descriptors go to a file of the output folder."""
    if not plan.compares:
        return Scan.skipped(plan.splits())
    scanner = Scanner(plan.source, describe=plan.strategy == "layout")
    store = None
    if scanner.describe:
        store = DescriptorStore(output.path / LAYOUT_STORE, scanner.width, count=0)
    try:
        return scan_all(plan.source, plan.splits(), scanner, store, workers)
    finally:
        if store is not None:
            store.close()
