"""The folder layouts of the known datasets: which files are items, and what belongs to each.

An *item* is the file that names an input: its label map, or its photo where the condition is made
from the photo. `LAYOUTS` holds one reader a layout; all have the interface of `Layout`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from cocoscli.data import conditions
from cocoscli.data.images import (
    IMAGE_SUFFIXES,
    LABEL_SUFFIXES,
    ColorTable,
    Size,
    read_labels,
    read_photo,
)
from cocoscli.data.layout import Layout
from cocoscli.data.skeleton import read_pose
from cocoscli.data.walking import find_stem, twin_folders
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput

BILINEAR = Image.Resampling.BILINEAR
FACE_PHOTOS = "CelebA-HQ-img"
FACE_PARTS = "CelebAMask-HQ-mask-anno"
FACE_LABELS = "all_parts_except_glasses"
FACE_NUMBER = re.compile(r"[0-9]{1,9}")
FACE_PART_FILE = re.compile(r"[0-9]+_[a-z_]+")


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

    def read(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> np.ndarray:
        return conditions.label_condition(read_labels(item, size, colors))

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
        return (*first, f"{name}_masks", f"{name.removesuffix('s')}_masks")


class ADE20kLayout(LabelLayout):
    """ADE20K's annotations/<split>/<stem>.png and images/<split>/<stem>.jpg."""

    name = "ade20k"
    kind = "ade20k"
    expects = (
        "The layout ade20k expects annotations/<split>/*.png (pixel values 0 to 150) and "
        "images/<split>/*.jpg with the same stems, or a folder of such annotations."
    )
    exemplar_place = (
        "the same stem as .png below annotations/ in the place of images/, or beside the exemplar"
    )
    folders = ("annotations",)
    suffixes = (".png",)

    def is_item(self, path: Path, base: Path) -> bool:
        return path.suffix.lower() in self.suffixes

    def _photo_folders(self, name: str) -> Sequence[str]:
        return ("images",) if name == "annotations" else ()

    def _mask_folders(self, name: str) -> Sequence[str]:
        return ("annotations",) if name == "images" else ()


