"""Makeup that was placed on a photo, painted at the photo's own size, a few rows at a time."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cocoscli.data.guided import Guided
from cocoscli.data.makeup import LEAST, blended
from cocoscli.data.originals import Original
from cocoscli.data.smooth_maps import affine, fitted, inverse
from cocoscli.data.windows import SIDE, Window

STEP = 2
"""Pixels of a window from one known place to the next."""
ROWS = 256
"""Rows of a photo that are painted at once."""


@dataclass(frozen=True)
class Worn:
    """A paint and where it lies on a photo."""

    paint: np.ndarray
    """(h,w,4), see `data.makeup`."""
    place: np.ndarray
    """(2,3): xy in the window's pixels -> in the photo's."""
    straight: np.ndarray
    """(2,3): xy in the window's pixels -> about in the paint's."""
    rest: Guided
    """What that misses, x and y, and the share that is painted, by every `STEP`th pixel."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom of what is painted, in the photo's pixels."""

    @staticmethod
    def of(paint: np.ndarray, window: Window, places: np.ndarray, share: np.ndarray) -> Worn | None:
        """From xy in the paint's pixels (n,n,2) and shares (n,n), 0..1, of every `STEP`th pixel of
        the window. None where nothing is painted."""
        grid = grid_places()
        straight = fitted(grid, places)
        values = np.concatenate([places - affine(straight, grid), share[..., None]], axis=-1)
        small = np.ascontiguousarray(window.look(grid))
        there = (_taken(paint, places)[..., 3] * share > LEAST).astype(np.uint8)
        there = cv2.dilate(there, np.ones((5, 5), np.uint8)) > 0
        if not there.any():
            return None
        lying = affine(window.place, grid[there])
        box = (*lying.min(axis=0).tolist(), *lying.max(axis=0).tolist())
        per_pixel = np.sqrt(
            abs(np.linalg.det(straight[:, :2]) / np.linalg.det(window.place[:, :2]))
        )
        if per_pixel > 1:
            paint = cv2.GaussianBlur(paint, (0, 0), 0.4 * per_pixel)
        return Worn(paint, window.place, straight, Guided.of(values, small), box)

    def on(self, photo: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The paint (H,W,4) over a part (H,W,3) uint8 sRGB of the photo, whose pixels lie at xy
        (H,W,2)."""
        places = affine(inverse(self.place), places)
        rest = self.rest.at(places / STEP, photo)
        paint = _taken(self.paint, affine(self.straight, places) + rest[..., :2])
        paint *= rest[..., 2:].clip(0, 1)
        paint[paint[..., 3] <= LEAST] = 0
        return paint


def grid_places() -> np.ndarray:
    """(n,n,2): xy of every `STEP`th pixel of a window."""
    x, y = np.meshgrid(np.arange(0, SIDE, STEP), np.arange(0, SIDE, STEP))
    return np.stack([x, y], axis=-1).astype(np.float64)


def wear(original: Original, worn: Worn, blend: str, scale: float = 1.0) -> None:
    """Paint over a photo's pixels, in place; `scale` is the photo's size beside the one that the
    paint was placed on. Pixels without paint stay as they are."""
    height, width = original.pixels.shape[:2]
    left, top, right, bottom = (scale * edge for edge in worn.box)
    first, last = max(0, int(left)), min(width, int(np.ceil(right)) + 1)
    for start in range(max(0, int(top)), min(height, int(np.ceil(bottom)) + 1), ROWS):
        rows = slice(start, min(start + ROWS, height, int(np.ceil(bottom)) + 1))
        part = original.pixels[rows, first:last]
        if not part.size:
            continue
        x, y = np.meshgrid(np.arange(first, last), np.arange(rows.start, rows.stop))
        places = (np.stack([x, y], axis=-1) + 0.5) / scale - 0.5
        seen = np.ascontiguousarray(original.seen(part))
        paint = worn.on(seen, places)
        there = paint[..., 3] > 0
        part[there] = original.unseen(blended(seen, paint, blend))[there]


def _taken(paint: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A paint (h,w,4) at xy (H,W,2) in its pixels; nothing beyond its border."""
    x, y = np.moveaxis(places.astype(np.float32), -1, 0)
    return cv2.remap(paint, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
