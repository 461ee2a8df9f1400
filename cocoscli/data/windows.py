"""Square windows of a photo at a moderate size: what is matched of it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cocoscli.data.originals import Original
from cocoscli.data.smooth_maps import affine

SIDE = 512
"""Pixels of a window's side."""


@dataclass(frozen=True)
class Window:
    """A part of a photo, perhaps turned."""

    pixels: np.ndarray
    """(SIDE,SIDE,3) uint8 sRGB, transparency on white; beyond the photo its border goes on."""
    place: np.ndarray
    """(2,3): xy in the window's pixels -> in the photo's."""

    def look(self, at: np.ndarray) -> np.ndarray:
        """The picture (H,W,3) uint8 of xy (H,W,2) in the window's pixels."""
        step = float(np.linalg.norm(at[-1, -1] - at[0, 0]) / np.linalg.norm(at.shape[:2]))
        pixels = self.pixels
        if step > 1:
            pixels = cv2.GaussianBlur(pixels, (0, 0), 0.4 * step)
        x, y = np.moveaxis(at.astype(np.float32), -1, 0)
        return cv2.remap(pixels, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def whole(original: Original) -> Window:
    """A photo in a square of its longer side."""
    height, width = original.pixels.shape[:2]
    return window(original, np.array([width - 1, height - 1]) / 2, max(width, height))


def window(original: Original, centre: np.ndarray, size: float, turn: float = 0.0) -> Window:
    """The square of `size` pixels around xy of a photo, turned by radians (clockwise)."""
    scale = size / SIDE
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    place = np.array([[cosine, -sine, 0], [sine, cosine, 0]])
    place[:, 2] = centre - place[:, :2] @ np.full(2, (SIDE - 1) / 2)
    corners = affine(place, np.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]]))
    height, width = original.pixels.shape[:2]
    left, top = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, (width - 1, height - 1))
    right, bottom = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 1, 1, (width, height))
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    part = _seen(original, slice(top, bottom), slice(left, right), max(1, int(scale)))
    step = (right - left) / part.shape[1], (bottom - top) / part.shape[0]
    inside = place.copy()
    inside[:, 2] -= (left, top)
    for axis in (0, 1):
        inside[axis] /= step[axis]
        inside[axis, 2] += 0.5 / step[axis] - 0.5
    pixels = cv2.warpAffine(
        part, inside, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return Window(pixels, place)


def _seen(original: Original, rows: slice, columns: slice, factor: int) -> np.ndarray:
    """A part of a photo, `factor` times smaller, sRGB on white."""
    part = original.pixels[rows, columns]
    size = max(1, part.shape[1] // factor), max(1, part.shape[0] // factor)
    part = original.seen(cv2.resize(part, size, interpolation=cv2.INTER_AREA))
    if original.alpha is None:
        return part
    alpha = cv2.resize(original.alpha[rows, columns], size, interpolation=cv2.INTER_AREA)
    share = alpha[..., None].astype(np.float32) / 255
    return np.rint(part * share + 255 * (1 - share)).astype(np.uint8)
