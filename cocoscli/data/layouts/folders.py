"""The layout of anyone's own folders: photos, and whatever lies beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from cocoscli.data.images import (
    IMAGE_SUFFIXES,
    ColorTable,
    Size,
    check_aspect,
    image_size,
    read_labels,
    read_photo,
)
from cocoscli.data.keypoints import POSES, count_points, lookup, read_skeleton
from cocoscli.data.layouts.faces import landmarks
from cocoscli.data.layouts.labels import LabelLayout
from cocoscli.data.layouts.layout import Layout, PhotoLayout
from cocoscli.data.layouts.photos import pose_joints
from cocoscli.data.polylines import FACE_LANDMARKS
from cocoscli.data.sources import Sources, join_chains
from cocoscli.data.splits import names_of
from cocoscli.data.storage import absolute, is_file, is_folder
from cocoscli.data.walking import find_stem, twin_folders
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput, CocosError

LEAVE = "Add it, or leave the photo out."


@dataclass(frozen=True)
class FolderLayout(PhotoLayout):
    """Photos below images/, with any of masks/, edges/, keypoints.json and skeleton.json.

    `at` decides what conditions a dataset has: label maps before drawn edges before keypoints,
    and Canny edges where there is none of them.
    """

    kind: str = "chains"
    keypoints: Path | None = None
    """A file of points; else keypoints.json at the root."""
    skeleton: Path | None = None
    """A file of chains of joints; else skeleton.json at the root."""
    chosen: bool = False
    """Whether the kind was asked for and is not to be decided."""

    name = "folders"
    expects = (
        "The layout folders expects photos below images/ and, at the same paths, label maps below "
        "masks/ or edge maps below edges/; or keypoints.json ({stem: [[x, y(, score)], ...]} in "
        "pixels of the photo) with, unless they are poses of 17, 18 or 25 joints or faces of 68 "
        'points, skeleton.json ({"chains": [[0, 1, 2], ...]}). With images/ alone, or with photos '
        "alone, the conditions are edges."
    )
    exemplar_place = "the exemplar photo itself, with what lies beside it"
    folders = ("images",)
    partners = ("masks", "edges")
    bare = True
    kinds = ("labels", "edges", "deepfashion", "pose", "face-edges", "chains")

    def making(self, kind: str) -> Layout:
        layout = super().making(kind)
        return layout.configured(chosen=True)

    def at(self, root: Path) -> Layout:
        """With what lies at `root`, of the kind that it makes. Raises CocosError."""
        home = _home(root)
        layout = replace(
            self,
            keypoints=self.keypoints or _file(home / "keypoints.json"),
            skeleton=self.skeleton or _file(home / "skeleton.json"),
        )
        if self.chosen:
            layout._check_chosen(home)
            return layout
        given = self.keypoints is not None or self.skeleton is not None
        if not given and is_folder(home / "masks"):
            return replace(layout, kind="labels")
        if not given and is_folder(home / "edges"):
            return replace(layout, kind="edges")
        return replace(layout, kind=layout._kind_of_points())

    def _check_chosen(self, home: Path) -> None:
        """CocosError where the files of the kind that was asked for are not there."""
        lacking = {
            "labels": [] if is_folder(home / "masks") else ["masks/"],
            "chains": [] if self.skeleton else ["skeleton.json"],
        }.get(self.kind, [])
        if self.kind in ("deepfashion", "pose", "chains") and self.keypoints is None:
            lacking.append("keypoints.json")
        if lacking:
            wanted = " and ".join(lacking)
            raise CocosError(f"{shown(home)}: no {wanted} for {self.kind}.", self.expects)

    def _kind_of_points(self) -> str:
        if self.keypoints is None:
            return "edges"
        if self.skeleton is not None:
            return "chains"
        count = count_points(self.keypoints)
        if count not in (*POSES, FACE_LANDMARKS):
            raise CocosError(
                f"{shown(self.keypoints)}: {count} points a picture, and no skeleton.json that "
                "says how they are joined.",
                'Write one beside it: {"chains": [[0, 1, 2], ...]}, numbers of points from 0.',
            )
        return "face-edges" if count == FACE_LANDMARKS else "deepfashion"

    def sources(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> Sources:
        native = self.native_size(item)
        if self.kind == "labels":
            ids = read_labels(self._mask(item, native), size or native, colors)
            return Sources(self.kind, {"ids": ids}, size or native)
        if self.kind == "edges":
            file = self._drawn(item, native)
            arrays = {} if file is None else {"edges": read_edges(file, size or native)}
            return Sources(self.kind, arrays, size or native)
        sources = Sources(self.kind, self._point_arrays(item), native)
        return sources if size is None else sources.resized(size)

    def _point_arrays(self, item: Path) -> dict[str, np.ndarray]:
        names = names_of(absolute(item))
        points = lookup(self.keypoints, names) if self.keypoints else None
        if points is None and self.kind == "face-edges":
            return {}
        if points is None:
            place = shown(self.keypoints) if self.keypoints else "keypoints.json"
            raise BadInput(f"{shown(item)}: no points of it in {place}.", LEAVE)
        if self.kind == "face-edges":
            return {"landmarks": landmarks(points, item)}
        if self.kind != "chains":
            return {"joints": pose_joints(points, item)}
        if self.skeleton is None:
            raise BadInput(f"{shown(item)}: no skeleton.json joins its points.", self.expects)
        chains = read_skeleton(self.skeleton)
        last = max(map(max, chains))
        if last >= len(points):
            raise BadInput(
                f"{shown(item)}: {len(points)} points, but {shown(self.skeleton)} joins number "
                f"{last} (counted from 0).",
                "Correct the skeleton or the points.",
            )
        return {"joints": points, "chains": join_chains(chains)}

    def _mask(self, item: Path, native: Size) -> Path:
        folders = twin_folders(item, lambda name: _twin(name, "masks"))
        files = (find_stem(folder, item.stem, IMAGE_SUFFIXES) for folder in folders)
        found = next(filter(None, files), None)  # reading refuses a JPEG and says so
        if found is None and not is_folder(_home(item) / "masks"):
            found = LabelLayout().item_for_photo(item)
        if found is None:
            raise BadInput(
                f"{shown(item)}: no label map of it; expected {item.stem}.png below masks/ in the "
                "place of images/.",
                LEAVE,
            )
        check_aspect(found, image_size(found, upright=False), item, native)
        return found

    def _drawn(self, item: Path, native: Size) -> Path | None:
        """The drawn edge map of a photo; None where the dataset has no such maps."""
        for folder in twin_folders(item, lambda name: _twin(name, "edges")):
            found = find_stem(folder, item.stem, IMAGE_SUFFIXES)
            if found is not None:
                check_aspect(found, image_size(found), item, native)
                return found
        if not is_folder(_home(item) / "edges"):
            return None
        raise BadInput(
            f"{shown(item)}: no edge map of it; expected {item.stem}.png below edges/ in the place "
            "of images/.",
            LEAVE,
        )


def read_edges(path: Path, size: Size) -> np.ndarray:
    """A drawn edge map as (H, W) uint8, white on black; one of 0 and 1 is taken as 0 and 255."""
    photo = read_photo(path, size, Image.Resampling.NEAREST)
    grey = np.array(Image.fromarray(photo).convert("L"))
    return grey * 255 if grey.max(initial=0) == 1 else grey


def _home(path: Path) -> Path:
    """The root of the dataset: what holds images/ above or at a path, else the path's folder."""
    if is_folder(path / "images"):
        return path
    above = absolute(path)
    for folder in (above, *above.parents):
        if folder.name == "images":
            return folder.parent
    return path if is_folder(path) else path.parent


def _twin(name: str, folder: str) -> tuple[str, ...]:
    return (folder,) if name == "images" else ()


def _file(path: Path) -> Path | None:
    return path if is_file(path) else None
