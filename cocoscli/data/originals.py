"""Photos whose own pixels are kept: what results start from that change a part of a photo."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms

from cocoscli.data.images import Size, alpha_of, opaque_srgb, open_upright

_SRGB = ImageCms.createProfile("sRGB")


@dataclass(frozen=True)
class Original:
    """A photo at its own size, upright, with the pixels of its file where they are 8-bit RGB.

    Others (grey, CMYK, palettes, 16 bits) are converted to sRGB.
    """

    pixels: np.ndarray
    """(H,W,3) uint8, in the colours of `profile`."""
    alpha: np.ndarray | None
    """(H,W) uint8, where the file has transparency."""
    profile: bytes | None
    """The file's ICC profile of RGB; None: sRGB."""

    def seen(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (h,w,3) uint8 of this photo's colours as sRGB."""
        return _converted(pixels, self._to_srgb) if self._to_srgb else pixels

    def unseen(self, pixels: np.ndarray) -> np.ndarray:
        """The other way."""
        return _converted(pixels, self._from_srgb) if self._from_srgb else pixels

    @property
    def size(self) -> Size:
        return self.pixels.shape[1], self.pixels.shape[0]

    def shrunk(self, side: int) -> Original:
        """This photo with a longer side of at most `side`."""
        scale = side / max(self.size)
        if scale >= 1:
            return self
        size = max(1, round(scale * self.size[0])), max(1, round(scale * self.size[1]))
        pixels = cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA)
        alpha = self.alpha
        if alpha is not None:
            alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
        return Original(pixels, alpha, self.profile)

    @cached_property
    def _to_srgb(self) -> ImageCms.ImageCmsTransform | None:
        return self._transform(there=True)

    @cached_property
    def _from_srgb(self) -> ImageCms.ImageCmsTransform | None:
        return self._transform(there=False)

    def _transform(self, *, there: bool) -> ImageCms.ImageCmsTransform | None:
        if self.profile is None:
            return None
        own = ImageCms.ImageCmsProfile(io.BytesIO(self.profile))
        first, last = (own, _SRGB) if there else (_SRGB, own)
        return ImageCms.buildTransform(first, last, "RGB", "RGB")


def read_original(path: Path) -> Original:
    """Raises BadInput."""
    image = open_upright(path)
    profile = image.info.get("icc_profile")
    if image.mode in ("RGB", "RGBA") and (not profile or _both_ways(profile)):
        rgb, alpha = image.convert("RGB"), alpha_of(image)
    else:
        rgb, alpha = opaque_srgb(image, path)
        profile = None
    return Original(np.array(rgb), None if alpha is None else np.array(alpha), profile or None)


def _both_ways(profile: bytes) -> bool:
    """Whether a profile is of RGB and leads to sRGB and back."""
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        ImageCms.buildTransform(own, _SRGB, "RGB", "RGB")
        ImageCms.buildTransform(_SRGB, own, "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return False
    return True


def _converted(pixels: np.ndarray, transform: ImageCms.ImageCmsTransform) -> np.ndarray:
    return np.array(ImageCms.applyTransform(Image.fromarray(pixels), transform))
