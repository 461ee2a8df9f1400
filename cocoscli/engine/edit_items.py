"""The reading side of `cocos edit`: photos, their conditions and the edited ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from cocoscli.data.conditions import preview
from cocoscli.data.edits import (
    condition_suffixes,
    differing,
    is_condition,
    outlined,
    read_condition,
    weight,
)
from cocoscli.data.encoding import thumbnail_size
from cocoscli.data.filelist import FileList
from cocoscli.data.images import IMAGE_SUFFIXES, Size, fitted, is_image, open_photo
from cocoscli.data.inputs import Inputs
from cocoscli.data.reading import ConditionReader
from cocoscli.data.shards import encode_key
from cocoscli.data.sources import Sources, build_condition
from cocoscli.data.walking import contents, find_stem, walk_files
from cocoscli.data.wording import shown
from cocoscli.engine.items import ExemplarImage, exemplar_image, matched_size, pad, result_name
from cocoscli.errors import BadInput, CocosError

POSE_END = "_keypoints"
"""What OpenPose puts behind a photo's stem."""
BORDER = 16
"""The soft border is by default one part in so many of the photo's shorter side."""


@dataclass
class EditItem:
    """A decoded edit: a photo as its own exemplar, and the condition that it is to have."""

    k: int
    photo: Path
    condition: np.ndarray
    """The edited one (P,H,W), padded to a multiple."""
    size: Size
    """Its true (width, height)."""
    image: ExemplarImage
    small: np.ndarray | None
    """The edited condition (P,h,w) at the size that is matched, where that is smaller."""
    changed: float
    """The share of the photo whose condition was changed, 0..1."""
    kept: tuple[np.ndarray, np.ndarray] | None
    """With `--keep`: the photo at its own size (H,W,3) uint8, and the (H,W) share of the new."""
    pictures: dict[str, np.ndarray]
    """For the page: small pictures (h,w,3) uint8."""


