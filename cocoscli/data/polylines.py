"""Edge maps drawn from points: joined face landmarks, and chains of joints.

Points are (J, 2) x and y in pixels, NaN where missing; a segment with a missing end is not drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import cv2
import numpy as np

FACE_LANDMARKS = 68
FACE_LINES: tuple[tuple[int, ...], ...] = (  # of the 68 points, counted from 0
    tuple(range(17)),  # jaw
    *(tuple(range(17, 22)), tuple(range(22, 27))),  # brows
    *(tuple(range(27, 31)), tuple(range(31, 36))),  # bridge and base of the nose
    *((*range(36, 42), 36), (*range(42, 48), 42)),  # eyes
    *((*range(48, 60), 48), (*range(60, 68), 60)),  # lips, outer and inner
)


def draw_lines(
    points: np.ndarray, lines: Iterable[Sequence[int]], height: int, width: int
) -> np.ndarray:
    """(H, W) bool: each line's points joined, one pixel wide."""
    canvas: np.ndarray = np.zeros((height, width), np.uint8)
    for line in lines:
        for start, end in pairwise(line):
            ends = points[[start, end]]
            if np.isfinite(ends).all():
                (x0, y0), (x1, y1) = np.rint(ends).astype(int).tolist()
                cv2.line(canvas, (x0, y0), (x1, y1), 255)
    return canvas > 0


def hull_mask(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W) bool: within the convex hull of the points that are there, its border included."""
    canvas: np.ndarray = np.zeros((height, width), np.uint8)
    there = points[np.isfinite(points).all(axis=1)]
    if len(there):
        cv2.fillConvexPoly(canvas, cv2.convexHull(np.rint(there).astype(np.int32)), 255)
    return canvas > 0
