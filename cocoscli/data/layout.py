"""What all folder layouts have in common: walking items, finding what belongs to a photo."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cocoscli.data.images import ColorTable, Size, image_size
from cocoscli.data.walking import contents, find_stem, tails, walk_files
from cocoscli.data.wording import shown
from cocoscli.errors import CocosError


class Layout(ABC):
    """How one dataset lies in folders. An item's condition array is of the kind `kind`."""

    name: str
    kind: str  # of conditions.CONDITIONS
    expects: str  # the folders, in words
    exemplar_place: str  # where the condition of an exemplar photo is looked for, in words
    folders: tuple[str, ...] = ()  # where the items of a dataset's root lie, the first that exists
    partners: tuple[str, ...] = ()  # other folders of a root; with them one of `folders` must be
    suffixes: tuple[str, ...] = (".png",)  # of items
    items_are_labels = True  # otherwise items are photos

    def walk(self, root: Path) -> Iterator[Path]:
        """Every item below `root` (or `root` itself, if a file) in sorted order, streaming.

        Raises CocosError where `root` is missing, lacks the folder it should have, or (at the
        end) holds no item.
        """
        if not os.path.exists(root):
            raise CocosError(f"{shown(root)}: no such file or folder.", self.expects)
        return self._items(root, self.base(root)) if os.path.isdir(root) else iter((root,))

    def base(self, root: Path) -> Path:
        """The folder below which the items of `root` lie; CocosError where it is missing."""
        for folder in self.folders:
            if os.path.isdir(root / folder):
                return root / folder
        if any(os.path.isdir(root / partner) for partner in self.partners):
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
    def read(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> np.ndarray:
        """The item's condition array at `size` (width, height; None: its own). Raises BadInput."""

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
        if not os.path.isdir(given):
            return given if os.path.exists(given) else None
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
        return self.items_are_labels and os.path.exists(photo) and found.samefile(photo)
