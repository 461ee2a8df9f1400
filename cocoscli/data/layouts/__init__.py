"""The folder layouts of the known datasets, by name, and which of them a folder has.

An *item* is the file that names an input: its label map, or its photo where the condition is made
from the photo. `LAYOUTS` holds one reader a layout; all have the interface of `Layout`.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from cocoscli.data.class_names import class_names
from cocoscli.data.images import is_image
from cocoscli.data.layouts.faces import (
    FACE_LABELS,
    FACE_PARTS,
    FACE_PHOTOS,
    FaceEdgeLayout,
    FaceMaskLayout,
)
from cocoscli.data.layouts.folders import FolderLayout
from cocoscli.data.layouts.labels import ADE20kLayout, LabelLayout
from cocoscli.data.layouts.layout import Layout
from cocoscli.data.layouts.people import PeopleLayout, PortraitLayout
from cocoscli.data.layouts.photos import EdgeLayout, PoseLayout
from cocoscli.data.storage import is_file, is_folder
from cocoscli.data.walking import walk_files

__all__ = ["LAYOUTS", "Layout", "class_names", "detect"]

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        LabelLayout(),
        ADE20kLayout(),
        FaceMaskLayout(),
        FaceEdgeLayout(),
        PoseLayout(),
        EdgeLayout(),
        FolderLayout(),
        FaceEdgeLayout(name="face-edges", kind="face-edges"),
        PoseLayout(name="pose", kind="pose"),
        PortraitLayout(),
        PeopleLayout(),
    )
}

LOOKED_AT = 100
"""So many files of a folder tell whether it is one of photos."""


def detect(root: Path) -> Layout | None:
    """The layout that a folder has, as it is for this dataset; None where none fits.

    Raises CocosError where a layout fits but what it needs is missing.
    """
    name = _name(root)
    return None if name is None else LAYOUTS[name].at(root)


def _name(root: Path) -> str | None:
    def has(*folders: str) -> bool:
        return all(is_folder(root / folder) for folder in folders)

    if has(f"{FACE_PARTS}/{FACE_LABELS}"):
        return "celebahq-mask"
    if has(FACE_PARTS, FACE_PHOTOS):
        return "celebahq-edge"
    if has("annotations", "images"):
        return "ade20k"
    if has("img") and (has("pose") or is_file(root / "keypoints.json")):
        return "deepfashion"
    if has("images"):
        return "folders"
    if has("masks"):
        return "labels"
    if not is_folder(root):
        return None
    return "folders" if any(map(is_image, islice(walk_files(root), LOOKED_AT))) else None
