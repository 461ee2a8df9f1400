"""The reading side of a run over pairs: files to arrays, in a decoding process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from cocosnet import ModelConfig
from cocosnet.config import MINIMUM, MULTIPLE, STRIDE
from PIL import Image

from cocoscli.data.conditions import CONDITIONS
from cocoscli.data.encoding import SHARDS, image_format
from cocoscli.data.images import Size, fitted, image_size, is_image, open_photo
from cocoscli.data.inputs import Inputs, ShardInputs
from cocoscli.data.layouts.layout import Layout
from cocoscli.data.pairs import Nearest, Pairing, label_grid
from cocoscli.data.reading import ConditionReader
from cocoscli.data.shards import join_keys
from cocoscli.data.storage import below, is_file, is_folder, place
from cocoscli.data.walking import walk_files
from cocoscli.data.wording import shown
from cocoscli.engine.files import file_name
from cocoscli.engine.memory import LARGEST
from cocoscli.errors import BadInput, CocosError, UsageError

RESIDENT = 64
"""Up to this many exemplars are encoded once and kept; more are read with their items."""


def parse_size(text: str) -> Size | None:
    """`256`, `512x384` or `original` (None) -> (width, height). Raises UsageError."""
    if text == "original":
        return None
    parts = text.lower().split("x")
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or any(not MINIMUM <= n <= LARGEST for n in numbers):
        raise UsageError(
            f"--size {text}: expected a side like 256, WIDTHxHEIGHT like 512x384, or original; "
            f"sides from {MINIMUM} to {LARGEST}."
        )
    return numbers[0], numbers[-1]


def multiple(n: int, *, up: bool) -> int:
    """The multiple of 32 that holds n (`up`) or that is nearest, and at least 64."""
    whole = -(-n // MULTIPLE) if up else (n + MULTIPLE // 2) // MULTIPLE
    return max(MINIMUM, whole * MULTIPLE)


def matched_size(size: Size, cells: int | None) -> Size | None:
    """What an image of (width, height) is matched at, where that is smaller than the image: its
    longer side about `cells` of the matching grid."""
    if cells is None or STRIDE * cells >= max(size):
        return None
    width, height = (multiple(round(STRIDE * cells * n / max(size)), up=False) for n in size)
    return (width, height) if max(width, height) < max(size) else None


@dataclass(frozen=True)
class ExemplarImage:
    """A decoded exemplar."""

    photo: np.ndarray
    """(H,W,3) uint8, whose colours are taken."""
    condition: np.ndarray | None
    """(P,H,W) of what is matched, where it is needed."""
    small: np.ndarray | None = None
    """(h,w,3) uint8: the photo at the size that is matched, where that is smaller."""

    @property
    def matched(self) -> np.ndarray:
        """The photo as it is matched."""
        return self.photo if self.small is None else self.small


def exemplar_image(
    photo: Image.Image,
    size: Size,
    cells: int | None,
    condition: Callable[[Size], np.ndarray] | None,
) -> ExemplarImage:
    """An exemplar as networks take it, for results of (width, height).

    `cells` is `--match-size`; `condition` makes the condition array of a size, where it is needed.
    """
    seen = multiple(size[0], up=False), multiple(size[1], up=False)
    small = matched_size(size, cells)
    return ExemplarImage(
        photo=np.array(fitted(photo, seen)),
        condition=condition(small or seen) if condition else None,
        small=np.array(fitted(photo, small)) if small else None,
    )


@dataclass(frozen=True)
class Exemplars:
    """The exemplar photos, and how their conditions are found."""

    root: Path
    names: tuple[str, ...]
    reader: ConditionReader
    given: Path | None
    """`--exemplar-condition`: a file, or a folder with the same stems."""
    size: Size | None
    with_condition: bool
    match_size: int | None = None
    """Cells of the longer side, where matching is done at a smaller size."""

    def __len__(self) -> int:
        return len(self.names)

    def path(self, j: int) -> Path:
        return self.root / self.names[j]

    def item(self, j: int) -> Path:
        """Where the exemplar's condition is read from. Raises BadInput where nothing is."""
        return find_condition(self.reader.layout, self.path(j), self.root, self.given, "exemplar")

    def file_size(self, j: int) -> Size:
        """The (width, height) of the exemplar's file. Raises BadInput."""
        return image_size(self.path(j))

    def read(self, j: int) -> ExemplarImage:
        """Decode an exemplar at a size that networks take. Raises BadInput."""
        photo = open_photo(self.path(j))
        condition = partial(self.reader.read, self.item(j)) if self.with_condition else None
        return exemplar_image(photo, self.size or photo.size, self.match_size, condition)

    def label_maps(self) -> np.ndarray:
        """(E, GRID, GRID): what `nearest` compares. Raises BadInput."""
        maps = (self.reader.read(self.item(j), None)[0] for j in range(len(self)))
        return np.stack([label_grid(labels) for labels in maps])


