"""Portraits that makeup is taken from, and the makeup of each as a layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cocoscli.data.images import Size, image_size
from cocoscli.data.makeup import (
    AGREES,
    aligned,
    computed,
    paint_of,
    painted_box,
    relative,
)
from cocoscli.data.makeup_regions import (
    NEEDED,
    REGIONS,
    nearest_region,
    read_parts,
    regions_of,
    skin_of,
)
from cocoscli.data.originals import Original, read_original
from cocoscli.data.portraits import find_windows
from cocoscli.data.smooth_maps import affine, inverse
from cocoscli.data.windows import SIDE, Window
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput, CocosError, UsageError

LARGEST = 2048
"""Pixels of a portrait's longer side, and of its layer's: larger ones are made smaller."""


MARGIN = 0.2
"""What a close-up shows around the makeup, as a share of the makeup's longer side."""
SMALLEST = 0.45
"""The side of a close-up is at least this share of the window's: strokes on the lips alone are
found by what is around them."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class SourceFiles:
    """A source as it was given."""

    photo: Path
    layer: Path | None = None
    bare: Path | None = None
    parts: Path | None = None
    """Its parsing map or landmarks."""
    regions: frozenset[str] | None = None
    """Of `REGIONS`; None: all that is painted."""

    @property
    def needs_parts(self) -> bool:
        """Whether the parts of the face are needed, and no file says them."""
        computed = self.layer is None and self.bare is None
        return self.parts is None and (computed or self.regions not in (None, frozenset(REGIONS)))

    @property
    def all(self) -> list[Path]:
        return [path for path in (self.photo, self.layer, self.bare, self.parts) if path]


@dataclass(frozen=True)
class Source:
    """A portrait and its makeup."""

    path: Path
    window: Window
    paint: np.ndarray
    """(h,w,4), see `data.makeup`: the painted part of the layer."""
    box: tuple[int, int, int, int]
    """Left, top, right, bottom of that part in the portrait."""

    @property
    def close_up(self) -> Box:
        """Left, top, right, bottom in the window of a square around the makeup."""
        corners = np.array(self.box, np.float64).reshape(2, 2)
        left, right = np.meshgrid(*corners.T)
        lying = affine(inverse(self.window.place), np.stack([left.ravel(), right.ravel()], axis=-1))
        low, high = lying.min(axis=0), lying.max(axis=0)
        half = max(float((high - low).max()) * (0.5 + MARGIN), SMALLEST * SIDE / 2)
        x, y = (low + high) / 2
        return x - half, y - half, x + half, y + half

    def painted(self, places: np.ndarray) -> np.ndarray:
        """(H,W): how much is painted at xy (H,W,2) in the window."""
        x, y = np.moveaxis(affine(self.window.place, places) - self.box[:2], -1, 0)
        share = np.ascontiguousarray(self.paint[..., 3])
        return cv2.remap(share, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR)


FindParts = Callable[[Original], Mapping[str, np.ndarray] | None]
"""A portrait -> the (H,W) bool parts of its face by name; None where there is none."""


def read_source(files: SourceFiles, blend: str, faces: str, find_parts: FindParts) -> Source:
    """Read a source and find its makeup. `faces` is one of `portraits.FACES` but auto; `find_parts`
    is asked where no file says the parts that are needed. Raises CocosError."""
    original = read_original(files.photo)
    _check_sizes(files, original.size)
    original = original.shrunk(LARGEST)
    paint = _paint(files, original, blend, find_parts)
    box = painted_box(paint)
    if box is None:
        raise _no_paint(files)
    windows = find_windows(original, "centred" if faces == "centred" else "largest")
    if not windows:
        raise BadInput(f"--source {shown(files.photo)}: no face was found.", "Give a portrait.")
    left, top, right, bottom = box
    return Source(files.photo, windows[0], paint[top:bottom, left:right].copy(), box)


def _check_sizes(files: SourceFiles, size: Size) -> None:
    """CocosError unless layer and bare portrait are of the source's (width, height)."""
    for flag, path in (("--layer", files.layer), ("--bare", files.bare)):
        found = image_size(path) if path else size
        if found != size:
            raise CocosError(
                f"{flag} {shown(str(path))}: {found[0]}x{found[1]}, but its source "
                f"{shown(files.photo)} is {size[0]}x{size[1]}.",
                "Export both at one size, aligned.",
            )


def _paint(files: SourceFiles, original: Original, blend: str, find_parts: FindParts) -> np.ndarray:
    """The makeup (H,W,4) of a source in its regions."""
    if files.layer:
        paint = _read_layer(files.layer, blend)
    elif files.bare:
        paint = _from_bare(files.bare, files.photo, original, blend)
    else:
        parts = _parts(files, original, find_parts)
        regions = regions_of(parts)
        wanted = [mask for name, mask in regions.items() if name in (files.regions or REGIONS)]
        skin = skin_of(parts, regions)
        return relative(original.seen(original.pixels), wanted, skin, blend)
    if files.regions is None or files.regions == frozenset(REGIONS):
        return paint
    near = nearest_region(regions_of(_parts(files, original, find_parts)), files.regions)
    return paint * near[..., None]


def _read_layer(path: Path, blend: str) -> np.ndarray:
    layer = read_original(path).shrunk(LARGEST)
    if layer.alpha is None and blend != "multiply":
        raise UsageError(
            f"--layer {shown(path)} has no transparency, and --blend {blend} needs it.",
            "Export it as RGBA, or take --blend multiply.",
        )
    return paint_of(layer.seen(layer.pixels), layer.alpha)


def _from_bare(path: Path, photo: Path, original: Original, blend: str) -> np.ndarray:
    bare, source = read_original(path).shrunk(LARGEST), original.seen(original.pixels)
    moved, agreement = aligned(bare.seen(bare.pixels), source)
    if agreement < AGREES:
        raise CocosError(
            f"--bare {shown(path)}: another person, or not aligned with {shown(photo)}: their fine "
            f"structure agrees to {agreement:.2f}, and at least {AGREES} is expected.",
            "Give the same portrait without makeup, or paint the makeup on a --layer.",
        )
    return computed(moved, source, blend)


def _parts(files: SourceFiles, original: Original, find_parts: FindParts) -> dict[str, np.ndarray]:
    """The parts of the source's face. Raises CocosError."""
    if files.parts:
        return read_parts(files.parts, files.photo, image_size(files.photo), original.size)
    found = find_parts(original)
    if found is None or not set(NEEDED) <= set(found):
        raise BadInput(
            f"--source {shown(files.photo)}: no face with eyes and lips was found.",
            "Give --parts (a parsing map, or JSON of 68 landmarks), or another portrait.",
        )
    return dict(found)


def _no_paint(files: SourceFiles) -> CocosError:
    what = f"--layer {shown(files.layer)}" if files.layer else f"--source {shown(files.photo)}"
    if files.bare:
        return CocosError(
            f"{what}: does not differ from --bare {shown(files.bare)}: there is no makeup.",
            "Give the portrait with and without makeup.",
        )
    where = f" in {', '.join(sorted(files.regions))}" if files.regions else ""
    return CocosError(f"{what}: nothing is painted{where}.", "Paint strokes, or give --regions.")
