"""Matches of a grid as displacements of pixels.

A flow (h,w,2) holds, for each cell of a matching grid, the xy of its match in pixels of the other
image. Pixel centres lie at integers, and cell i is centred at 4i + 1.5. A displacement is a match
less the position that it belongs to.
"""

from __future__ import annotations

import numpy as np
import torch
from cocosnet.config import STRIDE
from cocosnet.flow import displacement_at as displacements


def nearest_cells(points: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Points (..., 2) xy in pixels -> (..., 2) column and row of the cell each lies in.

    `grid` is (rows, columns); a point beyond it goes to the cell at the border.
    """
    cells = np.floor((points + 0.5) / STRIDE).astype(np.int64)
    return np.clip(cells, 0, (grid[1] - 1, grid[0] - 1))


def displacement_at(flow: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Flow (h,w,2), points (..., 2) xy in pixels -> (..., 2) float32 their displacements."""
    at = torch.from_numpy(points).float()
    return displacements(torch.from_numpy(flow)[None], at)[0].numpy()


def dense_displacement(flow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Flow (h,w,2) of an image of (width, height) -> (height, width, 2): of each of its pixels."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return displacement_at(flow, np.stack([x, y], axis=-1).astype(np.float64))
