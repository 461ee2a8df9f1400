"""Matches of a grid as displacements of pixels.

A flow (h,w,2) holds, for each cell of a matching grid, the xy of its match in pixels of the other
image. Pixel centres lie at integers, and cell i is centred at 4i + 1.5. A displacement is a match
less the position that it belongs to.

Between cells a displacement is interpolated bilinearly, over those of the four cells around that
agree with the nearest one: whose displacement differs from its by at most `AGREE`. So where
neighbouring cells go to different places, no pixel is sent to somewhere in between.
"""

from __future__ import annotations

import numpy as np
from cocosnet.config import STRIDE

AGREE = 2.0 * STRIDE
"""Pixels: what rounding to whole cells can make of neighbours that move alike."""


def centres(height: int, width: int) -> np.ndarray:
    """(height, width, 2) float32: xy of the centre of each cell of a grid."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return (np.stack([x, y], axis=-1) * STRIDE + (STRIDE - 1) / 2).astype(np.float32)


def nearest_cells(points: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Points (..., 2) xy in pixels -> (..., 2) column and row of the cell each lies in.

    `grid` is (rows, columns); a point beyond it goes to the cell at the border.
    """
    cells = np.floor((points + 0.5) / STRIDE).astype(np.int64)
    return np.clip(cells, 0, (grid[1] - 1, grid[0] - 1))


def displacement_at(flow: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Flow (h,w,2), points (..., 2) xy in pixels -> (..., 2) float32 their displacements."""
    grid = flow.shape[:2]
    moves = flow - centres(*grid)
    column, row = np.moveaxis(nearest_cells(points, grid), -1, 0)
    nearest = moves[row, column]
    place = np.clip((points - (STRIDE - 1) / 2) / STRIDE, 0, (grid[1] - 1, grid[0] - 1))
    first = np.floor(place).astype(np.int64)
    part = place - first
    total = np.zeros(points.shape, np.float64)
    weights = np.zeros(points.shape[:-1], np.float64)
    for right in (0, 1):
        for below in (0, 1):
            x = np.minimum(first[..., 0] + right, grid[1] - 1)
            y = np.minimum(first[..., 1] + below, grid[0] - 1)
            move = moves[y, x]
            weight = np.abs(1 - right - part[..., 0]) * np.abs(1 - below - part[..., 1])
            agrees = np.linalg.norm(move - nearest, axis=-1) <= AGREE
            weight = np.where(agrees, weight, 0.0)
            total += weight[..., None] * move
            weights += weight
    return (total / weights[..., None]).astype(np.float32)


def dense_displacement(flow: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Flow (h,w,2) of an image of (width, height) -> (height, width, 2): of each of its pixels."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return displacement_at(flow, np.stack([x, y], axis=-1).astype(np.float64))