class FaceMaskLayout(Layout):
    """CelebAMask-HQ: label maps of all parts but glasses, and a file a part for the glasses."""

    name = "celebahq-mask"
    kind = "celebahq-mask"
    expects = (
        f"The layout celebahq-mask expects {FACE_PARTS}/{FACE_LABELS}/NNNNN.png (ids 0 to 18), "
        f"glasses as {FACE_PARTS}/<N/2000>/NNNNN_eye_g.png and photos as {FACE_PHOTOS}/N.jpg, "
        "or a folder of such label maps."
    )
    exemplar_place = f"{FACE_PARTS}/{FACE_LABELS}/NNNNN.png beside {FACE_PHOTOS}/"
    folders = (f"{FACE_PARTS}/{FACE_LABELS}", FACE_LABELS)
    partners = (FACE_PHOTOS,)

    def is_item(self, path: Path, base: Path) -> bool:
        """Every PNG but those of single parts."""
        return super().is_item(path, base) and not FACE_PART_FILE.fullmatch(path.stem)

    def read(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> np.ndarray:
        ids = read_labels(item, size, colors)
        file = self._glasses(item)
        glasses = None
        if file is not None:
            glasses = read_labels(file, (ids.shape[1], ids.shape[0])) > 0
        return conditions.face_mask_condition(ids, glasses)

    def _glasses(self, item: Path) -> Path | None:
        places = [item.parent]
        if FACE_NUMBER.fullmatch(item.stem):
            places.append(item.parent.parent / str(int(item.stem) // 2000))
        files = (place / f"{item.stem}_eye_g.png" for place in places)
        return next((file for file in files if os.path.isfile(file)), None)

    def photo(self, item: Path) -> Path | None:
        stems = (item.stem, *([str(int(item.stem))] if FACE_NUMBER.fullmatch(item.stem) else ()))
        for root in item.absolute().parents[:4]:
            for stem in stems:
                found = find_stem(root / FACE_PHOTOS, stem, (".jpg", ".jpeg", ".png"))
                if found is not None:
                    return found
        return None

    def stems(self, photo: Path) -> tuple[str, ...]:
        """Label maps have five digits where photos have none in front."""
        return (photo.stem, *([photo.stem.zfill(5)] if FACE_NUMBER.fullmatch(photo.stem) else ()))

    def _own_item(self, photo: Path) -> Path | None:
        for root in photo.absolute().parents[:4]:
            for stem in self.stems(photo):
                found = find_stem(root / FACE_PARTS / FACE_LABELS, stem, self.suffixes)
                if found is not None:
                    return found
        return None


class PhotoLayout(Layout):
    """A layout whose items are photos."""

    suffixes = IMAGE_SUFFIXES
    items_are_labels = False

    def photo(self, item: Path) -> Path | None:
        return item

    def _own_item(self, photo: Path) -> Path | None:
        return photo if os.path.exists(photo) else None


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
        labelled = any(os.path.isdir(root / folder) for folder in ("masks", "annotations"))
        return root / "images" if labelled and os.path.isdir(root / "images") else root

    def read(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> np.ndarray:
        return conditions.edge_condition(read_photo(item, size, BILINEAR))


class FaceEdgeLayout(PhotoLayout):
    """CelebAMask-HQ: photos, and a black-and-white mask a face part."""

    name = "celebahq-edge"
    kind = "celebahq-edge"
    expects = (
        f"The layout celebahq-edge expects photos as {FACE_PHOTOS}/N.jpg and face parts as "
        f"{FACE_PARTS}/<N/2000>/NNNNN_<part>.png beside that folder."
    )
    exemplar_place = "the exemplar photo itself, its face parts where the layout has them"
    folders = (FACE_PHOTOS,)
    partners = (FACE_PARTS,)

    def read(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> np.ndarray:
        files = self._part_files(item)
        photo = read_photo(item, size, BILINEAR)
        shape = (photo.shape[1], photo.shape[0])
        parts = {part: read_labels(file, shape) > 0 for part, file in files.items()}
        return conditions.face_edge_condition(photo, parts)

    def _part_files(self, item: Path) -> dict[str, Path]:
        """The mask of each face part that the face has; BadInput if there is none."""
        if not FACE_NUMBER.fullmatch(item.stem):
            raise BadInput(
                f"{shown(item)}: the name is no number; expected N.jpg, whose face parts are "
                f"{FACE_PARTS}/<N/2000>/NNNNN_<part>.png.",
                self.expects,
            )
        folder = Path(FACE_PARTS) / str(int(item.stem) // 2000)
        for root in item.absolute().parents[:4]:
            start = root / folder / item.stem.zfill(5)
            named = {part: Path(f"{start}_{part}.png") for part in conditions.FACE_PARTS}
            files = {part: file for part, file in named.items() if os.path.isfile(file)}
            if files:
                return files
        raise BadInput(
            f"{shown(item)}: no face parts found; expected "
            f"{folder / item.stem.zfill(5)}_<part>.png beside the folder of the photo.",
            self.expects,
        )


class PoseLayout(PhotoLayout):
    """DeepFashion: photos below img/, poses below pose/."""

    name = "deepfashion"
    kind = "deepfashion"
    expects = (
        "The layout deepfashion expects photos below img/ and, at the same paths below pose/, "
        "<stem>_candidate.txt and <stem>_subset.txt."
    )
    exemplar_place = "the exemplar photo itself, its pose where the layout has it"
    folders = ("img",)
    partners = ("pose",)

    def read(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> np.ndarray:
        joints = read_pose(*self._pose_files(item))
        return conditions.pose_condition(joints, self.native_size(item), size)

    def _pose_files(self, item: Path) -> tuple[Path, Path]:
        """The two pose files, below pose/ or beside the photo; BadInput if there are none."""
        below = twin_folders(item, lambda name: ("pose",) if name == "img" else ())
        for folder in (*below, item.parent):
            pair = tuple(folder / f"{item.stem}_{part}.txt" for part in ("candidate", "subset"))
            if all(os.path.isfile(file) for file in pair):
                return pair[0], pair[1]
        raise BadInput(
            f"{shown(item)}: no pose found; expected {item.stem}_candidate.txt and "
            f"{item.stem}_subset.txt below pose/ in the place of img/, or beside the photo.",
            self.expects,
        )


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        LabelLayout(),
        ADE20kLayout(),
        FaceMaskLayout(),
        FaceEdgeLayout(),
        PoseLayout(),
        EdgeLayout(),
    )
}
