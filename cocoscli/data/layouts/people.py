"""Layouts of a user's own photos of people: conditions found by mediapipe, the extra `[faces]`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cocoscli.data.faces import face_parts, find_faces, find_pose
from cocoscli.data.images import ColorTable, Size, read_photo
from cocoscli.data.layouts.layout import PhotoLayout
from cocoscli.data.sources import Sources, pack_parts
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput

PORTRAIT = 1 / 8
"""The smallest face that is looked for in a portrait, as a share of its longer side."""


@dataclass(frozen=True)
class PortraitLayout(PhotoLayout):
    """Portraits; the largest face of each gives its parts, or its landmarks."""

    name: str = "portraits"
    kind: str = "celebahq-edge"

    expects = (
        "The layout portraits expects a folder of photos with a face each, and the extra [faces] "
        "(pip install 'cocos[faces]') that finds it."
    )
    exemplar_place = "the exemplar photo itself"
    kinds = ("celebahq-edge", "face-edges")

    def sources(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> Sources:
        photo = read_photo(item)
        faces = find_faces(photo, PORTRAIT)
        if not faces:
            raise BadInput(f"{shown(item)}: no face was found.", self.expects)
        own = (photo.shape[1], photo.shape[0])
        if self.kind == "face-edges":
            arrays = {"landmarks": faces[0].landmarks.astype(np.float32)}
        else:
            arrays = {"parts": pack_parts(face_parts(photo, faces[0]), own)}
        sources = Sources(self.kind, arrays, own)
        return sources if size is None else sources.resized(size)


@dataclass(frozen=True)
class PeopleLayout(PhotoLayout):
    """Photos of a person each, whose pose is found."""

    name: str = "people"
    kind: str = "deepfashion"

    expects = (
        "The layout people expects a folder of photos with a person each, and the extra [faces] "
        "(pip install 'cocos[faces]') that finds the pose."
    )
    exemplar_place = "the exemplar photo itself"
    kinds = ("deepfashion", "pose")

    def sources(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> Sources:
        photo = read_photo(item)
        joints = find_pose(photo)
        if joints is None:
            raise BadInput(f"{shown(item)}: no person was found.", self.expects)
        own = (photo.shape[1], photo.shape[0])
        sources = Sources(self.kind, {"joints": joints.astype(np.float32)}, own)
        return sources if size is None else sources.resized(size)
