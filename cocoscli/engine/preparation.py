"""From the options of `cocos prepare` to its work: dataset, splits, exemplars, settings."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cocoscli.data.colors import read_color_table
from cocoscli.data.conditions import CONDITIONS
from cocoscli.data.encoding import FORMATS
from cocoscli.data.filelist import FileList
from cocoscli.data.images import read_photo
from cocoscli.data.layouts import LAYOUTS, detect
from cocoscli.data.layouts.layout import Layout
from cocoscli.data.points import PointFile, read_points
from cocoscli.data.retrieval import Retrieval
from cocoscli.data.scenes import CLASSES, STYLES, write_dataset
from cocoscli.data.storage import below, is_file, is_folder, place
from cocoscli.data.walking import contents
from cocoscli.data.wording import shown
from cocoscli.engine.descriptors import (
    LAYOUT_STORE,
    DescriptorStore,
    open_descriptors,
    photo_descriptors,
)
from cocoscli.engine.exemplars import (
    STRATEGIES,
    drawn,
    from_references,
    nearest,
    of_identity,
)
from cocoscli.engine.features import trained_features
from cocoscli.engine.files import PRIVATE, storage_error
from cocoscli.engine.items import parse_size
from cocoscli.engine.parallel import Batch, cut, read_in_order
from cocoscli.engine.scan import Scan, Source, splits_of
from cocoscli.engine.shardset import Limits
from cocoscli.errors import BadInput, CocosError, UsageError

SCENES = Path("out/scenes-dataset")
SCENE_COUNT = 200
POINTS = "points.csv"
"""Where a dataset's points are looked for."""
FEATURE_SIZE = 224


@dataclass(frozen=True)
class Encoding:
    """How photos are stored."""

    size: tuple[int, int] | None = (286, 286)
    """(width, height); None keeps each photo's own."""
    format: str = "jpg"
    quality: int = 95


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """What the user asked for."""

    source: str | None = None
    generate: int = SCENE_COUNT
    """Scenes, where there is no source."""
    layout: str | None = None
    kind: str | None = None
    keypoints: Path | None = None
    points: Path | None = None
    skeleton: Path | None = None
    subset: str | None = None
    scenes: Path | None = None
    colors: Path | None = None
    classes: int | None = None
    ignore_label: int | None = 255
    size: str = "286"
    format: str = "jpg"
    quality: int = 95
    exemplars: str | None = None
    features: Path | None = None
    identity: str | None = None
    generated: Path | None = None
    top: int = 10
    keep_all: bool = False
    val: float = 0.05
    dedupe: bool = False
    shard_samples: int = 1000
    shard_bytes: int = 10**9
    seed: int = 0


