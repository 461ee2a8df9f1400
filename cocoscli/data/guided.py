"""Small maps brought to a photo's own size along the photo's edges.

The fast guided filter (He and Sun, 2015): around each pixel of the small map a value is taken to be
a linear function of the photo's brightness there; the function is found at the small size and
applied to the photo at its own. So a map's jumps come to lie where the photo has its edges, and
a smooth map stays smooth.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

RADIUS = 6
"""Pixels of the small map over which the function is taken to be one."""
FLAT = 0.02**2
"""Variance of brightness, 0..1, below which there is no edge to follow."""


@dataclass(frozen=True)
class Guided:
    """Values as a slope and an offset of the brightness at each pixel of the small map."""

    slope: np.ndarray
    """(h,w,D) float32; `offset` likewise."""
    offset: np.ndarray

    @staticmethod
    def of(values: np.ndarray, photo: np.ndarray) -> Guided:
        """From values (h,w,D) and the small photo (h,w,3) uint8 that they belong to."""
        guide = brightness(photo)[..., None]
        values = values.astype(np.float32)
        middle, mean = _mean(guide), _mean(values)
        variance = _mean(guide**2) - middle**2
        slope = (_mean(guide * values) - middle * mean) / (variance.clip(0) + FLAT)
        return Guided(_mean(slope), _mean(mean - slope * middle))

    def at(self, places: np.ndarray, photo: np.ndarray) -> np.ndarray:
        """The values (H,W,D) at xy (H,W,2) in pixels of the small map, where the large photo is
        (H,W,3) uint8."""
        x, y = np.moveaxis(places.astype(np.float32), -1, 0)
        slope, offset = (
            cv2.remap(part, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for part in (self.slope, self.offset)
        )
        shape = *places.shape[:2], -1
        return slope.reshape(shape) * brightness(photo)[..., None] + offset.reshape(shape)


def brightness(photo: np.ndarray) -> np.ndarray:
    """(H,W) float32, 0..1, of (H,W,3) uint8."""
    return cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255


def _mean(values: np.ndarray) -> np.ndarray:
    size = (2 * RADIUS + 1, 2 * RADIUS + 1)
    found = cv2.blur(values, size, borderType=cv2.BORDER_REPLICATE)
    return found.reshape(*values.shape[:2], -1)
