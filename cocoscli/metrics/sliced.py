"""SWD: the sliced Wasserstein distance of patches in Laplacian pyramids.

images -> pyramids -> patches -> each set standardised -> projections -> sorted differences.
Patches of a picture depend on its pixels and the seed alone, so that neither order nor batches
count and equal sets have the distance 0. They lie in a temporary file: memory does not grow.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 256
LEVELS = (256, 128, 64, 32, 16)
PATCHES = 128
"""Patches of a picture a level."""
PATCH = 7
DIRECTIONS = 4 * 128
AT_ONCE = 16
"""Directions that are projected and sorted together."""
VALUES = 3 * PATCH * PATCH

_BINOMIAL = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """(B,3,256,256) -> the differences of five levels (B,3,s,s), the last the blurred picture."""
    levels = [images]
    for _ in LEVELS[1:]:
        smaller = _blur(levels[-1])[..., ::2, ::2]
        levels[-1] = levels[-1] - _enlarge(smaller)
        levels.append(smaller)
    return levels


def _blur(images: Tensor) -> Tensor:
    """5x5 binomial, mirrored at the borders."""
    channels = images.shape[1]
    kernel = torch.outer(_BINOMIAL, _BINOMIAL).to(images).expand(channels, 1, 5, 5)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel, groups=channels)


def _enlarge(images: Tensor) -> Tensor:
    """Twice the size: zeros between, blurred, times 4."""
    batch, channels, height, width = images.shape
    spread = images.new_zeros(batch, channels, 2 * height, 2 * width)
    spread[..., ::2, ::2] = images
    return 4 * _blur(spread)


class PatchSet:
    """The patches of a set of pictures."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.count = 0
        self._files = [tempfile.TemporaryFile() for _ in LEVELS]  # noqa: SIM115

    def add(self, images: np.ndarray) -> None:
        """Take pictures (B,256,256,3) uint8."""
        for pixels in images:
            planes = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))[None]
            rng = np.random.default_rng([self.seed, *_marks(pixels)])
            for file, level in zip(self._files, laplacian_pyramid(planes), strict=True):
                file.write(_patches(level[0].numpy(), rng).tobytes())
            self.count += 1

    def close(self) -> None:
        """Give the files back."""
        for file in self._files:
            file.close()

    def level(self, number: int, count: int) -> np.ndarray:
        """A level's patches of the first pictures: (count * 128, 147) float32, on disk."""
        file = self._files[number]
        file.flush()
        return np.memmap(file, np.float32, "r", shape=(count * PATCHES, VALUES))


def _marks(pixels: np.ndarray) -> list[int]:
    digest = hashlib.sha256(pixels.tobytes()).digest()
    return [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]


def _patches(level: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(3,s,s) -> (128,147): patches at random places, whole ones."""
    windows = np.lib.stride_tricks.sliding_window_view(level, (PATCH, PATCH), axis=(1, 2))
    rows, columns = rng.integers(0, windows.shape[1], (2, PATCHES))
    return np.ascontiguousarray(windows[:, rows, columns].transpose(1, 0, 2, 3)).reshape(
        PATCHES, VALUES
    )


def sliced_wasserstein(one: PatchSet, other: PatchSet) -> list[float]:
    """The distance x 1000 at each level, finest first; 0 for equal sets. Their mean is SWD.

    Of the larger set as many pictures count as the other one has. Directions follow from the seed
    of the first.
    """
    count = min(one.count, other.count)
    rng = np.random.default_rng(one.seed)
    found = []
    for number in range(len(LEVELS)):
        directions = rng.standard_normal((VALUES, DIRECTIONS))
        directions /= np.linalg.norm(directions, axis=0)
        both = [_projected(s.level(number, count), directions) for s in (one, other)]
        gaps = [float(np.abs(a - b).mean()) for a, b in zip(*both, strict=True)]
        found.append(1000 * sum(gaps) / len(gaps))
    return found


def _projected(patches: np.ndarray, directions: np.ndarray) -> Iterator[np.ndarray]:
    """Standardised patches on a few directions at a time, sorted along each: (N, AT_ONCE)."""
    mean, deviation = _statistics(patches)
    scaled = directions / np.repeat(deviation, PATCH * PATCH)[:, None]
    offset = np.repeat(mean, PATCH * PATCH) @ scaled
    for start in range(0, DIRECTIONS, AT_ONCE):
        few = slice(start, start + AT_ONCE)
        yield np.sort(patches @ scaled[:, few].astype(np.float32) - offset[few], axis=0)


def _statistics(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each channel over all patches and their pixels: (3,) twice.

    A channel without any variation has the deviation 1.
    """
    count = len(patches) * PATCH * PATCH
    totals = np.zeros((2, 3))
    for block in np.array_split(patches, max(1, len(patches) // 8192)):
        channels = block.reshape(-1, 3, PATCH * PATCH).astype(np.float64)
        totals += channels.sum(axis=(0, 2)), (channels**2).sum(axis=(0, 2))
    mean = totals[0] / count
    deviation = np.sqrt(np.maximum(totals[1] / count - mean**2, 0))
    return mean, np.where(deviation > 1e-6, deviation, 1.0)