@dataclass
class Preparation:
    """Everything resolved."""

    options: PrepareOptions
    source: Source
    encoding: Encoding
    limits: Limits
    strategy: str
    defaults: list[tuple[str, str, str]] = field(default_factory=list)

    def splits(self) -> np.ndarray:
        """(N,) uint8 indices into SPLITS."""
        return splits_of(self.source, self.options.val, self.options.seed)

    @property
    def compares(self) -> bool:
        """Whether photos must be told apart before the first is written."""
        chosen_by_us = self.strategy in STRATEGIES and self.strategy != "none"
        return chosen_by_us or self.options.dedupe

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the shards."""
        o = self.options
        named = {"layout": self.source.layout.name, "kind": self.source.layout.kind,
                 "source": str(self.source.root), "exemplars": self.strategy}  # fmt: skip
        plain = {name: getattr(o, name) for name in (
            "size", "format", "quality", "top", "keep_all", "val", "dedupe", "shard_samples",
            "shard_bytes", "seed")}  # fmt: skip
        optional = {name: str(getattr(o, name) or "") for name in (
            "keypoints", "points", "skeleton", "subset", "scenes", "colors", "classes", "features",
            "identity", "generated")}  # fmt: skip
        ignore = -1 if o.ignore_label is None else o.ignore_label
        return {**named, **plain, **optional, "ignore_label": ignore, "names": self._names()}

    def _names(self) -> str:
        """The items' number and a hash of their names: another work list is another run."""
        digest = hashlib.sha256()
        for name in self.source.names:
            digest.update(os.fsencode(name) + b"\0")
        return f"{len(self.source)} (sha256 {digest.hexdigest()[:16]})"

    def choose(self, scan: Scan, folder: Path, workers: int) -> Retrieval:
        """All exemplars of every item; `stored` says which travel. Raises CocosError."""
        o, count = self.options, len(self.source)
        if self.strategy == "none":
            return Retrieval.nothing(count)
        if self.strategy == "random":
            return drawn(self.source, scan, o.top, o.seed)
        if self.strategy == "identity":
            return of_identity(self.source, scan, o.top, o.seed, str(o.identity))
        if self.strategy == "layout":
            vectors = open_descriptors(folder / LAYOUT_STORE)
            return nearest(scan, vectors, o.top, "layout", vectors)
        if self.strategy == "features":
            return self._by_features(scan, folder, workers)
        return from_references(self.source, Path(self.strategy))

    def stored(self, chosen: Retrieval) -> Retrieval:
        """The exemplars that are put into the shards."""
        return chosen if self.options.keep_all else chosen.ends()

    def _by_features(self, scan: Scan, folder: Path, workers: int) -> Retrieval:
        o = self.options
        vgg = trained_features(o.features, torch.device("cpu")).module
        stores = {"photos": PhotoReader(self.source, None)}
        if o.generated:
            stores["generated"] = PhotoReader(self.source, o.generated)
        for name, reader in stores.items():
            photos = (photo for batch in read_in_order(reader, cut(range(len(self.source)), 8),
                                                       workers) for photo in batch)  # fmt: skip
            path = folder / PRIVATE / f"features-{name}.npy"
            with DescriptorStore(path, 512, count=0) as store:
                for vector in photo_descriptors(photos, vgg, torch.device("cpu"), 8):
                    store.append(vector[None])
        vectors = open_descriptors(folder / PRIVATE / "features-photos.npy")
        query = "generated" if o.generated else "photo"
        asked = (
            open_descriptors(folder / PRIVATE / "features-generated.npy")
            if o.generated
            else vectors
        )
        return nearest(scan, vectors, o.top, query, asked)


class PhotoReader:
    """Photos for feature networks, or those of the same names in a folder of outputs; grey where
    a photo cannot be read."""

    def __init__(self, source: Source, outputs: Path | None) -> None:
        self.source, self.outputs = source, outputs

    def __getitem__(self, batch: Batch) -> list[np.ndarray]:
        return [self._one(i) for i in batch]

    def _one(self, i: int) -> np.ndarray:
        size = (FEATURE_SIZE, FEATURE_SIZE)
        try:
            if self.outputs is None:
                return read_photo(self.source.photo(i), size)
            name = self.source.names[i]
            places = [self.outputs / f"{name}.{format}" for format in FORMATS]
            places += [(self.outputs / name).with_suffix(f".{format}") for format in FORMATS]
            found = next((place for place in places if place.is_file()), None)
            if found is None:
                raise BadInput(f"{shown(places[0])}: no output for this query.")
            return read_photo(found, size)
        except (BadInput, OSError):
            return np.full((FEATURE_SIZE, FEATURE_SIZE, 3), 127, np.uint8)


def plan_preparation(options: PrepareOptions) -> Preparation:
    """Resolve options: the dataset's layout, its items, the exemplars' strategy."""
    if options.format not in FORMATS:
        raise UsageError(f"--format {options.format}: expected one of {', '.join(FORMATS)}.")
    size = parse_size(options.size)
    defaults: list[tuple[str, str, str]] = []
    root, classes = _root(options, defaults)
    if root == SCENES and options.exemplars is None and options.identity is None:
        options = replace(options, identity=str(root / STYLES))
    layout = _layout(options, root, defaults)
    names = FileList(_names(layout, root))
    if not len(names):
        raise CocosError(f"{shown(root)}: no item is left of it.", "See --subset.")
    colors = read_color_table(options.colors) if options.colors else None
    known = CONDITIONS[layout.kind].channels
    if CONDITIONS[layout.kind].is_labels and known is None:
        named = layout.class_names(root)
        known = options.classes or classes or (max(named) + 1 if named else None)
    ignore = options.ignore_label
    points = _points(options, root, defaults)
    source = Source(layout, root.absolute(), names, colors, known, ignore, points)
    strategy = _strategy(options, layout, defaults)
    encoding = Encoding(size, options.format, options.quality)
    limits = Limits(options.shard_samples, options.shard_bytes)
    return Preparation(options, source, encoding, limits, strategy, defaults)


