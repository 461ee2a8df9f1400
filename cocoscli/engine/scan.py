"""The first pass of `cocos prepare`: what is there, before anything is written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cocoscli.data.conditions import CONDITIONS, check_ids
from cocoscli.data.filelist import FileList
from cocoscli.data.images import (
    IMAGE_SUFFIXES,
    ColorTable,
    Size,
    check_aspect,
    is_image,
    read_bytes,
)
from cocoscli.data.layouts.layout import Layout
from cocoscli.data.points import NONE, PointFile, Points
from cocoscli.data.sources import Sources
from cocoscli.data.storage import below
from cocoscli.data.walking import find_stem, walk_files
from cocoscli.data.wording import shown
from cocoscli.engine.descriptors import DescriptorStore, layout_descriptor, layout_width
from cocoscli.engine.parallel import Batch, cut, read_in_order
from cocoscli.errors import BadInput

SPLITS = ("train", "val", "test")
BATCH = 16
"""Items that a reading process hands over at once."""
MOST_CLASSES = 65536
"""Ids that a 16-bit label map can hold."""


@dataclass(frozen=True)
class Source:
    """A dataset: its layout, root and items."""

    layout: Layout
    root: Path
    names: FileList
    colors: ColorTable | None = None
    channels: int | None = None
    """Classes of label maps where known; ids beyond are refused."""
    ignore: int | None = 255
    points: PointFile | None = None

    def __len__(self) -> int:
        return len(self.names)

    def item(self, i: int) -> Path:
        return self.root / self.names[i]

    def photo(self, i: int) -> Path:
        """The photo of an item. Raises BadInput where there is none."""
        found = self.layout.photo(self.item(i))
        if found is None:
            raise BadInput(f"{shown(self.item(i))}: its photo was not found.", self.layout.expects)
        return found

    def sources(self, i: int, size: Size | None = None) -> Sources:
        """What item i's condition is made from, ids checked. Raises BadInput."""
        return self._checked(i, self.layout.sources(self.item(i), size, self.colors))

    def aligned(self, i: int, photo: Path, native: Size, size: Size) -> Sources:
        """`sources` at `size`, for its photo of `native` size.

        Raises BadInput where a label map cannot be that of the photo by its shape.
        """
        if not self.layout.items_are_labels:
            return self.sources(i, size)
        found = self.layout.sources(self.item(i), None, self.colors)
        check_aspect(self.item(i), found.size, photo, native)
        return self._checked(i, found.resized(size))

    def known_points(self, photo: Path, size: Size) -> Points:
        """The named points of a photo of `size`; none where none are given.

        Raises BadInput for faulty ones.
        """
        if self.points is None:
            return NONE
        return self.points.of(below(photo, self.root), size)

    def has_points(self, i: int) -> bool:
        """Whether points are given for the photo of an item."""
        if self.points is None:
            return False
        photo = self.layout.photo(self.item(i))
        return photo is not None and self.points.has(below(photo, self.root))

    def _checked(self, i: int, sources: Sources) -> Sources:
        if self.channels is not None and "ids" in sources.arrays:
            check_ids(sources.arrays["ids"], self.channels, self.ignore, source=shown(self.item(i)))
        return sources

    def without_item(self) -> Iterator[Path]:
        """Photos, or maps beside photos, that no item goes with."""
        layout = self.layout
        if not layout.items_are_labels:
            yield from self._without_photo()
            return
        base = layout.base(self.root)
        within = f"{base}{os.sep}"
        for path in filter(is_image, walk_files(self.root)):
            item = str(path).startswith(within) and layout.is_item(path, base)
            if not item and layout.item_for_photo(path) is None:
                yield path

    def _without_photo(self) -> Iterator[Path]:
        for name in ("masks", "edges"):
            if not (self.root / name).is_dir() or not (self.root / "images").is_dir():
                continue
            for path in walk_files(self.root / name):
                if not path.resolve().is_relative_to((self.root / name).resolve()):
                    continue  # a link led out of it
                folder = self.root / "images" / path.parent.relative_to(self.root / name)
                if is_image(path) and find_stem(folder, path.stem, IMAGE_SUFFIXES) is None:
                    yield path


def splits_of(source: Source, fraction: float, seed: int) -> np.ndarray:
    """(N,) uint8 indices into SPLITS: what the dataset's folders or files say, else drawn by seed
    and name."""
    say = source.layout.splits(source.root)

    def split(name: str) -> int:
        said = say(Path(name))
        if said is not None:
            return SPLITS.index(said)
        text = f"{seed}/{name}".encode("utf-8", "surrogateescape")
        draw = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") / 2**64
        return int(draw < fraction)

    return np.fromiter(map(split, source.names), np.uint8, len(source))


@dataclass
class Scan:
    """What the first pass found, as arrays over the items."""

    marks: np.ndarray
    """(N,) int64: 63 bits of each photo's sha256, at least 1; 0 where the item is faulty."""
    splits: np.ndarray
    """(N,) uint8 indices into SPLITS."""

    @classmethod
    def skipped(cls, splits: np.ndarray) -> Scan:
        """Where photos need not be told apart: none is looked at, each counts as usable."""
        return cls(np.arange(1, len(splits) + 1), splits)

    @property
    def usable(self) -> np.ndarray:
        return self.marks != 0

    def originals(self) -> np.ndarray:
        """(N,) int64: the first item with the same photo where that is another one, else -1."""
        _, first, inverse = np.unique(self.marks, return_index=True, return_inverse=True)
        original = first[inverse]
        repeated = self.usable & (original != np.arange(len(self.marks)))
        return np.where(repeated, original, -1)


@dataclass
class Scanned:
    """One item, as a reading process hands it over."""

    i: int
    mark: int
    layout: np.ndarray | None
    """Its layout descriptor, where asked for; zeros for a faulty item."""


class Scanner:
    """Hashes photos and describes layouts; held by the reading processes."""

    def __init__(self, source: Source, describe: bool) -> None:
        self.source = source
        self.describe = describe and CONDITIONS[source.layout.kind].is_labels
        self.classes = source.channels or MOST_CLASSES
        self.width = layout_width(self.classes) if self.describe else 0

    def __getitem__(self, batch: Batch) -> list[Scanned]:
        return [self._one(i) for i in batch]

    def _one(self, i: int) -> Scanned:
        try:
            digest = hashlib.sha256(read_bytes(self.source.photo(i))).digest()
            mark = max(1, int.from_bytes(digest[:8], "little") >> 1)
            if not self.describe:
                return Scanned(i, mark, None)
            ids = self.source.sources(i).arrays["ids"]
            layout = layout_descriptor(ids, self.classes, ignore=self.source.ignore)
            return Scanned(i, mark, layout)
        except (BadInput, OSError):  # the writing pass says what is wrong
            empty = np.zeros(self.width, np.float32) if self.describe else None
            return Scanned(i, 0, empty)


def scan_all(
    source: Source,
    splits: np.ndarray,
    scanner: Scanner,
    store: DescriptorStore | None,
    workers: int,
) -> Scan:
    """Read every item once; layout descriptors go into the store in the order of the items."""
    scan = Scan(np.zeros(len(source), np.int64), splits)
    for batch in read_in_order(scanner, cut(range(len(source)), BATCH), workers):
        for item in batch:
            scan.marks[item.i] = item.mark
        if store is not None:
            store.append(np.stack([item.layout for item in batch if item.layout is not None]))
    return scan
