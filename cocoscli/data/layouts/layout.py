"""What all folder layouts have in common: walking items, finding what belongs to a photo."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from cocoscli.data.building import build_condition
from cocoscli.data.class_names import class_names
from cocoscli.data.conditions import CONDITIONS
from cocoscli.data.images import IMAGE_SUFFIXES, ColorTable, Size, image_size, read_photo
from cocoscli.data.sources import Sources
from cocoscli.data.splits import splitter
from cocoscli.data.storage import exists, is_file, is_folder
from cocoscli.data.walking import contents, find_stem, tails, walk_files
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput, CocosError, UsageError


class Layout(ABC):
    """How one dataset lies in folders. An item's condition array is of the kind `kind`."""

    name: str
    kind: str  # of conditions.CONDITIONS
    expects: str  # the folders, in words
    exemplar_place: str  # where the condition of an exemplar photo is looked for, in words
    folders: tuple[str, ...] = ()  # where the items of a dataset's root lie, the first that exists
    partners: tuple[str, ...] = ()  # other folders of a root; with them one of `folders` must be
    bare = False  # whether a root with none of these folders will do
    suffixes: tuple[str, ...] = (".png",)  # of items
    items_are_labels = True  # otherwise items are photos
    kinds: tuple[str, ...] = ()  # of conditions that its files can make, where there are several

    def configured(self, **options: object) -> Layout:
        """This layout with some of its fields set; UsageError names one that it does not have."""
        taken: list[str] = [field.name for field in fields(self)] if is_dataclass(self) else []
        for name in options:
            if name not in taken:
                raise UsageError(f"the layout {self.name} takes no {name}.")
        return cast(Layout, replace(cast(Any, self), **options)) if options else self

    def making(self, kind: str) -> Layout:
        """This layout, but its conditions are of another kind. Raises UsageError."""
        if kind == self.kind:
            return self
        if kind not in self.kinds:
            able = ", ".join(self.kinds or (self.kind,))
            raise UsageError(f"the layout {self.name} makes no {kind} conditions, but {able}.")
        return self.configured(kind=kind)

    def at(self, root: Path) -> Layout:
        """This layout as it is for the dataset at `root`: some learn there what they make."""
        return self

    def keeps(self, item: Path) -> bool:
        """Whether an item is of the subset that is asked for. Raises CocosError if unknown."""
        return True

    def splits(self, root: Path) -> Callable[[Path], str | None]:
        """What the dataset at `root` says of the splits of its items; see `splits.splitter`."""
        return splitter(root, self.kind)

    def class_names(self, root: Path) -> dict[int, str]:
        """The names of class ids, of the dataset at `root` or of the kind; {} where unknown."""
        condition = CONDITIONS[self.kind]
        if not condition.is_labels:
            return {}
        return class_names(root) or dict(enumerate(condition.classes))

    def walk(self, root: Path) -> Iterator[Path]:
        """Every item below `root` (or `root` itself, if a file) in sorted order, streaming.

        Raises CocosError where `root` is missing, lacks the folder it should have, or (at the
        end) holds no item.
        """
        if not exists(root):
            raise CocosError(f"{shown(root)}: no such file or folder.", self.expects)
        return self._items(root, self.base(root)) if is_folder(root) else iter((root,))

    def base(self, root: Path) -> Path:
        """The folder below which the items of `root` lie; CocosError where it is missing."""
        for folder in self.folders:
            if is_folder(root / folder):
                return root / folder
        if any(is_folder(root / partner) for partner in self.partners):
            raise CocosError(
                f"{shown(root)}: no folder {self.folders[0]}/ for the layout {self.name}; "
                f"found {contents(root)}.",
                self.expects,
            )
        return root

    def _items(self, root: Path, base: Path) -> Iterator[Path]:
        found = False
        for path in walk_files(base):
            if self.is_item(path, base):
                found = True
                yield path
        if not found:
            raise CocosError(
                f"{shown(base)}: no items of the layout {self.name}; found {contents(base)}.",
                self.expects,
            )

    def is_item(self, path: Path, base: Path) -> bool:
        """Whether a file below `base` is an item, by its name."""
        return path.suffix.lower() in self.suffixes

    @abstractmethod
    def sources(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> Sources:
        """What the item's condition is made from, aligned with its photo at `size`.

        `size` is (width, height); None: the item's own. Raises BadInput.
        """

    def read(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> np.ndarray:
        """The item's condition array at `size` (width, height; None: its own). Raises BadInput."""
        sources = self.sources(item, None if CONDITIONS[self.kind].is_pose else size, colors)
        if not sources.needs_photo:
            return build_condition(sources, None, size)
        photo = self.photo(item)
        if photo is None:
            raise BadInput(f"{shown(item)}: its edges need its photo; there is none.", self.expects)
        pixels = read_photo(photo, sources.size, Image.Resampling.BILINEAR)
        return build_condition(sources, pixels)

    @abstractmethod
    def photo(self, item: Path) -> Path | None:
        """The photo that belongs to an item; None where there is none."""

    def native_size(self, item: Path) -> Size:
        """The item's own (width, height), from its header. Raises BadInput."""
        return image_size(item, upright=not self.items_are_labels)

    @abstractmethod
    def _own_item(self, photo: Path) -> Path | None:
        """The item in the layout's own place for a photo."""

    def item_for_photo(
        self, photo: Path, given: Path | None = None, root: Path | None = None
    ) -> Path | None:
        """The item that the condition of an exemplar photo is read from; None if not found.

        `given` is that item, or a folder that holds it at the photo's path relative to `root`
        (without `root`: at the longest end of the photo's path that is there). Without `given`
        it is looked for in the layout's own place (`exemplar_place`).
        """
        if given is None:
            return self._own_item(photo)
        if not is_folder(given):
            return given if exists(given) else None
        places = [given, *(given / folder for folder in self.folders)]
        for tail in tails(photo, root):
            for place in places:
                for stem in self.stems(photo):
                    found = find_stem(place / tail.parent, stem, self.suffixes)
                    if found is not None and not self._is_photo_itself(found, photo):
                        return found
        return None

    def stems(self, photo: Path) -> tuple[str, ...]:
        """The names without suffix that the item of a photo may have."""
        return (photo.stem,)

    def _is_photo_itself(self, found: Path, photo: Path) -> bool:
        """Whether a PNG photo was found where its label map was looked for."""
        return self.items_are_labels and exists(photo) and found.samefile(photo)


class PhotoLayout(Layout):
    """A layout whose items are photos."""

    suffixes = IMAGE_SUFFIXES
    items_are_labels = False

    def photo(self, item: Path) -> Path | None:
        return item

    def _own_item(self, photo: Path) -> Path | None:
        return photo if exists(photo) else None


class PointsLayout(PhotoLayout):
    """A layout of photos whose points may lie in one file for all."""

    keypoints: Path | None

    def at(self, root: Path) -> Layout:
        """With `keypoints.json` of the dataset at `root`, if it is there and none was given."""
        file = root / "keypoints.json"
        found = self.keypoints is None and is_file(file)
        return self.configured(keypoints=file) if found else self
