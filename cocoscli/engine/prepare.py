"""`cocos prepare`: a dataset's folders to shards.

Where exemplars are chosen, a scan first hashes every photo and describes every layout; then samples
are encoded in processes and written in a fixed order. The order, the split and the choice follow
from the seed and the names alone, so any number of processes writes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

import cocoscli
from cocoscli.data.building import shows_nothing
from cocoscli.data.conditions import CONDITIONS
from cocoscli.data.encoding import encode_photo
from cocoscli.data.images import fitted, open_photo, read_bytes
from cocoscli.data.points import encode_known
from cocoscli.data.references import (
    REFERENCES,
    named,
    read_references,
    renewed,
    write_references,
)
from cocoscli.data.retrieval import Retrieval
from cocoscli.data.shards import SCHEMA, Sample, encode_key, member_name, read_index
from cocoscli.data.sources import encode_sources
from cocoscli.data.storage import below
from cocoscli.data.wording import shown
from cocoscli.engine.descriptors import LAYOUT_STORE, DescriptorStore
from cocoscli.engine.files import storage_error
from cocoscli.engine.manifest import Finished, latest_rows
from cocoscli.engine.output import OutputFolder
from cocoscli.engine.pairs_page import write_pairs
from cocoscli.engine.parallel import Batch, cut, read_in_order
from cocoscli.engine.preparation import Encoding, Preparation
from cocoscli.engine.scan import SPLITS, Scan, Scanner, Source, scan_all
from cocoscli.engine.shardset import Row, ShardSet
from cocoscli.engine.tally import FAILED, SKIPPED, STATUSES, USED, Tally
from cocoscli.errors import BadInput
from cocoscli.report import INDEX as PAGE

BATCH = 8
"""Items that a reading process hands over at once."""
EMPTY = "the condition is empty: no edge and no joint in it"
ALONE = "no exemplar: none was found, or those that were cannot be read"
KEPT = 256
"""Encoded exemplars that a process keeps."""


@dataclass(frozen=True)
class Encoded:
    """One item as it is stored."""

    members: dict[str, bytes]
    """`image.*` and `condition.*`; `points.json` where points are known."""
    image: str
    """The photo's path below the root."""
    sha256: str
    """Of the photo's file."""
    largest_id: int
    """Of its label map, the ignored label left out; -1 without one."""
    notes: list[str]
    """What is to be said of it."""


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
            sample = self._sample(i, split, own)
            found: Row = {"sha256": own.sha256, "largest_id": own.largest_id}
            if notes := own.notes + self._alone(sample):
                found["notes"] = notes
            return split, sample, {**row, "status": USED, **found}
        except BadInput as error:
            return split, None, {**row, "reason": str(error)}
        except OSError as error:
            reason = f"{shown(self.source.item(i))}: {error.strerror or error}."
            return split, None, {**row, "reason": reason}

    def _alone(self, sample: Sample) -> list[str]:
        """What is to be said where exemplars were asked for and none came."""
        given = any(name.startswith("exemplar.") for name in sample.members)
        return [] if given or self.chosen.query == "none" else [ALONE]

    def _sample(self, i: int, split: str, own: Encoded) -> Sample:
        members = dict(own.members)
        exemplars: list[dict[str, Any]] = []
        for j, score in self.chosen.each(i):
            try:
                pair = self._encoded(j).members
            except (BadInput, OSError):  # it has a row of its own
                continue
            members |= {_of_exemplar(suffix, len(exemplars)): d for suffix, d in pair.items()}
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
        whole = open_photo(path, data)
        photo = fitted(whole, self.encoding.size)
        sources = self.source.aligned(i, path, whole.size, photo.size)
        format = self.encoding.format
        suffix, condition = encode_sources(sources)
        members = {
            f"image.{format}": encode_photo(photo, format, self.encoding.quality),
            f"condition.{suffix}": condition,
        }
        known = self.source.known_points(path, whole.size)
        if len(known):
            members["points.json"] = encode_known(known, whole.size)
        notes = [sources.lack] if sources.lack else []
        if not CONDITIONS[sources.kind].is_labels:
            notes += [EMPTY] if shows_nothing(sources, np.asarray(photo)) else []
        return Encoded(
            members,
            below(path, self.source.root),
            hashlib.sha256(data).hexdigest(),
            largest_id(sources.arrays.get("ids"), self.source.ignore),
            notes,
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


def _of_exemplar(suffix: str, number: int) -> str:
    """`image.jpg` -> `exemplar.0.jpg`, `condition.png` -> `exemplar_condition.0.png`."""
    name, _, tail = suffix.partition(".")
    return f"{member_name(name, number)}.{tail}"


def writing_order(splits: np.ndarray, seed: int) -> np.ndarray:
    """(N,) indices: split after split, shuffled within each."""
    shuffled = np.random.default_rng(seed).permutation(len(splits))
    return shuffled[np.argsort(splits[shuffled], kind="stable")]


def write_samples(
    encoder: Encoder, shards: ShardSet, order: np.ndarray, workers: int, again: np.ndarray
) -> Iterator[Row]:
    """Write what the shards do not have, in `order`, and then the items that are tried `again`
    -> their rows as they are dealt with. OSError where the storage fails."""
    skipped = (("", None, row) for row in skipped_rows(encoder.source))
    after = max(0, shards.position - len(order))

    def results(items: np.ndarray) -> Iterator[tuple[str, Sample | None, Row]]:
        batches = cut((int(i) for i in items), BATCH)
        return (r for batch in read_in_order(encoder, batches, workers) for r in batch)

    rest = results(order[shards.position :])
    yield from shards.write(chain(rest, islice(skipped, after, None)))
    yield from shards.write(results(again), again=True)


def left_behind(source: Source, folder: Path, order: np.ndarray, retry: bool) -> np.ndarray:
    """Of items in `order` that were dealt with, those to be tried again.

    These are the failed ones, if asked to `retry`, and any whose row went with a further shard
    that was lost.
    """
    ended = Finished(folder, (USED, SKIPPED) if retry else STATUSES)
    return np.fromiter((i for i in order if source.names[int(i)] not in ended), np.int64)


def skipped_rows(source: Source) -> Iterator[Row]:
    """Rows of the photos that no item goes with."""
    for path in source.without_item():
        reason = "no item of the layout goes with this photo"
        key = below(path, source.root)
        yield {"key": key, "split": None, "status": SKIPPED, "reason": reason}


def index_values(
    source: Source, chosen: Retrieval, shards: ShardSet, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """`index.json`: counts, classes, settings and hashes."""
    duplicates, largest = survey(latest_rows(shards.output.path))
    channels = largest + 1 if source.channels is None and largest >= 0 else source.channels
    counts = {split: sum(s.samples for s in shards.whole if s.split == split) for split in SPLITS}
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
        "shards": shards.listing(),
    }


def write_choice(source: Source, folder: Path, chosen: Retrieval, again: np.ndarray) -> None:
    """`references.txt`: the exemplars of every item as a released list, best first.

    Where it is there, only the lines of items that were tried `again` change: the shards keep what
    was chosen when they were written.
    """
    path, name = folder / REFERENCES, source.names.__getitem__
    if chosen.query == "none" or (path.exists() and not len(again)):
        return
    references = named(source.names, chosen.indices, name)
    if path.exists():
        before = read_references(path, lambda _: True, lambda _: True)  # names exactly as written
        references = renewed(before, references, {name(int(i)) for i in again})
    write_references(path, references)


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
    tally = Tally()

    def rows() -> Iterator[Row]:
        batches = read_in_order(encoder, cut(range(len(source)), BATCH), workers)
        read = (row for batch in batches for _, _, row in batch)
        for row in chain(read, skipped_rows(source)):
            tally.add(row)
            yield row

    return Work(len(source), rows(), lambda: {**tally.counts, "warnings": tally.warnings})


def prepare_shards(
    plan: Preparation,
    path: Path,
    workers: int,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    gallery: int = 0,
) -> Work:
    """Write the shards of a dataset into a folder, from where an earlier run stopped.

    With `retry_failed`, items that failed in earlier runs are tried again; those that are good now
    go into further shards. Shards that are recorded are never rewritten. `gallery` samples are
    shown on a page; 0 for none.
    """
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
        stored = plan.stored(chosen)
        encoder = Encoder(plan.source, plan.encoding, scan, stored, plan.options.dedupe)
        shardset = ShardSet(output, plan.limits)
        shards.append(shardset)
        order = writing_order(scan.splits, plan.options.seed)
        again = left_behind(plan.source, path, order[: shardset.position], retry_failed)
        yield from write_samples(encoder, shardset, order, workers, again)
        write_choice(plan.source, path, chosen, again)
        index = index_values(plan.source, chosen, shardset, plan.settings)
        shardset.finish(index)
        if gallery:
            write_pairs(output, index, gallery)

    def finish() -> dict[str, Any]:
        tally = Tally(latest_rows(path))
        repeated = read_index(path).values["duplicates"]
        kept = f"{repeated:,} photos repeat others and are kept; --dedupe leaves them out"
        return {
            **tally.counts,
            "warnings": tally.warnings + ([kept] if repeated and not plan.options.dedupe else []),
            "shards": len(shards[0].whole),
            "seconds": round(time.monotonic() - start, 1),
            "output": str(path),
            "page": str(path / PAGE) if gallery else None,
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
