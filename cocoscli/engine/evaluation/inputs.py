"""What is known of the inputs and exemplars of results: files, samples of shards, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from cocoscli.data.colors import ColorTable
from cocoscli.data.conditions import CONDITIONS, GLASSES
from cocoscli.data.images import Size, open_photo, read_photo
from cocoscli.data.inputs import ShardInputs
from cocoscli.data.layouts.layout import Layout
from cocoscli.data.reading import ConditionReader
from cocoscli.data.shards import Sample
from cocoscli.data.wording import shown
from cocoscli.engine.items import find_condition
from cocoscli.errors import BadInput

MAX_CLASSES = 65536
STORED = "#exemplar"
"""What follows the key of a sample in the name of its own exemplar."""


class Inputs(Protocol):
    """What is known of the inputs of a run, by their keys."""

    def labels(self, key: str, size: Size) -> np.ndarray | None:
        """(H,W) class ids; None where this kind of input has none. Raises BadInput."""
        ...

    def has_photo(self, key: str) -> bool: ...

    def photo(self, key: str, size: Size) -> np.ndarray | None:
        """(H,W,3) uint8; None where there is none. Raises BadInput."""
        ...

    def condition(self, reader: ConditionReader, key: str, size: Size | None) -> np.ndarray:
        """The condition array (P,H,W) as a network takes it. Raises BadInput."""
        ...

    def file_size(self, key: str) -> Size:
        """(width, height) of the file, in whose pixels points are. Raises BadInput."""
        ...


class Exemplars(Protocol):
    """What is known of the exemplars of a run, by their names."""

    def photo(self, name: str) -> Image.Image:
        """The photo at its own size. Raises BadInput."""
        ...

    def labels(self, name: str, size: Size) -> np.ndarray | None:
        """(H,W) class ids; None where this kind of input has none. Raises BadInput."""
        ...

    def condition(self, reader: ConditionReader, name: str, size: Size) -> np.ndarray:
        """The condition array (P,H,W) as a network takes it. Raises BadInput."""
        ...


@dataclass(frozen=True)
class FolderInputs:
    """Inputs that are files below a root."""

    root: Path
    layout: Layout
    colors: ColorTable | None

    def labels(self, key: str, size: Size) -> np.ndarray | None:
        return read_ids(self.layout, self.root / key, size, self.colors)

    def has_photo(self, key: str) -> bool:
        return self.layout.photo(self.root / key) is not None

    def photo(self, key: str, size: Size) -> np.ndarray | None:
        path = self.layout.photo(self.root / key)
        return None if path is None else read_photo(path, size)

    def condition(self, reader: ConditionReader, key: str, size: Size | None) -> np.ndarray:
        return reader.read(self.root / key, size)

    def file_size(self, key: str) -> Size:
        return self.layout.native_size(self.root / key)


@dataclass(frozen=True)
class SampleInputs:
    """Inputs that are samples of prepared shards."""

    shards: ShardInputs
    places: dict[str, int]
    layout: Layout

    def labels(self, key: str, size: Size) -> np.ndarray | None:
        return sample_ids(self, self.layout, key, size)

    def has_photo(self, key: str) -> bool:
        return True

    def photo(self, key: str, size: Size) -> np.ndarray | None:
        return self.shards.photo(self.place(key), size)

    def condition(self, reader: ConditionReader, key: str, size: Size | None) -> np.ndarray:
        return self.shards.condition(self.place(key), reader, size)

    def file_size(self, key: str) -> Size:
        return self.shards.file_size(self.place(key), None)

    def place(self, key: str) -> int:
        """The number of a sample. Raises BadInput."""
        if key not in self.places:
            raise BadInput(f"{shown(key)}: not among the samples of {self.shards.root}.")
        return self.places[key]


@dataclass(frozen=True)
class NoInputs:
    """Inputs of results that nothing is known of but their names."""

    def labels(self, key: str, size: Size) -> np.ndarray | None:
        return None

    def has_photo(self, key: str) -> bool:
        return False

    def photo(self, key: str, size: Size) -> np.ndarray | None:
        return None

    def condition(self, reader: ConditionReader, key: str, size: Size | None) -> np.ndarray:
        raise _unknown(key)

    def file_size(self, key: str) -> Size:
        raise _unknown(key)


def _unknown(key: str) -> BadInput:
    return BadInput(f"{shown(key)}: a result alone, whose input is not known.")


@dataclass(frozen=True)
class FolderExemplars:
    """Exemplars that are photos below a root, their conditions in the layout's place."""

    root: Path
    layout: Layout
    given: Path | None
    """What `--exemplar-condition` named."""
    colors: ColorTable | None

    def photo(self, name: str) -> Image.Image:
        return open_photo(self.root / name)

    def labels(self, name: str, size: Size) -> np.ndarray | None:
        if not CONDITIONS[self.layout.kind].is_labels:
            return None
        return read_ids(self.layout, self._item(name), size, self.colors)

    def condition(self, reader: ConditionReader, name: str, size: Size) -> np.ndarray:
        return reader.read(self._item(name), size)

    def _item(self, name: str) -> Path:
        return find_condition(self.layout, self.root / name, self.root, self.given, "exemplar")


@dataclass(frozen=True)
class StoredExemplars:
    """The best exemplar that prepared samples hold, by the names of `stored_name`."""

    inputs: SampleInputs

    def photo(self, name: str) -> Image.Image:
        return open_photo(Path(name), self._sample(name).by_name()["image"][1])

    def labels(self, name: str, size: Size) -> np.ndarray | None:
        return sample_ids(self, self.inputs.layout, name, size)

    def condition(self, reader: ConditionReader, name: str, size: Size) -> np.ndarray:
        return reader.read_sample(self._sample(name), size)

    def _sample(self, name: str) -> Sample:
        """The exemplar as a sample of its own. Raises BadInput."""
        key = name.removesuffix(STORED)
        parts = {"exemplar.0": "image", "exemplar_condition.0": "condition"}
        whole = self.inputs.shards.shards.sample(self.inputs.place(key), tuple(parts))
        found = whole.by_name()
        if "exemplar.0" not in found:
            raise BadInput(f"{shown(key)}: no exemplar was found for it when it was prepared.")
        members = {f"{parts[n]}.{suffix}": data for n, (suffix, data) in found.items()}
        return Sample(whole.key, members)


def stored_name(key: str) -> str:
    """What the best stored exemplar of a sample is called."""
    return f"{key}{STORED}"


def flat_ids(condition: np.ndarray) -> np.ndarray:
    """A condition array of label maps (P,H,W) -> (H,W) ids, glasses over what is beneath."""
    if len(condition) == 1:
        return condition[0]
    return np.where(condition[1] > 0, GLASSES, condition[0])


def sample_ids(
    samples: SampleInputs | StoredExemplars, layout: Layout, name: str, size: Size
) -> np.ndarray | None:
    """The class ids (H,W) of a sample's condition; None where the layout has no label maps. Raises
    BadInput."""
    if not CONDITIONS[layout.kind].is_labels:
        return None
    return flat_ids(samples.condition(ConditionReader(layout, MAX_CLASSES, None), name, size))


def read_ids(
    layout: Layout, item: Path, size: Size, colors: ColorTable | None
) -> np.ndarray | None:
    """The class ids (H,W) of an item; None where the layout has no label maps. Raises BadInput."""
    if not CONDITIONS[layout.kind].is_labels:
        return None
    return flat_ids(layout.read(item, size, colors))
