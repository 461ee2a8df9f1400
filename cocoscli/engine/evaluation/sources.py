"""Where the label maps and photos are that an output folder's results are compared with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cocoscli.data.colors import ColorTable, read_color_table
from cocoscli.data.conditions import CONDITIONS, GLASSES
from cocoscli.data.images import IMAGE_SUFFIXES, Size, read_labels, read_photo
from cocoscli.data.inputs import ShardInputs, open_shards
from cocoscli.data.layouts import LAYOUTS
from cocoscli.data.layouts.layout import Layout
from cocoscli.data.reading import ConditionReader
from cocoscli.data.shards import is_shards
from cocoscli.data.walking import find_stem
from cocoscli.data.wording import shown
from cocoscli.engine.items import find_condition, find_exemplars
from cocoscli.engine.plan import content_name
from cocoscli.errors import BadInput, CocosError

MAX_CLASSES = 65536


class Inputs(Protocol):
    """What is known of the inputs of a run, by their keys."""

    def labels(self, key: str, size: Size) -> np.ndarray | None:
        """(H,W) class ids; None where this kind of input has none. Raises BadInput."""
        ...

    def photo(self, key: str, size: Size) -> np.ndarray | None:
        """(H,W,3) uint8; None where there is none. Raises BadInput."""
        ...

    def condition(self, reader: ConditionReader, key: str, size: Size) -> np.ndarray:
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

    def photo(self, key: str, size: Size) -> np.ndarray | None:
        path = self.photo_path(key)
        return None if path is None else read_photo(path, size)

    def condition(self, reader: ConditionReader, key: str, size: Size) -> np.ndarray:
        return reader.read(self.root / key, size)

    def photo_path(self, key: str) -> Path | None:
        """The photo of an input; None where there is none."""
        return self.layout.photo(self.root / key)


@dataclass(frozen=True)
class SampleInputs:
    """Inputs that are samples of prepared shards."""

    shards: ShardInputs
    places: dict[str, int]
    layout: Layout

    def labels(self, key: str, size: Size) -> np.ndarray | None:
        if not CONDITIONS[self.layout.kind].is_labels:
            return None
        reader = ConditionReader(self.layout, MAX_CLASSES, None)
        return flat_ids(self.shards.condition(self._place(key), reader, size))

    def photo(self, key: str, size: Size) -> np.ndarray | None:
        return self.shards.photo(self._place(key), size)

    def condition(self, reader: ConditionReader, key: str, size: Size) -> np.ndarray:
        return self.shards.condition(self._place(key), reader, size)

    def _place(self, key: str) -> int:
        if key not in self.places:
            raise BadInput(f"{shown(key)}: not among the samples of {self.shards.root}.")
        return self.places[key]


def flat_ids(condition: np.ndarray) -> np.ndarray:
    """A condition array of label maps (P,H,W) -> (H,W) ids, glasses over what is beneath."""
    if len(condition) == 1:
        return condition[0]
    return np.where(condition[1] > 0, GLASSES, condition[0])


def read_ids(
    layout: Layout, item: Path, size: Size, colors: ColorTable | None
) -> np.ndarray | None:
    """The class ids (H,W) of an item; None where the layout has no label maps. Raises BadInput."""
    if not CONDITIONS[layout.kind].is_labels:
        return None
    return flat_ids(layout.read(item, size, colors))


@dataclass(frozen=True)
class Sources:
    """Reads what the results of one run are compared with."""

    inputs: Inputs
    layout: Layout
    exemplar_root: Path
    exemplar_condition: Path | None
    colors: ColorTable | None
    class_names: dict[int, str]
    ignore: int | None
    real: Path | None = None
    """Photos by the stems of the inputs, instead of the inputs' own."""
    labels: Path | None = None
    """Label maps by the same stems, instead of the inputs' own."""
    exemplar_labels: Path | None = None
    truth: Path | None = None
    """Exact renderings by the stems of the inputs."""

    def input_labels(self, key: str, size: Size) -> np.ndarray | None:
        """(H,W) ids of an input's label map; None where the run has none. Raises BadInput."""
        if self.labels is not None:
            return read_labels(_found(self.labels, key, "label map"), size, self.colors)
        return self.inputs.labels(key, size)

    def exemplar_ids(self, name: str, size: Size) -> np.ndarray | None:
        """(H,W) ids of an exemplar's label map; None where the run has none. Raises BadInput."""
        if self.exemplar_labels is not None:
            return read_labels(_found(self.exemplar_labels, name, "label map"), size, self.colors)
        if not CONDITIONS[self.layout.kind].is_labels:
            return None
        photo = self.exemplar_root / name
        item = self.layout.item_for_photo(photo, self.exemplar_condition, self.exemplar_root)
        if item is None:
            raise BadInput(f"{shown(photo)}: no label map of this exemplar.")
        return read_ids(self.layout, item, size, self.colors)

    def exemplar_condition_of(self, reader: ConditionReader, name: str, size: Size) -> np.ndarray:
        """An exemplar's condition array (P,H,W) as a network takes it. Raises BadInput."""
        photo, root = self.exemplar_root / name, self.exemplar_root
        given = self.exemplar_condition
        return reader.read(find_condition(self.layout, photo, root, given, "exemplar"), size)

    def exemplar(self, name: str, size: Size) -> np.ndarray:
        """(H,W,3) uint8. Raises BadInput."""
        return read_photo(self.exemplar_root / name, size)

    def photo(self, key: str, size: Size) -> np.ndarray | None:
        """The real photo of an input; None where the run has none. Raises BadInput."""
        if self.real is not None:
            return read_photo(_found(self.real, key, "real photo"), size)
        return self.inputs.photo(key, size)

    def true_image(self, key: str, size: Size) -> np.ndarray | None:
        """The exact rendering of a result; None where no --truth is given. Raises BadInput."""
        if self.truth is None:
            return None
        return read_photo(_found(self.truth, key, "truth"), size)