def find_condition(layout: Layout, photo: Path, root: Path, given: Path | None, what: str) -> Path:
    """Where the condition of a photo, an `exemplar` or `input`, is read from. Raises BadInput.

    `given` is what `--exemplar-condition` or `--input-condition` named.
    """
    found = layout.item_for_photo(photo, given, root)
    if found is None:
        place = f"in {given}" if given else layout.exemplar_place
        raise BadInput(
            f"{shown(photo)}: this {what}'s condition was not found (looked for: {place}).",
            f"Give it with --{what}-condition FILE or FOLDER.",
        )
    return found


def find_exemplars(spec: str, layout: Layout) -> tuple[Path, tuple[str, ...]]:
    """A photo, or a folder of them, walked -> its root and the names below. Raises CocosError.

    Of a dataset's root in the layout, the photos are taken and not its other files.
    """
    root = place(spec)
    if is_file(root):
        return root.absolute().parent, (root.name,)
    if not is_folder(root):
        raise CocosError(
            f"{shown(root)}: no such exemplar.", "--exemplar is a photo or a folder of them."
        )
    folders = layout.partners if layout.items_are_labels else layout.folders
    root = next((root / f for f in folders if is_folder(root / f)), root)
    names = tuple(below(path, root) for path in walk_files(root) if is_image(path))
    if not names:
        raise CocosError(
            f"{shown(root)}: no photos in the exemplar folder.", "Put at least one in it."
        )
    return root.absolute(), names


@dataclass
class Item:
    """A decoded pair: condition (P,H,W) padded to a multiple, its true size, its exemplar."""

    k: int
    input: int
    exemplar: int
    condition: np.ndarray
    """Without any plane where a photo is matched whose condition the network does not take."""
    size: Size
    image: ExemplarImage | None
    """The exemplar itself, where there are too many to keep."""
    photo: np.ndarray | None = None
    """(H,W,3) uint8, padded alike: the input, where it is matched as a photo."""
    small: np.ndarray | None = None
    """(P,h,w): the condition at the size that is matched, where that is smaller; not padded."""


def result_name(key: str, sample_key: str, format: str) -> str:
    """An item's result: a file below the output folder, or a member of a shard."""
    if format == SHARDS:
        return f"{sample_key}.image.{image_format(format)}"
    return file_name(key, format)


