"""Layouts of label maps: any dataset's, and ADE20K's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cocoscli.data.class_names import ade20k_names, class_names
from cocoscli.data.images import (
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    ColorTable,
    Size,
    read_labels,
)
from cocoscli.data.layouts.layout import Layout
from cocoscli.data.sources import Sources
from cocoscli.data.storage import is_file, is_folder
from cocoscli.data.textfiles import once, read_lines
from cocoscli.data.walking import find_stem, twin_folders
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput, CocosError

SCENES = "sceneCategories.txt"


class LabelLayout(Layout):
    """Label maps below masks/, photos of the same stem below images/."""

    name = "labels"
    kind = "labels"
    expects = (
        "The layout labels expects a folder of label maps (PNG, the pixel value is the class id), "
        "or a folder that holds masks/ and, for the photos, images/ with the same stems."
    )
    exemplar_place = (
        "the same stem in masks/ beside images/, in <name>_masks/ beside the folder <name>/ "
        "of the exemplars, or as .png beside an exemplar that is no PNG"
    )
    folders = ("masks",)
    partners = ("images",)
    suffixes: tuple[str, ...] = LABEL_SUFFIXES

    def is_item(self, path: Path, base: Path) -> bool:
        """Among masks every image is one: a JPEG is refused there and not passed over."""
        masks = base.name == "masks" or base.name.endswith("_masks")
        return path.suffix.lower() in (IMAGE_SUFFIXES if masks else self.suffixes)

    def sources(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> Sources:
        ids = read_labels(item, size, colors)
        return Sources(self.kind, {"ids": ids}, (ids.shape[1], ids.shape[0]))

    def photo(self, item: Path) -> Path | None:
        for folder in twin_folders(item, self._photo_folders):
            found = find_stem(folder, item.stem, IMAGE_SUFFIXES)
            if found is not None:
                return found
        beside = [suffix for suffix in IMAGE_SUFFIXES if suffix not in self.suffixes]
        return find_stem(item.parent, item.stem, beside)

    def _own_item(self, photo: Path) -> Path | None:
        for folder in twin_folders(photo, self._mask_folders):
            found = find_stem(folder, photo.stem, self.suffixes)
            if found is not None:
                return found
        beside = find_stem(photo.parent, photo.stem, (".png",))
        return None if beside is None or self._is_photo_itself(beside, photo) else beside

    def _photo_folders(self, name: str) -> Sequence[str]:
        if name == "masks":
            return ("images",)
        plain = name.removesuffix("_masks")
        return () if plain == name else (plain, f"{plain}s")

    def _mask_folders(self, name: str) -> Sequence[str]:
        first = ("masks",) if name == "images" else ()
        single = (f"{name.removesuffix('s')}_masks",) if name.endswith("s") else ()
        return (*first, f"{name}_masks", *single)


@dataclass(frozen=True)
class ADE20kLayout(LabelLayout):
    """ADE20K's annotations/<split>/<stem>.png and images/<split>/<stem>.jpg."""

    subset: str | None = None
    """A scene, or a name for those scenes (or pictures) that a list holds."""
    scenes: Path | None = None
    """That list, a name a line; else <subset>.txt at the root."""
    root: Path | None = None
    wanted: frozenset[str] = frozenset()
    """The scenes and names of the subset; found by `at`."""

    name = "ade20k"
    kind = "ade20k"
    expects = (
        "The layout ade20k expects annotations/<split>/*.png (pixel values 0 to 150) and "
        "images/<split>/*.jpg with the same stems, or a folder of such annotations. A subset "
        "(outdoor) needs sceneCategories.txt (rows `name scene`) and outdoor.txt (a scene, or a "
        "name, a line) beside them, or annotations/<split>/outdoor/."
    )
    exemplar_place = (
        "the same stem as .png below annotations/ in the place of images/, or beside the exemplar"
    )
    folders = ("annotations",)
    suffixes = (".png",)

    def is_item(self, path: Path, base: Path) -> bool:
        return path.suffix.lower() in self.suffixes

    def at(self, root: Path) -> Layout:
        """With the list of its subset. Raises CocosError where nothing tells the subset."""
        if self.subset is None:
            return self
        layout = replace(self, root=root, wanted=self._find_wanted(root, self.subset))
        base = self.base(root)
        folders = (folder / self.subset for folder in (base, *base.glob("*/")))
        if layout.wanted or any(map(is_folder, folders)):
            return layout
        raise CocosError(
            f"{shown(root)}: nothing tells which items are {self.subset}: no {self.subset}.txt, no "
            f"folder {self.subset}/ of annotations, no such scene in {SCENES}.",
            f"Give a list of the scenes that are {self.subset}, one a line, with {SCENES} "
            "(rows `name scene`) at the root; or a list of the pictures' names.",
        )

    def keeps(self, item: Path) -> bool:
        if self.subset is None:
            return True
        assert self.root is not None, "keeps() is asked of the layout that at() gave"
        folders = item.parent.parts
        if not self.wanted:
            return self.subset in folders
        if item.stem in self.wanted or not self.wanted.isdisjoint(folders):
            return True
        scenes = _scenes(self.root)
        if scenes and item.stem not in scenes:
            raise BadInput(f"{shown(item)}: its scene is not known.", f"Add it to {SCENES}.")
        return scenes.get(item.stem) in self.wanted

    def class_names(self, root: Path) -> dict[int, str]:
        return class_names(root) or ade20k_names()

    def _find_wanted(self, root: Path, subset: str) -> frozenset[str]:
        path = self.scenes or root / f"{subset}.txt"
        if self.scenes or is_file(path):
            return frozenset(Path(line).stem for line in read_lines(path))
        return frozenset([subset] if subset in _scenes(root).values() else [])

    def _photo_folders(self, name: str) -> Sequence[str]:
        return ("images",) if name == "annotations" else ()

    def _mask_folders(self, name: str) -> Sequence[str]:
        return ("annotations",) if name == "images" else ()


def _scenes(root: Path) -> dict[str, str]:
    """The scene of each picture; {} where no file tells."""
    return _read_scenes(root / SCENES) if is_file(root / SCENES) else {}


@once
def _read_scenes(path: Path) -> dict[str, str]:
    """The scene of each picture: rows `name scene`."""
    rows = (line.split() for line in read_lines(path))
    return {Path(row[0]).stem: row[1] for row in rows if len(row) > 1}
