"""What a condition is made from: ids, part masks, drawn edges, joints, landmarks.

Shards hold these, because one-hot planes, distance maps and Canny edges are made after crop and
flip. `build_condition` makes the condition array of `conditions` from them.

    kind                    arrays
    labels, ade20k          ids (H, W) uint8 or uint16
    celebahq-mask           ids; glasses (H, W) uint8, 0 or 1
    celebahq-edge           parts (H, W) uint16, a bit for each name of FACE_PARTS
    deepfashion, pose       joints (18, 2) float32
    edges                   edges (H, W) uint8, drawn; or none, made from the photo
    face-edges              landmarks (68, 2) float32; or parts; or none
    chains                  joints (J, 2) float32; chains (C, L) int16 of joint numbers, -1 behind

Points are x and y in pixels of a photo of the sources' size, NaN where missing.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Set
from dataclasses import dataclass
from typing import IO

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from cocoscli.data.building import build_condition, join_chains, pack_parts, unpack_parts
from cocoscli.data.images import MAX_PIXELS, Size
from cocoscli.data.polylines import FACE_LANDMARKS
from cocoscli.data.skeleton import JOINTS, MAX_COORDINATE
from cocoscli.data.wording import one_line
from cocoscli.errors import BadInput

PLANES = ("ids", "glasses", "parts", "edges")
POINTS = ("joints", "landmarks")
FORMS: dict[str, tuple[Set[str], ...]] = {  # the arrays that a kind may have
    "labels": ({"ids"},),
    "ade20k": ({"ids"},),
    "celebahq-mask": ({"ids", "glasses"},),
    "celebahq-edge": ({"parts"},),
    "deepfashion": ({"joints"},),
    "pose": ({"joints"},),
    "edges": ({"edges"}, set()),
    "face-edges": ({"landmarks"}, {"parts"}, set()),
    "chains": ({"joints", "chains"},),
}
DTYPES = {
    "ids": ("|u1", "<u2"),
    "glasses": ("|u1",),
    "parts": ("<u2",),
    "edges": ("|u1",),
    "joints": ("<f4",),
    "landmarks": ("<f4",),
    "chains": ("<i2",),
    "size": ("<i4",),
}
UNFILTERED = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE)
"""Ids repeat as they are: no filter makes smaller files, and sooner."""
MAX_BYTES = 1 << 28  # of a file
MAX_POINTS = 4096
MAX_CHAINS = 254

__all__ = [
    "Sources",
    "build_condition",
    "decode_sources",
    "encode_sources",
    "join_chains",
    "pack_parts",
    "unpack_parts",
]


@dataclass(frozen=True, eq=False)
class Sources:
    """The sources of one condition, aligned with a photo of `size` (width, height)."""

    kind: str
    arrays: dict[str, np.ndarray]
    size: Size

    @property
    def needs_photo(self) -> bool:
        """Whether the condition takes edges from the photo."""
        if self.kind == "edges":
            return "edges" not in self.arrays
        return self.kind in ("celebahq-edge", "face-edges")

    @property
    def lack(self) -> str | None:
        """What the condition falls back on, in words, where its best sources are not there."""
        if self.kind != "face-edges" or "landmarks" in self.arrays:
            return None
        instead = "part borders and " if "parts" in self.arrays else ""
        return f"no landmarks: {instead}Canny edges are taken alone"

    def resized(self, size: Size) -> Sources:
        """Aligned with the photo resized to `size`: planes nearest, points scaled.

        Whole coordinates are pixel centres, as they are to the resizing of pictures.
        """
        if size == self.size:
            return self
        scale = np.array(size, np.float64) / self.size
        arrays = dict(self.arrays)
        for name, array in self.arrays.items():
            if name in PLANES:
                image = Image.fromarray(array).resize(size, Image.Resampling.NEAREST)
                arrays[name] = np.array(image)
            elif name in POINTS:
                arrays[name] = ((array + 0.5) * scale - 0.5).astype(np.float32)
        return Sources(self.kind, arrays, size)


def encode_sources(sources: Sources) -> tuple[str, bytes]:
    """The suffix and bytes of a file: `png` for a single plane, else `npz`.

    The same sources give the same bytes on one machine.
    """
    if len(sources.arrays) == 1 and (plane := next(iter(sources.arrays))) in PLANES:
        return "png", cv2.imencode(".png", sources.arrays[plane], UNFILTERED)[1].tobytes()
    buffer = io.BytesIO()
    arrays = {**sources.arrays, "size": np.array(sources.size, np.int32)}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in sorted(arrays.items()):
            entry = zipfile.ZipInfo(f"{name}.npy")  # of the year 1980
            entry.create_system, entry.compress_type = 3, zipfile.ZIP_DEFLATED
            file = io.BytesIO()
            np.lib.format.write_array(file, np.ascontiguousarray(array), (1, 0), False)
            archive.writestr(entry, file.getvalue())
    return "npz", buffer.getvalue()


def decode_sources(
    kind: str, suffix: str, data: bytes, size: Size | None = None, source: str = "condition"
) -> Sources:
    """Read what `encode_sources` wrote; nothing in the bytes is trusted.

    Raises BadInput, which names `source`, for anything else, and where the sources are not
    aligned with a photo of `size`.
    """
    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES:,} bytes")
        if kind not in FORMS or suffix not in ("png", "npz"):
            raise ValueError("an unknown kind or suffix")
        sources = _decode_png(kind, data) if suffix == "png" else _decode_npz(kind, data)
        if size is not None and sources.size != size:
            raise ValueError("made for {}x{} pixels, beside {}x{}".format(*sources.size, *size))
        return sources
    except MemoryError:
        raise
    except Exception as error:  # on damaged files zipfile, NumPy and Pillow raise nearly everything
        fault = "damaged" if isinstance(error, UnidentifiedImageError) else one_line(error)
        raise BadInput(
            f"{source}.{suffix}: no sources of a {kind} condition ({fault}).",
            "Write the shards again with cocos prepare.",
        ) from error


def _decode_png(kind: str, data: bytes) -> Sources:
    names = [next(iter(form)) for form in FORMS[kind] if len(form) == 1 and form <= set(PLANES)]
    if not names:
        raise ValueError("a picture, expected npz")
    if not data.startswith(b"\x89PNG"):
        raise ValueError("no PNG")
    depth = {b"\x08\x00": np.uint8, b"\x10\x00": np.uint16}.get(data[24:26])
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        if depth is None:
            raise ValueError("no grey PNG of 8 or 16 bits")
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width}x{image.height} pixels")
        image.load()
    return _checked(kind, {names[0]: np.array(image).astype(depth)}, image.size)


def _decode_npz(kind: str, data: bytes) -> Sources:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        names = [entry.filename.removesuffix(".npy") for entry in entries]
        if len(names) > 3 or len(set(names)) < len(names) or not set(names) <= set(DTYPES):
            raise ValueError(f"unexpected members {str(names[:4])[:100]}")
        arrays = {}
        for name, entry in zip(names, entries, strict=True):
            with archive.open(entry) as file:
                arrays[name] = _read_array(file, name)
    width, height = arrays.pop("size").tolist()
    return _checked(kind, arrays, (width, height))


def _read_array(file: IO[bytes], name: str) -> np.ndarray:
    """One array, its type and size judged by its header before anything of it is read."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"{name}: an unknown version of npy")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=1000)
    if fortran or dtype.str not in DTYPES[name]:
        raise ValueError(f"{name}: of type {dtype}")
    most = MAX_PIXELS if name in PLANES else MAX_POINTS * MAX_CHAINS
    count = int(np.prod([int(side) for side in shape], dtype=object))
    if min(shape, default=0) < 0 or not 0 <= count <= most:
        raise ValueError(f"{name}: of shape {shape}")
    data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize or file.read(1):
        raise ValueError(f"{name}: cut short, or more than its shape says")
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _checked(kind: str, arrays: dict[str, np.ndarray], size: Size) -> Sources:
    """The sources, if a kind may have these arrays, with these shapes and values."""
    if set(arrays) not in FORMS[kind]:
        raise ValueError(f"arrays {sorted(arrays)}")
    if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
        raise ValueError("for a photo of {}x{} pixels".format(*size))
    for name, array in arrays.items():
        if array.dtype.str not in DTYPES[name]:
            raise ValueError(f"{name}: of type {array.dtype}")
        if not _fits(name, array, size, arrays, kind):
            raise ValueError(f"{name}: unexpected shape {array.shape} or values")
    return Sources(kind, arrays, size)


def _fits(
    name: str, array: np.ndarray, size: Size, arrays: dict[str, np.ndarray], kind: str
) -> bool:
    """Whether an array has the shape and values that its name, kind and photo ask for."""
    if array.ndim != 2:
        return False
    if name in PLANES:
        return array.shape == (size[1], size[0])
    if name == "chains":
        few = len(array) <= MAX_CHAINS and array.shape[1] <= MAX_POINTS
        joints = len(arrays["joints"])
        return few and ((array >= -1) & (array < joints)).all().item()
    count = FACE_LANDMARKS if name == "landmarks" else len(JOINTS)
    if kind == "chains":
        count = min(len(array), MAX_POINTS)
    near = not (np.abs(array) > MAX_COORDINATE).any()
    return array.shape == (count, 2) and near
