"""Where the label maps and photos are that results are compared with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cocoscli.data.colors import ColorTable, read_color_table
from cocoscli.data.conditions import CONDITIONS
from cocoscli.data.images import (
    IMAGE_SUFFIXES,
    Size,
    fitted,
    read_labels,
    read_photo,
)
from cocoscli.data.inputs import open_shards
from cocoscli.data.layouts import LAYOUTS
from cocoscli.data.layouts.layout import Layout
from cocoscli.data.shards import is_shards
from cocoscli.data.walking import find_stem
from cocoscli.data.wording import shown
from cocoscli.engine.evaluation.inputs import (
    Exemplars,
    FolderExemplars,
    FolderInputs,
    Inputs,
    NoInputs,
    SampleInputs,
    StoredExemplars,
)
from cocoscli.engine.items import find_exemplars
from cocoscli.engine.plan import content_name
from cocoscli.errors import BadInput, CocosError


@dataclass(frozen=True)
class Sources:
    """Reads what the results of one run are compared with."""

    inputs: Inputs
    exemplars: Exemplars
    layout: Layout
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
        return self.exemplars.labels(name, size)

    def exemplar(self, name: str, size: Size) -> np.ndarray:
        """(H,W,3) uint8. Raises BadInput."""
        return np.array(fitted(self.exemplars.photo(name), size))

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


def find_sources(settings: Mapping[str, Any], named: Named) -> Sources:
    """From the settings of a run over pairs, done or to be done. Raises CocosError."""
    root = Path(settings["inputs"])
    layout = LAYOUTS.get(settings["layout"])
    if layout is None:
        raise CocosError(f"{shown(settings['layout'])}: a layout that is not known.")
    table = content_name(settings.get("colors", ""))
    colors = read_color_table(Path(table)) if table else None
    if os.path.isdir(root) and not is_shards(str(root)):
        layout = layout.at(root)
    inputs = _inputs(root, layout, colors)
    return _sources(
        inputs, _exemplars(settings, layout, inputs, colors), layout, colors, named,
        layout.class_names(_dataset(root)), settings.get("ignore_label", 255),
    )  # fmt: skip


def plain_sources(
    exemplar: str | None, named: Named
) -> tuple[Sources, Callable[[str], str | None]]:
    """For results that nothing is known of but what the user named, and which exemplar, of a
    folder by its stem, a result has. Raises CocosError."""
    root, names = find_exemplars(exemplar, LAYOUTS["edges"]) if exemplar else (Path(), ())
    found = FolderExemplars(root, LAYOUTS["edges"], None, None)
    by_stem = {os.path.splitext(name)[0]: name for name in names}
    alone = names[0] if exemplar and os.path.isfile(exemplar) else None

    def exemplar_of(result: str) -> str | None:
        return alone or by_stem.get(os.path.splitext(result)[0])

    return _sources(NoInputs(), found, LAYOUTS["labels"], None, named, {}, 255), exemplar_of


def _sources(
    inputs: Inputs,
    exemplars: Exemplars,
    layout: Layout,
    colors: ColorTable | None,
    named: Named,
    class_names: dict[int, str],
    ignore: int,
) -> Sources:
    exemplar_labels = named.exemplar_labels
    if exemplar_labels is None and not CONDITIONS[layout.kind].is_labels:
        exemplar_labels = named.labels
    return Sources(
        inputs=inputs, exemplars=exemplars, layout=layout, colors=colors, class_names=class_names,
        ignore=None if ignore < 0 else ignore, real=named.real, labels=named.labels,
        exemplar_labels=exemplar_labels, truth=named.truth,
    )  # fmt: skip


def _exemplars(
    settings: Mapping[str, Any], layout: Layout, inputs: Inputs, colors: ColorTable | None
) -> Exemplars:
    """Photos of a folder, or where the settings name none the samples' own."""
    if not settings["exemplar"]:
        assert isinstance(inputs, SampleInputs)
        return StoredExemplars(inputs)
    root, _ = find_exemplars(settings["exemplar"], layout)
    given = settings.get("exemplar_condition")
    return FolderExemplars(root, layout, Path(given) if given else None, colors)


def _inputs(root: Path, layout: Layout, colors: ColorTable | None) -> Inputs:
    if is_shards(str(root)):
        shards = open_shards(str(root))
        return SampleInputs(shards, {name: i for i, name in enumerate(shards.names)}, layout)
    return FolderInputs(root, layout, colors)


def _dataset(root: Path) -> Path:
    """The folder that tells class names: the root, or the one above its label maps."""
    return root if os.path.isfile(root / "labels.json") else root.parent
