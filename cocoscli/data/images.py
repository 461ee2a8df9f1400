"""Reading image files that nobody has checked: photos and label maps.

Every file is untrusted. Its size is read from the header and refused before anything is decoded;
only common raster formats are tried; whatever is wrong with it becomes one `BadInput`.
Sizes are (width, height) as in Pillow, arrays are (H, W, ...) as in NumPy.
"""

from __future__ import annotations

import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from cocoscli.data.colors import (
    MAX_ID,
    ColorTable,
    describe_colors,
    ids_of_colors,
    read_color_table,
)
from cocoscli.data.resizing import resize_bicubic
from cocoscli.data.wording import one_line, shown
from cocoscli.errors import BadInput

MAX_PIXELS = 178_956_970  # Pillow's own limit, stated here so that it holds whatever Pillow's is
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
LOSSLESS = ("PNG", "BMP", "TIFF", "GIF", "PPM")
LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".ppm")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".webp", *LABEL_SUFFIXES)

ASPECT = 0.02
"""Relative difference of the aspect ratios of a photo and its map that is let pass."""

Size = tuple[int, int]

__all__ = [
    "IMAGE_SUFFIXES",
    "LABEL_SUFFIXES",
    "MAX_PIXELS",
    "ColorTable",
    "Size",
    "alpha_of",
    "check_aspect",
    "fitted",
    "image_size",
    "is_image",
    "opaque_srgb",
    "open_photo",
    "open_upright",
    "read_bytes",
    "read_color_table",
    "read_labels",
    "read_photo",
]

_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 swap width and height
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SRGB = ImageCms.createProfile("sRGB")

# Pillow warns from half the limit on, and of odd metadata. Here what matters is an error.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def is_image(path: Path) -> bool:
    """Whether the name (not the content) of `path` is that of an image that can be read."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def read_bytes(path: Path) -> bytes:
    """The bytes of an image file, for readers that take `data`. Raises BadInput."""
    try:
        _check_file(path)
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(shown(path), error) from error


def image_size(path: Path, upright: bool = True, *, data: bytes | None = None) -> Size:
    """The (width, height) of an image from its header alone; `upright` heeds its orientation.

    With `data`, the file's bytes, `path` only names it in messages. Raises BadInput.
    """
    with _opened(path, data) as image:
        width, height = image.size
        return (height, width) if upright and _orientation(image) >= 5 else (width, height)


def is_colour(path: Path) -> bool:
    """Whether an image's pixels are colours, not greys or a palette's indices. Raises BadInput."""
    with _opened(path) as image:
        return image.mode in ("RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV")


def check_aspect(file: Path, size: Size, photo: Path, native: Size) -> None:
    """BadInput where a map of `size` cannot be that of a photo of `native` size by its shape."""
    if abs(size[0] * native[1] / (size[1] * native[0]) - 1) > ASPECT:
        raise BadInput(
            f"{shown(file)}: {size[0]}x{size[1]}, but its photo {shown(photo)} is "
            f"{native[0]}x{native[1]}: another shape, so they cannot be aligned.",
            "Crop or export them alike.",
        )


def read_photo(
    path: Path,
    size: Size | None = None,
    resample: int = Image.Resampling.BICUBIC,
    *,
    data: bytes | None = None,
) -> np.ndarray:
    """Read a photo as (H, W, 3) uint8 sRGB, upright, transparency composited onto white.

    `size` is (width, height); None keeps the photo's own. With `data`, the file's bytes, `path`
    only names it in messages. Raises BadInput.
    """
    return np.array(fitted(open_photo(path, data), size, resample))


def fitted(
    image: Image.Image, size: Size | None, resample: int = Image.Resampling.BICUBIC
) -> Image.Image:
    """An image resized to (width, height); None keeps its own.

    Photos are resized bicubically by torch: `resizing` says how near to Pillow. Other filters are
    Pillow's own: released edges were made with its bilinear one.
    """
    if size is None or image.size == size:
        return image
    if image.mode == "RGB" and resample == Image.Resampling.BICUBIC:
        return Image.fromarray(resize_bicubic(np.array(image), size))
    return image.resize(size, Image.Resampling(resample))


def open_photo(path: Path, data: bytes | None = None) -> Image.Image:
    """A photo at its own size as `read_photo` has it, in Pillow's hands: of mode RGB."""
    image = open_upright(path, data)
    rgb, alpha = opaque_srgb(image, path)
    if alpha is not None:
        opaque, rgb = rgb, Image.new("RGB", rgb.size, "white")
        rgb.paste(opaque, mask=alpha)
    rgb.info = {}  # a comment or a profile of the file would be written with it again
    return rgb