def _root(options: PrepareOptions, defaults: list[tuple[str, str, str]]) -> tuple[Path, int | None]:
    """The dataset's folder, and its number of classes where it is ours."""
    if options.source is not None:
        root = place(options.source)
        if not options.source or not is_folder(root):
            raise CocosError(
                f"{options.source!r}: no such folder.", "SOURCE is a dataset's folder."
            )
        return root, None
    if Path("data").is_dir():
        defaults.append(("source", "data", "SOURCE"))
        return Path("data"), None
    try:
        write_dataset(SCENES, options.generate)
    except OSError as error:
        raise storage_error(SCENES, error) from None
    defaults.append(("source", f"{options.generate} generated scenes in {SCENES}", "SOURCE"))
    return SCENES, len(CLASSES)


def _points(
    options: PrepareOptions, root: Path, defaults: list[tuple[str, str, str]]
) -> PointFile | None:
    """The points that are known of photos: of a file, or of one that lies at the root."""
    found = root / POINTS
    if options.points is None and is_file(found):
        defaults.append(("points", str(found), "--points"))
        return read_points(found)
    return read_points(options.points) if options.points else None


def _layout(options: PrepareOptions, root: Path, defaults: list[tuple[str, str, str]]) -> Layout:
    if options.layout is None:
        layout = detect(root)
        if layout is None:
            raise CocosError(
                f"{shown(root)}: no known layout; it holds {contents(root)}.",
                f"Give --layout {'|'.join(LAYOUTS)}; see `cocos prepare --help`.",
            )
        defaults.append(("layout", f"{layout.name} (found in {root})", "--layout"))
    elif options.layout in LAYOUTS:
        layout = LAYOUTS[options.layout]
    else:
        raise UsageError(f"--layout {options.layout}: expected one of {', '.join(LAYOUTS)}.")
    asked = {name: getattr(options, name) for name in ("keypoints", "skeleton", "subset", "scenes")}
    layout = layout.configured(**{name: value for name, value in asked.items() if value})
    layout = layout.making(options.kind) if options.kind else layout
    there = any(is_folder(root / folder) for folder in layout.folders)
    if layout.partners and not layout.bare and not there:
        raise CocosError(
            f"{shown(root)}: no {layout.folders[0]}/ for the layout {layout.name}; it holds "
            f"{contents(root)}.",
            layout.expects,
        )
    return layout.at(root)


def _names(layout: Layout, root: Path) -> Iterator[str]:
    for path in layout.walk(root):
        if layout.keeps(path):
            yield below(path, root)


def _strategy(options: PrepareOptions, layout: Layout, defaults: list[tuple[str, str, str]]) -> str:
    labelled = CONDITIONS[layout.kind].is_labels
    if options.exemplars is None:
        strategy = "identity" if options.identity else "layout" if labelled else "random"
        defaults.append(("exemplars", strategy, "--exemplars"))
        return strategy
    if options.exemplars == "layout" and not labelled:
        raise UsageError(
            f"--exemplars layout compares label maps, and layout '{layout.name}' has none.",
            "Give features, identity, random, none or a file of references.",
        )
    if options.exemplars == "identity" and not options.identity:
        raise UsageError("--exemplars identity needs --identity CSV or PATTERN.")
    if options.exemplars not in STRATEGIES and not Path(options.exemplars).is_file():
        raise UsageError(
            f"--exemplars {options.exemplars}: neither one of {', '.join(STRATEGIES)} nor a file."
        )
    return options.exemplars
