"""Moving a photo and the sources of its condition together: crop, flip, warp.

Photos are (H, W, 3) uint8 and sources aligned with them; sizes are (width, height).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from scipy.spatial import Delaunay, QhullError

from cocoscli.data.images import Size
from cocoscli.data.skeleton import JOINTS
from cocoscli.data.sources import PLANES, POINTS, Sources

ITERATIONS = 20
"""Steps that find where a warp takes a point."""
CONTROL = 4
"""Control points a side of a smooth bend."""


NONE = np.empty((0, 2), np.float32)


@dataclass(frozen=True)
class Aligned:
    """A photo, its sources and points of it."""

    photo: np.ndarray
    sources: Sources
    points: np.ndarray = field(default_factory=lambda: NONE)
    """(N,2): x and y of further points that move along."""

    @property
    def size(self) -> Size:
        return self.photo.shape[1], self.photo.shape[0]

    def move(
        self,
        photo: Callable[[np.ndarray], np.ndarray],
        plane: Callable[[np.ndarray], np.ndarray],
        points: Callable[[str, np.ndarray], np.ndarray],
    ) -> Aligned:
        """The photo, planes and points of it, each moved by its function."""
        moved = np.ascontiguousarray(photo(self.photo))
        arrays = dict(self.sources.arrays)
        for name, array in arrays.items():
            if name in PLANES:
                arrays[name] = np.ascontiguousarray(plane(array))
            elif name in POINTS:
                arrays[name] = points(name, array).astype(np.float32)
        size = (moved.shape[1], moved.shape[0])
        further = points("points", self.points).astype(np.float32) if len(self.points) else NONE
        return Aligned(moved, Sources(self.sources.kind, arrays, size), further)


def crop(item: Aligned, left: int, top: int, size: Size) -> Aligned:
    """The window of `size` at (left, top)."""
    window = (slice(top, top + size[1]), slice(left, left + size[0]))
    offset = np.array([left, top], np.float32)
    return item.move(lambda x: x[window], lambda x: x[window], lambda _, p: p - offset)


def flip(item: Aligned) -> Aligned:
    """Mirrored left to right.

    Left and right joints change names, so that a person keeps two different hands; class ids and
    parts stay what they were, as in the release.
    """
    last = item.size[0] - 1

    def mirrored(name: str, points: np.ndarray) -> np.ndarray:
        points = points * np.array([-1, 1], np.float32) + np.array([last, 0], np.float32)
        if name == "joints" and len(points) == len(JOINTS):
            points = points[_MIRROR_JOINTS]
        return points[_MIRROR_LANDMARKS] if name == "landmarks" else points

    return item.move(lambda x: x[:, ::-1], lambda x: x[:, ::-1], mirrored)


def _mirror(pairs: list[tuple[int, int]], count: int) -> np.ndarray:
    order = np.arange(count)
    for a, b in pairs:
        order[a], order[b] = b, a
    return order


_MIRROR_JOINTS = _mirror(
    [(2, 5), (3, 6), (4, 7), (8, 11), (9, 12), (10, 13), (14, 15), (16, 17)], len(JOINTS)
)
_MIRROR_LANDMARKS = _mirror(
    [(i, 16 - i) for i in range(8)]  # jaw
    + [(17 + i, 26 - i) for i in range(5)]  # brows
    + [(31, 35), (32, 34)]  # nostrils
    + [(36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)]  # eyes
    + [(48, 54), (49, 53), (50, 52), (55, 59), (56, 58)]  # outer lips
    + [(60, 64), (61, 63), (65, 67)],  # inner lips
    68,
)


def warp(item: Aligned, origins: np.ndarray) -> Aligned:
    """Each pixel taken from where `origins` (H, W, 2), x and y in the item, says.

    Photos are interpolated and mirrored at their border; planes are taken from the nearest pixel.
    """
    x, y = _axes(origins)

    def interpolated(photo: np.ndarray) -> np.ndarray:
        return cv2.remap(photo, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)

    def nearest(plane: np.ndarray) -> np.ndarray:
        return cv2.remap(plane, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)

    return item.move(interpolated, nearest, lambda _, points: _forward(points, origins))


def _forward(points: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """Where points (N, 2) go under a warp: the pixels whose origins they are."""
    height, width = origins.shape[:2]
    linear, offset = _affine_part(origins)
    inverse = np.linalg.inv(linear)
    found = (points.astype(np.float64) - offset) @ inverse.T
    for _ in range(ITERATIONS):
        inside = np.nan_to_num(np.clip(found, 0, [width - 1, height - 1])).astype(np.float32)
        sampled = cv2.remap(origins, *_axes(inside), cv2.INTER_LINEAR)[0]
        sampled = sampled + (found - inside) @ linear.T  # beyond the border: straight on
        found = found + (points - sampled) @ inverse.T
    return found


def _affine_part(origins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The affine map that a warp is closest to: (2, 2) and (2,)."""
    height, width = origins.shape[:2]
    ys, xs = np.mgrid[0 : height : max(1, height // 8), 0 : width : max(1, width // 8)]
    known = np.stack([xs.ravel(), ys.ravel(), np.ones(xs.size)], axis=1)
    solved, *_ = np.linalg.lstsq(known, origins[ys.ravel(), xs.ravel()], rcond=None)
    return solved[:2].T, solved[2]


def bend(size: Size, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Origins (H, W, 2) of a smooth random warp: control points moved by up to `strength` of the
    shorter side."""
    width, height = size
    reach = strength * min(size)
    moves = rng.uniform(-reach, reach, (CONTROL, CONTROL, 2)).astype(np.float32)
    smooth = cv2.resize(moves, (width, height), interpolation=cv2.INTER_CUBIC)
    return identity(size) + smooth


def affine(size: Size, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """Origins (H, W, 2) of a turn by `degrees` and a zoom by `scale` about the centre, and a shift
    in pixels."""
    centre = (np.array(size, np.float32) - 1) / 2
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    moved = identity(size) - centre - np.array(shift, np.float32)
    return (moved @ turn.T.astype(np.float32) + centre).astype(np.float32)


def identity(size: Size) -> np.ndarray:
    """Origins (H, W, 2) that leave everything where it is."""
    width, height = size
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([xs, ys], axis=-1)


def chained(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Origins of the warp `first` followed by the warp `second`."""
    return cv2.remap(first, *_axes(second), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _axes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y of (..., 2), each as OpenCV takes it."""
    x, y = (np.ascontiguousarray(points[..., i], np.float32) for i in (0, 1))
    return x, y


def between(points: np.ndarray, count: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """Points that lie between known ones: (N,4), xy in one image and in another -> (count,4).

    Drawn evenly over the triangles (Delaunay's) of the known ones in the first image, and carried
    to the second by each triangle's corners. Triangles that the second has turned over are left
    out, and those that lie beyond a window of `side` pixels in either; (0,4) where none is left.
    """
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 3:
        return np.empty((0, 4))
    try:
        corners = points[Delaunay(points[:, :2]).simplices]  # (T,3,4)
    except QhullError:  # all on one line
        return np.empty((0, 4))
    edges = corners[:, 1:] - corners[:, :1]
    first, second = (np.linalg.det(edges[..., i : i + 2]) for i in (0, 2))
    within = (corners.max(axis=1) >= 0) & (corners.min(axis=1) <= side - 1)
    chances = np.abs(first) * (first * second > 0) * within.all(axis=1)
    if not chances.sum():
        return np.empty((0, 4))
    chosen = corners[rng.choice(len(corners), count, p=chances / chances.sum())]
    return np.einsum("nk,nkd->nd", rng.dirichlet((1, 1, 1), count), chosen)