@dataclass(frozen=True)
class PairReader:
    """Decodes the items of a run; it is what decoding processes hold."""

    inputs: Inputs | ShardInputs
    exemplars: Exemplars
    pairing: Pairing
    conditions: ConditionReader
    size: Size | None
    as_photos: bool = False
    """Whether inputs are matched as photos, and not by their conditions."""
    input_condition: Path | None = None
    """`--input-condition`: where their conditions are, for networks that take both."""
    match_size: int | None = None
    """As the exemplars have it."""

    def key(self, k: int) -> str:
        i, j = self.pairing.pair(k)
        key = self.inputs.key(i)
        return f"{key}/{self.exemplars.names[j]}" if self.pairing.many and j is not None else key

    def sample_key(self, k: int) -> str:
        """The key of item k's result in a shard: its input's, and its exemplar's after it where
        an input may have several."""
        i, j = self.pairing.pair(k)
        key = self.inputs.sample_key(i)
        if self.pairing.many and j is not None:
            return join_keys(key, self.exemplars.names[j])
        return key

    def output_name(self, k: int, format: str) -> str:
        """Item k's result: a file below the output folder, or a member of a shard."""
        return result_name(self.key(k), self.sample_key(k), format)

    def load(self, k: int) -> Item:
        """Read input k's condition, and its exemplar where it is not kept. Raises BadInput."""
        i, j = self.pairing.pair(k)
        photo = self.inputs.photo(i, self.size) if self.as_photos else None
        condition = self._condition(i, photo)
        if j is None:
            assert isinstance(self.pairing, Nearest)
            j = self.pairing.choose(condition[0])
        height, width = condition.shape[1:]
        image = self.exemplars.read(j) if len(self.exemplars) > RESIDENT else None
        if photo is not None:
            photo = pad(photo.transpose(2, 0, 1)).transpose(1, 2, 0)
        matched = matched_size((width, height), self.match_size)
        small = self.inputs.condition(i, self.conditions, matched) if matched else None
        return Item(k, i, j, pad(condition), (width, height), image, photo, small)

    def _condition(self, i: int, photo: np.ndarray | None) -> np.ndarray:
        """Input i's condition array; of a photo whose condition is not needed, no planes."""
        if photo is None:
            return self.inputs.condition(i, self.conditions, self.size)
        height, width = photo.shape[:2]
        if not self.exemplars.with_condition:
            return np.empty((0, height, width), np.uint8)
        if isinstance(self.inputs, Inputs):
            return self.conditions.read(self.input_item(i), (width, height))
        return self.inputs.condition(i, self.conditions, (width, height))

    def input_item(self, i: int) -> Path:
        """Where the condition of an input that is a photo is read from. Raises BadInput."""
        assert isinstance(self.inputs, Inputs)
        root, layout = self.inputs.root, self.conditions.layout
        return find_condition(layout, self.inputs.path(i), root, self.input_condition, "input")

    def input_size(self, i: int) -> Size:
        """The (width, height) of the file that input i is. Raises BadInput."""
        return self.inputs.file_size(i, None if self.as_photos else self.conditions.layout)


def pad(array: np.ndarray) -> np.ndarray:
    """(P,H,W) -> its edges repeated to the right and below, up to multiples of 32."""
    height, width = array.shape[1:]
    below, right = multiple(height, up=True) - height, multiple(width, up=True) - width
    if not below and not right:
        return array
    return np.pad(array, ((0, 0), (0, below), (0, right)), mode="edge")


def matching_layout(kind: str, layouts: dict[str, Layout]) -> str:
    """The layout whose conditions weights of this kind take."""
    for name, layout in layouts.items():
        if layout.kind == kind:
            return name
    raise CocosError(f"no layout makes conditions of kind {kind!r}.")


def check_layout(layout: Layout, kind: str, config: ModelConfig) -> None:
    """UsageError where a layout's condition is not what the weights take."""
    condition = CONDITIONS[layout.kind]
    known = CONDITIONS.get(kind)
    same = layout.kind == kind or (condition.kind == "labels" and known and known.is_labels
                                   and known.planes == 1)  # fmt: skip
    if not same or condition.channels not in (None, config.channels):
        raise UsageError(
            f"the weights take {kind} conditions of {config.channels} planes, but layout "
            f"'{layout.name}' makes {layout.kind}"
            f"{f' of {condition.channels}' if condition.channels else ''}.",
            "Give weights of that task, or the --layout that fits them.",
        )


def key_lines(
    reader: PairReader, output_name: Callable[[int], str], count: int
) -> Iterator[tuple[str, str, str]]:
    """(input, exemplar, result) names of the first items, for a dry run."""
    for k in range(min(count, len(reader.pairing))):
        i, j = reader.pairing.pair(k)
        name = "by its labels" if j is None else reader.exemplars.names[j]
        yield reader.inputs.key(i), name, output_name(k)
