"""A result with all that it is compared with: files to arrays, in a decoding process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cocoscli.data.images import Size, read_photo
from cocoscli.data.shards import ShardList
from cocoscli.data.textfiles import once
from cocoscli.data.wording import shown
from cocoscli.engine.evaluation.matching import MatchInput, MatchReader
from cocoscli.engine.evaluation.sources import Sources
from cocoscli.engine.files import safe_name
from cocoscli.engine.manifest import digest
from cocoscli.errors import BadInput

Row = dict[str, Any]
SET_SIZE = (256, 256)
"""What whole sets are compared at."""
TRIES = 64
"""Rows that are looked at for another exemplar."""
MEMBER = ".image.png"
"""What follows a sample's key in the name of its result."""


@dataclass
class Pair:
    """A result, and what it is compared with at its own size; None where that is not known."""

    k: int
    size: Size
    """(width, height) of the result."""
    image: np.ndarray | None
    """(H,W,3) uint8, as all photos; None until the network has drawn it."""
    exemplar: np.ndarray | None
    other: np.ndarray | None
    """The exemplar of another pair."""
    photo: np.ndarray | None
    truth: np.ndarray | None
    labels: np.ndarray | None
    """(H,W) class ids, 255 or more where there is none."""
    exemplar_labels: np.ndarray | None
    match: MatchInput | None = None
    """What it is matched by, where its correspondence is measured."""
    lacking: tuple[tuple[str, str], ...] = ()
    """What could not be read, and why."""

    @property
    def result(self) -> np.ndarray:
        """The image, once there is one."""
        assert self.image is not None
        return self.image


@dataclass(frozen=True)
class ResultReader:
    """Decodes the results of a run, or what they are to be drawn from."""

    folder: Path | None
    """Where they are; None: they are not drawn yet."""
    rows: Sequence[Row]
    sources: Sources
    seed: int = 0
    matches: MatchReader | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, k: int) -> Pair:
        """Result k. Raises BadInput where it, its exemplar or what it is drawn from cannot be
        read."""
        row = self.rows[k]
        key, exemplar = str(row["input"]), row["exemplar"]
        image = None if self.folder is None else read_result(self.folder, row)
        lacking: list[tuple[str, str]] = []
        match = self._match(key, exemplar, lacking)
        if image is not None:
            size = (image.shape[1], image.shape[0])
        else:
            assert match is not None
            size = match.size

        def tried(
            what: str, read: Callable[[str, Size], np.ndarray | None], name: str | None
        ) -> np.ndarray | None:
            try:
                return None if name is None else read(name, size)
            except BadInput as error:
                lacking.append((what, error.message))
                return None

        sources = self.sources
        return Pair(
            k, size, image,
            exemplar=None if exemplar is None else sources.exemplar(exemplar, size),
            other=tried("another pair's exemplar", sources.exemplar, self.other(k)),
            photo=tried("the input's real photo", sources.photo, key),
            truth=tried("the truth", sources.true_image, key),
            labels=tried("the input's label map", sources.input_labels, key),
            exemplar_labels=tried("the exemplar's label map", sources.exemplar_ids, exemplar),
            match=match,
            lacking=tuple(lacking),
        )  # fmt: skip

    def _match(
        self, key: str, exemplar: str | None, lacking: list[tuple[str, str]]
    ) -> MatchInput | None:
        """What a pair is matched by; where results are at hand it may lack."""
        if self.matches is None or exemplar is None:
            return None
        try:
            return self.matches.read(key, exemplar)
        except BadInput as error:
            if self.folder is None:
                raise
            lacking.append(("what the pair is matched by", error.message))
            return None

    def other(self, k: int) -> str | None:
        """Another row's exemplar, drawn by the seed; None where there is no other."""
        own = self.rows[k]["exemplar"]
        rng = np.random.default_rng([self.seed, digest(str(self.rows[k]["key"]))])
        for at in rng.integers(0, len(self.rows), TRIES):
            if (name := self.rows[int(at)]["exemplar"]) not in (own, None):
                return None if own is None else str(name)
        return None


def read_result(folder: Path, row: Row) -> np.ndarray:
    """The image (H,W,3) uint8 that a run has written. Raises BadInput."""
    name = str(row["output"])
    if not row.get("shard"):
        return read_photo(folder / safe_name(name))
    member = name.rpartition("/")[2]
    data = _member(folder / safe_name(str(row["shard"])), name)
    return read_photo(Path(member), data=data)


def _member(shard: Path, output: str) -> bytes:
    """The bytes of a result in a shard of results. Raises BadInput."""
    if not os.path.isfile(shard):
        raise BadInput(f"{shown(shard)}: no such shard.")
    samples, places = _samples(shard)
    key = output.removeprefix(f"{shard.name}/").removesuffix(MEMBER)
    if key not in places:
        raise BadInput(f"{shown(shard)}: no sample {shown(key)}.")
    return samples.sample(places[key], ("image",)).members[MEMBER[1:]]


@once
def _samples(shard: Path) -> tuple[ShardList, dict[str, int]]:
    """The samples of a shard, and their numbers by key."""
    samples = ShardList([shard])
    return samples, {samples.sample_key(i): i for i in range(len(samples))}


@dataclass(frozen=True)
class PhotoReader:
    """Decodes the real photos of a set, at `SET_SIZE`."""

    names: Sequence[str]
    sources: Sources | None = None
    """Reads the inputs' own photos, by key; None: names are files."""

    def __len__(self) -> int:
        return len(self.names)

    def load(self, k: int) -> np.ndarray:
        """Photo k, (256,256,3) uint8. Raises BadInput."""
        if self.sources is None:
            return read_photo(Path(self.names[k]), SET_SIZE)
        photo = self.sources.photo(self.names[k], SET_SIZE)
        if photo is None:
            raise BadInput(f"{shown(self.names[k])}: no photo of this input.")
        return photo