def open_upright(path: Path, data: bytes | None = None) -> Image.Image:
    """An image as its file has it, of any mode, turned upright. Raises BadInput."""
    with _opened(path, data) as image:
        image.load()
        turn = _TURN.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def read_labels(
    path: Path, size: Size | None = None, colors: ColorTable | None = None
) -> np.ndarray:
    """Read a label map as (H, W) class ids, uint8 where they fit, else uint16; resized to the
    nearest pixel.

    Grey values and palette *indices* are ids as they are; an RGB mask needs `colors`, a table
    from id to colour, unless its three channels are equal. A grey PNG of 1, 2 or 4 bits gives
    its stored values. `size` is (width, height); None keeps the map's own. Raises BadInput.
    """
    data = read_bytes(path)
    with _opened(path, data) as image:
        image.load()
    jpeg = image.info.get("compression") == "jpeg"  # a TIFF may hold one
    if image.format not in LOSSLESS or jpeg:
        raise BadInput(
            f"{shown(path)}: a label map stored as {'JPEG in ' if jpeg else ''}{image.format}; "
            "expected a lossless PNG, because lossy compression changes class ids.",
            "Export the label map as PNG again: converting this file does not bring its ids back.",
        )
    ids = _label_ids(image, path, colors)
    if (step := _grey_step(data)) > 1:
        ids //= step
    if size is None or image.size == size:
        return ids
    return np.array(Image.fromarray(ids).resize(size, Image.Resampling.NEAREST))


def _small(ids: np.ndarray) -> np.ndarray:
    """Class ids as uint8 where they fit, else as uint16."""
    return ids.astype(np.uint8 if ids.max(initial=0) <= 255 else np.uint16)


@contextmanager
def _opened(path: Path, data: bytes | None = None) -> Iterator[Image.Image]:
    """The image with its header read and its size checked; what goes wrong becomes BadInput.

    Keep the body to Pillow's own calls: whatever it raises is taken for a damaged file.
    """
    try:
        if data is None:
            _check_file(path)
        stream = path.open("rb") if data is None else io.BytesIO(data)
        with stream as file, Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{image.width}x{image.height} pixels")
            yield image
    except (BadInput, MemoryError):
        raise
    except Exception as error:  # on damaged files Pillow raises nearly everything
        raise _unreadable(shown(path), error) from error


def _check_file(path: Path) -> None:
    """BadInput unless there are bytes in a regular file."""
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        kind = "a folder" if stat.S_ISDIR(info.st_mode) else "not a regular file"
        raise BadInput(f"{shown(path)}: {kind}; expected an image file.", "Give a file.")
    if info.st_size == 0:
        raise BadInput(
            f"{shown(path)}: the file is empty (0 bytes); expected an image.",
            "Copy or export it again.",
        )


