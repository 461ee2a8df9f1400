"""Resizing photos."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.nn import functional as F


def resize_bicubic(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 to (width, height), bicubic, with Pillow's kernel and clamping.

    Rows first, then columns, in whole numbers: the same on any number of threads. Pillow rounds a
    little differently (1 level, where it enlarges tenfold 2), and its order of the two passes
    depends on its version and the sizes.
    """
    width, height = size
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    resized = F.interpolate(image, (height, width), mode="bicubic", antialias=True)
    return cv2.merge(list(resized[0].numpy()))
