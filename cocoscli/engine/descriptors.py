"""What images are compared by when exemplars are looked for, and where it is kept.

A descriptor is a float32 vector of length 1 (0 where there is nothing to describe), so that an
inner product is a similarity; that of an image with itself is 1.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import torch
from cocosnet.features import Vgg, layer_names
from torch import Tensor
from torch.nn import functional as F

from cocoscli.data.conditions import IGNORE, check_ids
from cocoscli.engine.files import PRIVATE
from cocoscli.errors import BadInput, CocosError

LAYOUT_STORE = f"{PRIVATE}/layouts.npy"
"""Where `cocos prepare` keeps layout descriptors in its output folder."""
GRID = 4
LIMIT = 512
POOLINGS = 5
HEADER_BYTES = 128  # of a .npy file of rows: numpy leaves room for any count


def layout_width(classes: int, grid: int = GRID, limit: int = LIMIT) -> int:
    """The number of values of a layout descriptor."""
    cells = grid * grid
    return min(cells * classes, cells * (limit // cells))


def layout_descriptor(
    labels: np.ndarray,
    classes: int,
    *,
    grid: int = GRID,
    limit: int = LIMIT,
    ignore: int | None = IGNORE,
) -> np.ndarray:
    """labels (H,W) of 0..classes-1 or `ignore` -> (layout_width,): square roots of class areas.

    Areas are shares of the pixels that are not ignored, taken in grid x grid cells; the inner
    product of two descriptors is their layouts' Bhattacharyya coefficient, 0..1.

    More classes than `limit` has room for (32 by default) are projected: in each cell a class
    stands for a fixed vector of random signs. Nothing depends on which classes a dataset has, no
    table grows with them, equal layouts still score 1, and others are off by about 1/sqrt(limit).
    A limit of grid * grid * classes avoids it. Raises BadInput for other ids, ValueError for a
    limit below grid * grid.
    """
    cells = grid * grid
    if limit < cells:
        raise ValueError(f"limit {limit}: expected at least {cells}, a value a cell")
    check_ids(labels, classes, ignore)
    rows, columns = (np.arange(n) * grid // n for n in labels.shape)
    bins = (rows[:, None] * grid + columns) * classes + labels
    counts = np.bincount(bins[labels != ignore], minlength=cells * classes)
    areas = np.sqrt(counts / max(1, counts.sum())).reshape(cells, classes)
    if cells * classes <= limit:
        return areas.ravel().astype(np.float32)
    present = areas.any(0).nonzero()[0]
    signs = np.array([_signs(int(c), cells, limit // cells) for c in present])
    return _unit(np.einsum("ij,jik->ik", areas[:, present], signs).ravel())


@lru_cache(maxsize=4096)
def _signs(label: int, cells: int, width: int) -> np.ndarray:
    """(cells,width) of -1 and 1, the same on every machine."""
    words = np.random.default_rng([label, cells, width]).bytes(cells * width)
    return (np.frombuffer(words, np.uint8).reshape(cells, width) & 1) * 2.0 - 1


def _unit(vector: np.ndarray) -> np.ndarray:
    return (vector / (np.linalg.norm(vector) or 1)).astype(np.float32)


def photo_descriptors(
    photos: Iterable[np.ndarray],
    vgg: Vgg,
    device: torch.device | str = "cpu",
    batch_size: int = 8,
) -> Iterator[np.ndarray]:
    """Photos (H,W,3) uint8 -> (512,) each, in order: VGG features pooled after the last stage.

    `vgg` must be on `device`. Neighbours of one size go through together, `batch_size` at a time;
    this changes values by rounding only. Raises BadInput below 32 px a side, CocosError for
    features that are not finite.
    """
    for shape, same in groupby(photos, np.shape):
        if min(shape[:2]) < 2**POOLINGS:
            raise BadInput(f"A photo of {shape[1]}x{shape[0]} px: expected at least 32 a side.")
        while batch := list(islice(same, batch_size)):
            images = torch.from_numpy(np.stack(batch)).to(device).permute(0, 3, 1, 2)
            yield from pooled_features(vgg, images.float() / 127.5 - 1).cpu().numpy()


@torch.inference_mode()
def pooled_features(vgg: Vgg, images: Tensor) -> Tensor:
    """images (B,3,H,W), -1..1 -> (B,512), normalised: the mean of the last pooled map."""
    last = layer_names(vgg.depth)[-1]
    maps = F.max_pool2d(vgg(images, (last,))[last], 2)
    features = F.normalize(maps.mean((2, 3)))
    if not bool(features.isfinite().all()):
        raise CocosError(f"{vgg.name}: features that are not finite.", "Give other weights.")
    return features


class DescriptorStore:
    """A .npy file of rows that is written as they come: memory holds none of them.

    Opened again it goes on after the last whole row, or after the first `count`. The header counts
    the rows as of the last `flush` or `close`. Raises CocosError where the file holds rows of
    another kind or fewer than `count`.
    """

    def __init__(
        self, path: Path, width: int, dtype: str = "float32", count: int | None = None
    ) -> None:
        self.path, self.width, self.dtype = path, width, np.dtype(dtype)
        self._file = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115 (see close)
        try:
            self._count = self._resume(count)
        except BaseException:
            self._file.close()
            raise

    def _resume(self, count: int | None) -> int:
        size = self._file.seek(0, os.SEEK_END)
        if size >= HEADER_BYTES:
            self._check()
        present = max(0, size - HEADER_BYTES) // self._row_bytes
        count = present if count is None else count
        if count > present:
            raise CocosError(
                f"{self.path}: {present:,} descriptors, expected at least {count:,}.",
                "Remove the file to compute them again.",
            )
        self._file.truncate(min(size, HEADER_BYTES + count * self._row_bytes))
        self._write_header(count)
        return count

    def _check(self) -> None:
        self._file.seek(0)
        try:
            np.lib.format.read_magic(self._file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(self._file)
        except ValueError:
            shape, dtype = (), None
        if shape[1:] != (self.width,) or dtype != self.dtype or self._file.tell() != HEADER_BYTES:
            raise CocosError(
                f"{self.path}: not descriptors of {self.width} {self.dtype} values.",
                "Remove the file to compute them again.",
            )

    @property
    def _row_bytes(self) -> int:
        return self.width * self.dtype.itemsize

    def _write_header(self, count: int) -> None:
        self._file.seek(0)
        self._file.write(_header(count, self.width, self.dtype))
        self._file.seek(0, os.SEEK_END)

    def __len__(self) -> int:
        return self._count

    def append(self, rows: np.ndarray) -> None:
        """A row (D,) or rows (B,D). Raises ValueError for another width and for NaN or infinity."""
        with np.errstate(over="ignore"):  # becomes infinity, and is refused
            rows = np.atleast_2d(rows).astype(self.dtype)
        if rows.shape[1:] != (self.width,) or not np.isfinite(rows).all():
            raise ValueError(f"rows {rows.shape}: expected {self.width} finite values each")
        self._file.write(rows.tobytes())
        self._count += len(rows)

    def flush(self) -> None:
        """All rows so far are on the disk and counted when this returns."""
        self._write_header(self._count)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        if not self._file.closed:
            self.flush()
            self._file.close()

    def __enter__(self) -> DescriptorStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _header(count: int, width: int, dtype: np.dtype) -> bytes:
    """The .npy header, HEADER_BYTES long."""
    buffer = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    fields = {"descr": descr, "fortran_order": False, "shape": (count, width)}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


def open_descriptors(path: Path) -> np.ndarray:
    """The (N,D) rows of a store, mapped and read-only. Raises CocosError."""
    try:
        return np.load(path, mmap_mode="r" if path.stat().st_size > HEADER_BYTES else None)
    except OSError as error:
        raise CocosError(f"{path}: cannot be read ({error.strerror}).") from None
    except (ValueError, EOFError) as error:
        raise CocosError(f"{path}: not a file of descriptors ({error}).") from None