def _unreadable(name: str, error: Exception) -> BadInput:
    """The BadInput for what opening or decoding a file raised."""
    again = "Copy or export it again."
    match error:
        case FileNotFoundError():
            return BadInput(f"{name}: no such file; expected an image.", "Check the path.")
        case PermissionError():
            reason = (error.strerror or "permission denied").lower()
            return BadInput(f"{name}: {reason}.", "Make the file readable.")
        case Image.DecompressionBombError():
            return BadInput(
                f"{name}: too large to decode safely ({one_line(error)}); expected at most "
                f"{MAX_PIXELS:,} pixels.",
                "Scale it down first.",
            )
        case OSError() if error.errno is not None:
            return BadInput(f"{name}: cannot be read ({error.strerror}); expected an image.", again)
        case UnidentifiedImageError():
            return BadInput(
                f"{name}: not an image that can be read; expected one of {', '.join(FORMATS)}.",
                "Remove the file or convert it to PNG.",
            )
    return BadInput(
        f"{name}: damaged or cut short ({one_line(error)}); expected a whole image.", again
    )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where it is missing, broken or already applied.

    Pillow turns TIFF files itself. A PNG is not decoded to look for EXIF behind its pixels.
    """
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    try:
        value = image.getexif().get(_ORIENTATION)
    except MemoryError:
        raise
    except Exception:  # broken EXIF spoils no pixel
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def alpha_of(image: Image.Image) -> Image.Image | None:
    """The transparency of an image, of mode L; None where it has none, and of 16-bit greys."""
    if image.mode.startswith("I") or not image.has_transparency_data:
        return None
    return image.convert("RGBA").getchannel("A")


def opaque_srgb(image: Image.Image, path: Path) -> tuple[Image.Image, Image.Image | None]:
    """Any mode to RGB through the file's ICC profile, as if nothing were transparent, and
    `alpha_of`. Raises BadInput for a mode without meaning; `path` names the file."""
    try:
        if image.mode == "P" and image.palette is None:  # a PNG may have lost it
            raise ValueError("its palette is missing")
        return _to_srgb(image), alpha_of(image)
    except (ValueError, OSError) as error:
        raise BadInput(
            f"{shown(path)}: pixels of mode {image.mode} cannot be read as a photo "
            f"({one_line(error)}); expected 8-bit or 16-bit grey, RGB or CMYK.",
            "Save it as an 8-bit RGB PNG or JPEG.",
        ) from error


def _to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):
        image = Image.fromarray(((_uint16(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("floating-point pixels have no known range")
    base = {"1": "L", "L": "L", "LA": "L", "La": "L", "CMYK": "CMYK"}.get(image.mode, "RGB")
    return _apply_profile(image if image.mode == base else image.convert(base), profile)


def _apply_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to sRGB; a profile that is absent, broken or of another kind is ignored."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            pass
    return image if image.mode == "RGB" else image.convert("RGB")


def _uint16(image: Image.Image) -> np.ndarray:
    """The values of an integer image (modes I and I;16*) as uint16; ValueError beyond 0..65535."""
    values = np.array(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > MAX_ID:
        raise ValueError(f"values {low}..{high} do not fit in 16 bits")
    return values.astype(np.uint16)


def _grey_step(data: bytes) -> int:
    """What Pillow multiplied the values of a 2-bit or 4-bit grey PNG by, so as to fill 0..255."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[25] != 0:
        return 1
    return {2: 85, 4: 17}.get(data[24], 1)


def _label_ids(image: Image.Image, path: Path, colors: ColorTable | None) -> np.ndarray:
    """The (H, W) uint8 or uint16 ids of a decoded label map, whatever its mode."""
    pixels = np.array(image)
    if image.mode in ("1", "L", "P"):
        return pixels.astype(np.uint8, copy=False)
    if image.mode in ("LA", "PA"):
        return pixels[..., 0].copy()
    if image.mode in ("RGB", "RGBA"):
        if colors is not None:
            return _small(ids_of_colors(pixels[..., :3], colors, shown(path)))
        if (pixels[..., :1] == pixels[..., 1:3]).all():
            return pixels[..., 0].copy()
        raise BadInput(
            f"{shown(path)}: a colour-coded mask ({describe_colors(pixels[..., :3])}); expected "
            "class ids: 8-bit or 16-bit grey, or a palette.",
            "Give the colour of each class with --colors FILE (JSON or CSV).",
        )
    try:
        if image.mode.startswith("I"):
            return _small(_uint16(image))
        raise ValueError(f"mode {image.mode}")
    except ValueError as error:
        raise BadInput(
            f"{shown(path)}: pixels that are no class ids ({one_line(error)}); expected 8-bit or "
            "16-bit grey, or a palette.",
            "Save the ids as an 8-bit or 16-bit grey PNG.",
        ) from error
