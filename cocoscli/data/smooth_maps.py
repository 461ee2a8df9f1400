"""Smooth maps between two faces, from cells whose matches are partly wrong.

A map is (h,w,2): for each cell of a view's matching grid an xy in pixels elsewhere. Cell i is
centred at 4i + 1.5 pixels of its view.
"""

from __future__ import annotations

import cv2
import numpy as np
from cocosnet.config import STRIDE
from cocosnet.flow import centres

DEGREE = 3
ROUNDS = 12
STRICTEST = 1 / 3
"""Matches are doubted beyond this share of the tolerance in the last round."""
DETAIL = 2.0
"""What the polynomial misses is smoothed by a Gaussian of so many cells."""
DOUBT = 0.05
"""The weight of no movement against a cell of the best weight."""


def cells(grid: tuple[int, int]) -> np.ndarray:
    """(h,w,2): xy of a grid's cells in pixels of its view."""
    return centres(grid).double().numpy()


def smoothed(moves: np.ndarray, trust: np.ndarray, tolerance: float) -> np.ndarray:
    """Displacements (h,w,2) in pixels as a smooth field that most of the trusted ones agree with.

    A polynomial is fitted again and again, each time with less weight for what lies far from it (at
    first beyond `tolerance` pixels); what the rest leaves over is smoothed and added.
    """
    field, kept = _polynomial(moves, trust, tolerance)
    weight = cv2.GaussianBlur(kept, (0, 0), DETAIL)[..., None]
    rest = cv2.GaussianBlur((moves - field) * kept[..., None], (0, 0), DETAIL)
    return field + rest / (weight + DOUBT * max(float(kept.max()), 1e-9))


def _polynomial(
    moves: np.ndarray, trust: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """The polynomial field, and the weights (h,w) that the last fit gave the cells."""
    height, width = trust.shape
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    powers = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]
    basis = np.stack([x**i * y**j for i, j in powers], axis=-1).reshape(height * width, -1)
    wanted, start = moves.reshape(-1, 2), trust.ravel() + 1e-6
    weights = start
    for limit in np.geomspace(tolerance, STRICTEST * tolerance, ROUNDS):
        weighted = basis * weights[:, None]
        fit = np.linalg.lstsq(weighted.T @ basis, weighted.T @ wanted, rcond=None)[0]
        field = basis @ fit
        apart = np.linalg.norm(field - wanted, axis=1)
        weights = start / (1 + (apart / limit) ** 2) ** 2
    return field.reshape(height, width, 2), weights.reshape(height, width)


def sampled(grid: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values of cells (h,w,D) at xy (H,W,2) in pixels of the view, interpolated: (H,W,D).

    Beyond the grid they are the border's.
    """
    at = ((places - (STRIDE - 1) / 2) / STRIDE).astype(np.float32)
    found = cv2.remap(
        grid.astype(np.float32), at[..., 0], at[..., 1], cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return found.reshape(*places.shape[:2], -1)


def mapped(grid: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Where a map (h,w,2) leads from xy (H,W,2) in pixels of its view; straight on beyond it."""
    straight = fitted(cells(grid.shape[:2]), grid)
    rest = grid - affine(straight, cells(grid.shape[:2]))
    return affine(straight, places) + sampled(rest, places)


def affine(matrix: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A (2,3) matrix on places (...,2)."""
    return places @ matrix[:, :2].T + matrix[:, 2]


def inverse(matrix: np.ndarray) -> np.ndarray:
    """The (2,3) matrix that undoes another."""
    return np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]


def fitted(places: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The (2,3) matrix that leads places (...,2) nearest to those found (...,2)."""
    places = places.reshape(-1, 2)
    known = np.concatenate([places, np.ones((len(places), 1))], axis=1)
    return np.linalg.lstsq(known, found.reshape(-1, 2), rcond=None)[0].T


def inverted(grid: np.ndarray, places: np.ndarray, rounds: int = 12) -> np.ndarray:
    """Where a map (h,w,2) comes from: xy (H,W,2) elsewhere -> in pixels of its view."""
    straight = fitted(cells(grid.shape[:2]), grid)
    back = np.linalg.inv(straight[:, :2])
    found = (places - straight[:, 2]) @ back.T
    for _ in range(rounds):
        found = found + (places - mapped(grid, found)) @ back.T
    return found