def _found(folder: Path, key: str, what: str) -> Path:
    """The file of a stem below a folder: at the key's own path, or by its name alone."""
    path = Path(key)
    for parent in (folder / path.parent, folder):
        if found := find_stem(parent, path.stem, IMAGE_SUFFIXES):
            return found
    raise BadInput(f"{shown(folder)}: no {what} of {shown(key)}.")


@dataclass(frozen=True, kw_only=True)
class Named:
    """Folders that the user named."""

    real: Path | None = None
    labels: Path | None = None
    exemplar_labels: Path | None = None
    truth: Path | None = None

    def check(self) -> None:
        """CocosError where one of them is no folder."""
        for name in ("real", "labels", "exemplar_labels", "truth"):
            path = getattr(self, name)
            if path is not None and not os.path.isdir(path):
                flag = name.replace("_", "-")
                raise CocosError(f"--{flag} {shown(path)}: no such folder.", "Give a folder.")


def find_sources(settings: dict[str, Any], named: Named) -> Sources:
    """From the settings of a run of `cocos translate`. Raises CocosError."""
    named.check()
    root = Path(settings["inputs"])
    layout = LAYOUTS.get(settings["layout"])
    if layout is None:
        raise CocosError(f"{shown(settings['layout'])}: a layout that is not known.")
    table = content_name(settings.get("colors", ""))
    colors = read_color_table(Path(table)) if table else None
    if os.path.isdir(root) and not is_shards(str(root)):
        layout = layout.at(root)
    exemplar_root, _ = find_exemplars(settings["exemplar"], layout)
    given, ignore = settings.get("exemplar_condition"), settings.get("ignore_label", 255)
    exemplar_labels = named.exemplar_labels
    if exemplar_labels is None and not CONDITIONS[layout.kind].is_labels:
        exemplar_labels = named.labels
    return Sources(
        inputs=_inputs(root, layout, colors),
        layout=layout,
        exemplar_root=exemplar_root,
        exemplar_condition=Path(given) if given else None,
        colors=colors,
        class_names=layout.class_names(_dataset(root)),
        ignore=None if ignore < 0 else ignore,
        real=named.real,
        labels=named.labels,
        exemplar_labels=exemplar_labels,
        truth=named.truth,
    )


def _inputs(root: Path, layout: Layout, colors: ColorTable | None) -> Inputs:
    if is_shards(str(root)):
        shards = open_shards(str(root))
        return SampleInputs(shards, {name: i for i, name in enumerate(shards.names)}, layout)
    return FolderInputs(root, layout, colors)


def _dataset(root: Path) -> Path:
    """The folder that tells class names: the root, or the one above its label maps."""
    return root if os.path.isfile(root / "labels.json") else root.parent
