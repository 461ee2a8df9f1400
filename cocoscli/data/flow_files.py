"""Flow as files, in bytes: NumPy's .npz, Middlebury's .flo, KITTI's 16-bit PNG.

.flo and PNG hold displacements in pixels, (H,W,2) xy, of every pixel.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import cv2
import numpy as np

FLOW_FORMATS = ("npz", "flo", "kitti")
SUFFIXES = {"npz": "npz", "flo": "flo", "kitti": "kitti.png"}
KITTI_LIMIT = 511.0
"""The largest displacement along x or y, in pixels, that a KITTI file is trusted with."""


def encode_npz(arrays: Mapping[str, object]) -> bytes:
    """A compressed archive of arrays; the same values give the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: np.asarray(value) for name, value in arrays.items()})  # type: ignore[arg-type]
    return buffer.getvalue()


def encode_flo(displacement: np.ndarray) -> bytes:
    """Middlebury's: `PIEH`, width and height as int32, then u and v as float32 row by row."""
    height, width = displacement.shape[:2]
    head = np.array([width, height], "<i4").tobytes()
    return b"PIEH" + head + displacement.astype("<f4").tobytes()


def encode_kitti(displacement: np.ndarray) -> tuple[bytes, int]:
    """KITTI's: a 16-bit PNG of u * 64 + 2^15, v * 64 + 2^15, and 1 where it is valid.

    Beyond `KITTI_LIMIT` a pixel is invalid and 0. -> the file, and how many are.
    """
    valid = np.abs(displacement).max(axis=-1) <= KITTI_LIMIT
    codes = np.rint(displacement.astype(np.float64) * 64 + 2**15)
    u, v = np.moveaxis(np.where(valid[..., None], codes, 0).astype(np.uint16), -1, 0)
    ok, data = cv2.imencode(".png", np.stack([valid.astype(np.uint16), v, u], axis=-1))  # B, G, R
    assert ok
    return data.tobytes(), int((~valid).sum())