@dataclass(frozen=True)
class EditReader:
    """Decodes edits; it is what decoding processes hold. An item is an edited condition."""

    edits: Inputs
    photos: Path
    """A photo, or a folder of them with the stems of the edits; `masks` likewise."""
    masks: Path | None
    """Left out, the condition is the photo's own edges."""
    conditions: ConditionReader
    with_condition: bool
    """Whether the weights mix the exemplar's own condition in."""
    size: Size | None
    """That the network sees; None: each photo's own."""
    keep: bool
    border: int | None
    gallery: int
    match_size: int | None = None
    """Cells of the longer side, where matching is done at a smaller size."""

    def __len__(self) -> int:
        return len(self.edits)

    @property
    def kind(self) -> str:
        return self.conditions.layout.kind

    def key(self, k: int) -> str:
        return self.edits.key(k)

    def sample_key(self, k: int) -> str:
        return encode_key(self.key(k))

    def output_name(self, k: int, format: str) -> str:
        """Edit k's result: a file below the output folder, or a member of a shard."""
        return result_name(self.key(k), self.sample_key(k), format)

    def photo(self, k: int) -> Path:
        """Raises BadInput where there is none."""
        return self._partner(self.photos, k, IMAGE_SUFFIXES, "photo")

    def photo_name(self, k: int) -> str:
        """The photo below its folder, or its name. Raises BadInput where there is none."""
        path = self.photo(k)
        return path.name if path == self.photos else os.path.relpath(path, self.photos)

    def mask(self, k: int) -> Path | None:
        """The condition of the photo as it is. Raises BadInput where there is none."""
        if self.masks is None:
            return None
        return self._partner(self.masks, k, condition_suffixes(self.kind), "mask")

    def _partner(self, place: Path, k: int, suffixes: tuple[str, ...], what: str) -> Path:
        if not os.path.isdir(place):
            return place
        name = Path(self.key(k))
        plain = name.stem.removesuffix(POSE_END)
        for stem in dict.fromkeys((name.stem, plain, plain + POSE_END)):
            if found := find_stem(place / name.parent, stem, suffixes):
                return found
        raise BadInput(
            f"{shown(name)}: no {what} {plain}.* for this edited one in "
            f"{shown(place / name.parent)}.",
            "Add it, or take the edited one away.",
        )

    def load(self, k: int) -> EditItem:
        """Read edit k with its photo and mask. Raises BadInput."""
        path, mask = self.photo(k), self.mask(k)
        photo = open_photo(path)
        before, after = self._conditions(self.edits.path(k), mask, path, photo)
        size = self.size or photo.size
        matched = matched_size(size, self.match_size)
        own = before.at if self.with_condition else None
        changed = differing(before.at(photo.size), after.at(photo.size), self.kind)
        share = weight(changed, self._border(photo.size)) if self.keep else None
        return EditItem(
            k=k,
            photo=path,
            condition=pad(after.at(size)),
            size=size,
            image=exemplar_image(photo, size, self.match_size, own),
            small=after.at(matched) if matched else None,
            changed=float(changed.mean()),
            kept=None if share is None else (np.array(photo), share),
            pictures=self._pictures(before, after, photo) if k < self.gallery else {},
        )

    def _conditions(
        self, edit: Path, mask: Path | None, path: Path, photo: Image.Image
    ) -> tuple[_Seen, _Seen]:
        """The photo's condition as it is and as it is to be. Raises BadInput."""
        read = partial(read_condition, kind=self.kind, photo=path, native=photo.size,
                       colors=self.conditions.colors)  # fmt: skip
        after = read(edit)
        before = read(mask) if mask else Sources(self.kind, {}, after.size)
        if before.size != after.size:
            raise BadInput(
                f"{shown(edit)}: {after.size[0]}x{after.size[1]}, but its mask "
                f"{shown(mask or path)} is {before.size[0]}x{before.size[1]}: "
                "what differs cannot be told.",
                "Export both at one size.",
            )
        return (
            _Seen(before, photo, shown(mask or path), self.conditions),
            _Seen(after, photo, shown(edit), self.conditions),
        )

    def _border(self, size: Size) -> int:
        return max(1, min(size) // BORDER) if self.border is None else self.border

    def _pictures(self, before: _Seen, after: _Seen, photo: Image.Image) -> dict[str, np.ndarray]:
        size = thumbnail_size(photo.size)
        mask, edited = before.at(size), after.at(size)
        return {
            "photo": np.array(fitted(photo, size)),
            "mask": preview(mask, self.kind),
            "edited": outlined(preview(edited, self.kind), differing(mask, edited, self.kind)),
        }


@dataclass(frozen=True)
class _Seen:
    """A condition of a photo, made at any size."""

    sources: Sources
    photo: Image.Image
    name: str
    reader: ConditionReader

    def at(self, size: Size) -> np.ndarray:
        """(P,H,W) at (width, height), checked. Raises BadInput."""
        pixels = None
        if self.sources.needs_photo:
            pixels = np.array(fitted(self.photo, size, Image.Resampling.BILINEAR))
        return self.reader.check(build_condition(self.sources, pixels, size), self.name)


def find_edits(spec: Path, kind: str) -> Inputs:
    """An edited condition, or a folder of them, walked. Raises CocosError."""
    if os.path.isfile(spec):
        return Inputs(spec.absolute().parent, FileList([spec.name]))
    if not os.path.isdir(spec):
        raise CocosError(f"--edited {shown(spec)}: no such file or folder.")
    found = (path for path in walk_files(spec) if is_condition(path, kind))
    names = FileList(os.path.relpath(path, spec) for path in found)
    if not len(names):
        raise CocosError(
            f"--edited {shown(spec)}: no {kind} conditions in it; found {contents(spec)}.",
            f"They end with {', '.join(condition_suffixes(kind))}.",
        )
    return Inputs(spec.absolute(), names)


def without_edit(reader: EditReader) -> Iterator[Path]:
    """Photos of the folder that no edited condition goes with."""
    if not os.path.isdir(reader.photos):
        return
    suffixes = condition_suffixes(reader.kind)
    for path in filter(is_image, walk_files(reader.photos)):
        folder = reader.edits.root / path.parent.relative_to(reader.photos)
        stems = (path.stem, path.stem + POSE_END)
        if not any(find_stem(folder, stem, suffixes) for stem in stems):
            yield path


def first_names(reader: EditReader, format: str) -> Iterator[tuple[str, str, str]]:
    """(edited, photo, result) names, for a dry run."""
    for k in range(len(reader)):
        try:
            photo = reader.photo_name(k)
        except BadInput:
            photo = "missing"
        yield reader.key(k), photo, reader.output_name(k, format)
