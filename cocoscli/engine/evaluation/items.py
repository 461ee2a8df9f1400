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
from cocoscli.engine.manifest import DONE, MANIFEST, digest, latest_rows
from cocoscli.engine.output import RUN, OutputFolder
from cocoscli.errors import BadInput, CocosError

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
    image: np.ndarray
    """(H,W,3) uint8, as all photos."""
    exemplar: np.ndarray
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


@dataclass(frozen=True)
class ResultReader:
    """Decodes the results of a run."""

    folder: Path
    rows: Sequence[Row]
    sources: Sources
    seed: int = 0
    matches: MatchReader | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def load(self, k: int) -> Pair:
        """Result k. Raises BadInput where it, or its exemplar, cannot be read."""
        row = self.rows[k]
        image = self.result(row)
        size = (image.shape[1], image.shape[0])
        key, exemplar = str(row["input"]), str(row["exemplar"])
        lacking: list[tuple[str, str]] = []

        def tried(
            what: str, read: Callable[[str, Size], np.ndarray | None], name: str
        ) -> np.ndarray | None:
            try:
                return read(name, size)
            except BadInput as error:
                lacking.append((what, error.message))
                return None

        match = None
        if self.matches is not None:
            try:
                match = self.matches.read(key, exemplar, size)
            except BadInput as error:
                lacking.append(("what the pair is matched by", error.message))
        other = self.other(k)
        return Pair(
            k, image,
            exemplar=self.sources.exemplar(exemplar, size),
            other=None
            if other is None
            else tried("another pair's exemplar", self.sources.exemplar, other),
            photo=tried("the input's real photo", self.sources.photo, key),
            truth=tried("the truth", self.sources.true_image, key),
            labels=tried("the input's label map", self.sources.input_labels, key),
            exemplar_labels=tried("the exemplar's label map", self.sources.exemplar_ids, exemplar),
            match=match,
            lacking=tuple(lacking),
        )  # fmt: skip

    def result(self, row: Row) -> np.ndarray:
        """The image (H,W,3) uint8 that a run has written. Raises BadInput."""
        name = str(row["output"])
        if not row.get("shard"):
            return read_photo(self.folder / safe_name(name))
        member = name.rpartition("/")[2]
        data = _member(self.folder / safe_name(str(row["shard"])), name)
        return read_photo(Path(member), data=data)

    def other(self, k: int) -> str | None:
        """Another row's exemplar, drawn by the seed; None where all have the same."""
        own = self.rows[k]["exemplar"]
        rng = np.random.default_rng([self.seed, digest(str(self.rows[k]["key"]))])
        for at in rng.integers(0, len(self.rows), TRIES):
            if (name := self.rows[int(at)]["exemplar"]) != own:
                return str(name)
        return None


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


def read_run(folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """The finished rows of an output folder of `cocos translate`, sorted by input, and its
    settings. Raises CocosError."""
    wanted = "Give the --output of a run of `cocos translate`."
    for name in (MANIFEST, RUN):
        if not os.path.isfile(folder / name):
            raise CocosError(f"{shown(folder)}: no {name} in it.", wanted)
    settings = OutputFolder(folder).settings()
    if settings.get("command") != "translate":
        raise CocosError(
            f"{shown(folder)}: made by `cocos {settings.get('command')}`; expected translations.",
            wanted,
        )
    rows = [row for row in latest_rows(folder) if row.get("status") == DONE]
    if not rows:
        raise CocosError(f"{shown(folder)}: no finished result in its manifest.", wanted)
    return sorted(rows, key=lambda row: (row["input"], row["key"])), settings


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
