"""The layouts of CelebAMask-HQ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cocoscli.data import conditions
from cocoscli.data.images import ColorTable, Size, read_labels
from cocoscli.data.keypoints import lookup
from cocoscli.data.layouts.layout import Layout, PointsLayout
from cocoscli.data.polylines import FACE_LANDMARKS
from cocoscli.data.sources import Sources, pack_parts
from cocoscli.data.storage import is_file
from cocoscli.data.walking import find_stem
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput

FACE_PHOTOS = "CelebA-HQ-img"
FACE_PARTS = "CelebAMask-HQ-mask-anno"
FACE_LABELS = "all_parts_except_glasses"
FACE_NUMBER = re.compile(r"[0-9]{1,9}")
FACE_PART_FILE = re.compile(r"[0-9]+_[a-z_]+")


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

    def sources(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> Sources:
        ids = read_labels(item, size, colors)
        shape = (ids.shape[1], ids.shape[0])
        file = self._glasses(item)
        worn = np.zeros_like(ids) if file is None else read_labels(file, shape) > 0
        return Sources(self.kind, {"ids": ids, "glasses": worn.astype(np.uint8)}, shape)

    def _glasses(self, item: Path) -> Path | None:
        places = [item.parent]
        if FACE_NUMBER.fullmatch(item.stem):
            places.append(item.parent.parent / str(int(item.stem) // 2000))
        files = (place / f"{item.stem}_eye_g.png" for place in places)
        return next((file for file in files if is_file(file)), None)

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


@dataclass(frozen=True)
class FaceEdgeLayout(PointsLayout):
    """CelebAMask-HQ: photos, and a black-and-white mask a face part; landmarks where given."""

    name: str = "celebahq-edge"
    kind: str = "celebahq-edge"
    keypoints: Path | None = None
    """Of kind face-edges: a file of 68 landmarks a photo; else keypoints.json at the root."""

    expects = (
        f"The layout celebahq-edge expects photos as {FACE_PHOTOS}/N.jpg and face parts as "
        f"{FACE_PARTS}/<N/2000>/NNNNN_<part>.png beside that folder."
    )
    exemplar_place = "the exemplar photo itself, its face parts where the layout has them"
    folders = (FACE_PHOTOS,)
    partners = (FACE_PARTS,)
    kinds = ("celebahq-edge", "face-edges")

    def sources(
        self, item: Path, size: Size | None = None, colors: ColorTable | None = None
    ) -> Sources:
        if self.kind == "face-edges":
            native = self.native_size(item)
            names = (item.stem, item.stem.zfill(5))
            points = lookup(self.keypoints, names) if self.keypoints else None
            arrays = {} if points is None else {"landmarks": landmarks(points, item)}
            if arrays or not self._part_files(item):
                sources = Sources(self.kind, arrays, native)
                return sources if size is None else sources.resized(size)
        files = self._part_files(item)
        if not files:
            raise self._no_parts(item)
        size = size or self.native_size(item)
        parts = {part: read_labels(file, size) > 0 for part, file in files.items()}
        return Sources(self.kind, {"parts": pack_parts(parts, size)}, size)

    def _part_files(self, item: Path) -> dict[str, Path]:
        """The mask of each face part that the face has."""
        if not FACE_NUMBER.fullmatch(item.stem):
            return {}
        for root in item.absolute().parents[:4]:
            start = root / self._start(item)
            named = {part: Path(f"{start}_{part}.png") for part in conditions.FACE_PARTS}
            files = {part: file for part, file in named.items() if is_file(file)}
            if files:
                return files
        return {}

    def _start(self, item: Path) -> Path:
        return Path(FACE_PARTS) / str(int(item.stem) // 2000) / item.stem.zfill(5)

    def _no_parts(self, item: Path) -> BadInput:
        if FACE_NUMBER.fullmatch(item.stem):
            return BadInput(
                f"{shown(item)}: no face parts found; expected "
                f"{self._start(item)}_<part>.png beside the folder of the photo.",
                self.expects,
            )
        return BadInput(
            f"{shown(item)}: the name is no number; expected N.jpg, whose face parts are "
            f"{FACE_PARTS}/<N/2000>/NNNNN_<part>.png.",
            self.expects,
        )


def landmarks(points: np.ndarray, item: Path) -> np.ndarray:
    """The 68 landmarks of a face; BadInput if there are not so many."""
    if len(points) != FACE_LANDMARKS:
        raise BadInput(
            f"{shown(item)}: {len(points)} landmarks; expected {FACE_LANDMARKS}.",
            "Give the 68 points of dlib's and 300-W's order.",
        )
    return points
