"""Layouts of photos: DeepFashion's, and photos alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cocoscli.data.images import ColorTable, Size
from cocoscli.data.keypoints import lookup, pose18, read_openpose
from cocoscli.data.layouts.layout import PhotoLayout, PointsLayout
from cocoscli.data.skeleton import read_pose
from cocoscli.data.sources import Sources
from cocoscli.data.splits import names_of
from cocoscli.data.storage import absolute, is_file, is_folder
from cocoscli.data.walking import twin_folders
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput


class EdgeLayout(PhotoLayout):
    """Any photos; their condition is their edges."""

    name = "edges"
    kind = "edges"
    expects = (
        "The layout edges expects a folder of photos (JPEG, PNG, WebP, ...), "
        "or one that holds images/ and masks/ or annotations/."
    )
    exemplar_place = "the exemplar photo itself"

    def base(self, root: Path) -> Path:
        """The folder itself, but images/ where label maps lie beside them."""
        labelled = any(is_folder(root / folder) for folder in ("masks", "annotations"))
        return root / "images" if labelled and is_folder(root / "images") else root

    def sources(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> Sources:
        return Sources(self.kind, {}, size or self.native_size(item))


@dataclass(frozen=True)
class PoseLayout(PointsLayout):
    """DeepFashion: photos below img/, poses below pose/, or a file of all poses."""

    name: str = "deepfashion"
    kind: str = "deepfashion"
    keypoints: Path | None = None
    """A file of all poses, instead of pose/; else keypoints.json at the root."""

    expects = (
        "The layout deepfashion expects photos below img/ and, at the same paths below pose/, "
        "<stem>_candidate.txt and <stem>_subset.txt, or OpenPose's <stem>_keypoints.json "
        "(18 or 25 joints); or keypoints.json beside img/ ({stem: [[x, y, score], ...]} or "
        "COCO's, 17 joints)."
    )
    exemplar_place = "the exemplar photo itself, its pose where the layout has it"
    folders = ("img",)
    partners = ("pose",)
    kinds = ("deepfashion", "pose")

    def sources(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> Sources:
        joints = self._joints(item).astype(np.float32)
        sources = Sources(self.kind, {"joints": joints}, self.native_size(item))
        return sources if size is None else sources.resized(size)

    def _joints(self, item: Path) -> np.ndarray:
        """From the file of all poses, else below pose/ or beside the photo. Raises BadInput."""
        if self.keypoints is not None:
            found = lookup(self.keypoints, names_of(absolute(item)))
            if found is not None:
                return pose_joints(found, item)
        below = twin_folders(item, lambda name: ("pose",) if name == "img" else ())
        for folder in (*below, item.parent):
            texts = [folder / f"{item.stem}_{part}.txt" for part in ("candidate", "subset")]
            if all(is_file(file) for file in texts):
                return read_pose(*texts)
            openpose = folder / f"{item.stem}_keypoints.json"
            if is_file(openpose):
                return read_openpose(openpose)
        also = f"in {shown(self.keypoints)}, or " if self.keypoints else ""
        raise BadInput(
            f"{shown(item)}: no pose found; expected {also}{item.stem}_candidate.txt and "
            f"{item.stem}_subset.txt, or {item.stem}_keypoints.json, below pose/ in the place of "
            "img/, or beside the photo.",
            self.expects,
        )


def pose_joints(points: np.ndarray, item: Path) -> np.ndarray:
    """17, 18 or 25 joints as the 18 of a pose; BadInput for other counts."""
    try:
        return pose18(points)
    except ValueError as error:
        raise BadInput(f"{shown(item)}: a pose of {error}.") from error
