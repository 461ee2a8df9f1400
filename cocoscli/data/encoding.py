"""Results to image files, as bytes: the same pixels give the same bytes on one machine."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, ImageCms

FORMATS = ("png", "jpg", "webp")
SHARDS = "shards"
"""The format of results that are samples of shards."""
RESULT_FORMATS = (*FORMATS, SHARDS)
THUMBNAIL = 256


@cache
def srgb_profile() -> bytes:
    """The ICC profile that results are tagged with, its time of making blanked."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)
    return bytes(profile)


def encode_image(pixels: np.ndarray, format: str, quality: int = 95) -> bytes:
    """(H,W,3) uint8 sRGB -> the bytes of a file of one of `FORMATS`.

    `quality` is that of jpg and webp (1..100); webp at 100 is lossless.
    """
    return encode_photo(Image.fromarray(pixels), format, quality)


def encode_photo(
    image: Image.Image, format: str, quality: int = 95, profile: bytes | None = None
) -> bytes:
    """The same of an image of mode RGB, or (not as jpg) RGBA; `profile`: its own, if not sRGB's."""
    buffer = io.BytesIO()
    profile = profile or srgb_profile()
    if format == "png":
        image.save(buffer, "PNG", compress_level=4, icc_profile=profile)
    elif format == "webp":
        # `exact` keeps the colours of what is transparent.
        lossless = quality == 100
        image.save(
            buffer, "WEBP", quality=quality, lossless=lossless, exact=True, icc_profile=profile
        )
    else:
        image.save(buffer, "JPEG", quality=quality, subsampling=0, icc_profile=profile)
    return buffer.getvalue()


def image_format(format: str) -> str:
    """The image format of results of one of `RESULT_FORMATS`: in shards nothing is lost."""
    return "png" if format == SHARDS else format


def thumbnail_size(size: tuple[int, int]) -> tuple[int, int]:
    """The (width, height), or the largest of its shape that a preview has."""
    scale = min(1, THUMBNAIL / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def thumbnail(pixels: np.ndarray) -> bytes:
    """(H,W,3) uint8 -> a JPEG of at most 256 px a side, for pages."""
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return encode_image(np.asarray(image), "jpg", 88)
