"""Objects of synthetic landscapes: their classes, frames and outlines.

All geometry is relative: x and y run from 0 to 1 over the picture (y downwards).  Every object
lives in its own frame (u, v), which it can leave and enter analytically, so that the same point
of an object can be found in another layout exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Shape = tuple[float, ...]

SLOTS = 16  # instances per kind of object


class Label(IntEnum):
    """Class ids of a mask; 0 is reserved and never drawn."""

    UNKNOWN = 0
    SKY = 1
    MOUNTAIN = 2
    HILL = 3
    WATER = 4
    GRASS = 5
    PATH = 6
    TRUNK = 7
    CONIFER = 8
    BROADLEAF = 9
    WALL = 10
    ROOF = 11
    WINDOW = 12
    DOOR = 13


class Kind(IntEnum):
    """Kinds of objects; one object may show several classes (a house has walls and a roof)."""

    SKY = 0
    MOUNTAIN = 1
    HILL = 2
    WATER = 3
    GRASS = 4
    PATH = 5
    CONIFER = 6
    BROADLEAF = 7
    HOUSE = 8


STANDING = (Kind.CONIFER, Kind.BROADLEAF, Kind.HOUSE)
UNMATCHED = (Kind.SKY, Kind.WATER)  # no pixel of these has a counterpart in another scene


@dataclass(frozen=True)
class Item:
    """One object: its kind, its number within the kind and its frame.

    The frame is v = (base - y) / height, upwards from the foot, and u = -1 .. 1 from the left to
    the right edge, 0 on the axis.  `left` and `right` are the two half widths, in picture widths
    -- for standing objects and the sky in picture heights, so that these keep their proportions
    in any format.  The axis may `lean` and `sway`, and the widths `taper` with v.  `shape` holds
    what the outline of this kind needs besides.
    """

    kind: Kind
    index: int
    x: float
    base: float
    left: float
    right: float
    height: float
    lean: float = 0.0
    sway: float = 0.0
    taper: float = 0.0
    shape: Shape = ()

    @property
    def slot(self) -> int:
        """Instance id, unique within a layout: SLOTS * kind + index."""
        return SLOTS * self.kind + self.index

    def local(self, x: Array, y: Array, aspect: float = 1.0) -> tuple[Array, Array]:
        """(u, v) of picture points; x and y broadcast, aspect is width / height in pixels."""
        v = (self.base - y) / self.height
        dx = (x - self._axis(v)) * self._unit(aspect)
        return dx / np.where(dx < 0, self.left, self.right) / self._narrowing(v), v

    def point(self, u: Array, v: Array, aspect: float = 1.0) -> tuple[Array, Array]:
        """Picture point (x, y) of (u, v): the inverse of `local`."""
        dx = u * np.where(u < 0, self.left, self.right) * self._narrowing(v)
        return self._axis(v) + dx / self._unit(aspect), self.base - v * self.height

    def labels(self, u: Array, v: Array) -> NDArray[np.uint8]:
        """Class at (u, v), 0 outside of the object; u and v broadcast."""
        return OUTLINES[self.kind](u, v, self.shape)

    def box(self, aspect: float = 1.0) -> tuple[float, float, float, float]:
        """Bounds (x0, y0, x1, y1) of everything the object may cover."""
        if self.kind is Kind.SKY:
            return 0.0, 0.0, 1.0, 1.0
        slack = abs(self.lean) + abs(self.sway)
        x0 = self.x - slack - self.left / self._unit(aspect)
        x1 = self.x + slack + self.right / self._unit(aspect)
        return x0, self.base - 1.25 * self.height, x1, self.base

    def covers(self, x: float, y: float) -> bool:
        """Whether the object covers a point of a square picture."""
        return bool(self.labels(*self.local(np.asarray(x), np.asarray(y))) > 0)

    def _unit(self, aspect: float) -> float:
        return aspect if self.kind in STANDING or self.kind is Kind.SKY else 1.0

    def _axis(self, v: Array) -> Array | float:
        if not (self.lean or self.sway):
            return self.x
        return self.x + self.lean * v + self.sway * np.sin(2 * np.pi * v)

    def _narrowing(self, v: Array) -> Array | float:
        return np.maximum(1 - self.taper * v, 0.02) if self.taper else 1.0


def _zigzag(t: Array) -> Array:
    """Triangle wave of period 1 between -1 and 1."""
    return 4 * np.abs(t - np.floor(t) - 0.5) - 1


def _fill(label: Label, inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return inside * np.uint8(label)


def _mountain(u: Array, v: Array, shape: Shape) -> NDArray[np.uint8]:
    (phase,) = shape
    side = np.abs(u)
    rough = _zigzag(1.7 * u + phase) + 0.5 * _zigzag(4.1 * u + 3 * phase) + 0.2 * _zigzag(11 * u)
    crest = (1 - side) * (1 + 0.42 * side * rough)
    return _fill(Label.MOUNTAIN, (v >= 0) & (v <= crest))


def _hill(u: Array, v: Array, shape: Shape) -> NDArray[np.uint8]:
    (phase,) = shape
    crest = np.cos(np.pi / 2 * np.clip(u, -1, 1)) ** 2 * (1 + 0.09 * np.sin(6 * u + phase))
    return _fill(Label.HILL, (v >= 0) & (v <= crest))


def _water(u: Array, v: Array, shape: Shape) -> NDArray[np.uint8]:
    (pond,) = shape
    strip = (np.abs(u) <= 1) & (v >= 0) & (v <= 1)
    if not pond:
        return _fill(Label.WATER, strip)
    wobble = 0.86 + 0.14 * np.sin(4 * u + pond) * np.cos(3 * v + pond)
    return _fill(Label.WATER, strip & (u**2 + (2 * v - 1) ** 2 <= wobble))


def _grass(u: Array, v: Array, shape: Shape) -> NDArray[np.uint8]:
    depth, phase, tilt = shape
    crest = 1 - depth * (0.5 + 0.35 * np.sin(2.6 * u + phase) + 0.15 * np.sin(6.1 * u + 2 * phase))
    return _fill(Label.GRASS, (v >= 0) & (v <= crest + tilt * u - 0.6 * abs(tilt)))


def _path(u: Array, v: Array, shape: Shape) -> NDArray[np.uint8]:
    return _fill(Label.PATH, (np.abs(u) <= 1) & (v >= 0) & (v <= 1))


def _conifer(u: Array, v: Array, shape: Shape) -> NDArray[np.uint8]:
    rise = (v - 0.13) / 0.87
    tier = 4.5 * rise
    reach = (1 - rise) * (1 - 0.38 * (tier - np.floor(tier)))
    crown = (rise >= 0) & (rise <= 1) & (np.abs(u) <= reach)
    trunk = (np.abs(u) < 0.13) & (v >= 0) & (v < 0.2)
    return np.where(crown, np.uint8(Label.CONIFER), _fill(Label.TRUNK, trunk))


LEAF_BALLS = (
    (0.0, 0.74, 0.58, 0.26),
    (-0.52, 0.58, 0.46, 0.2),
    (0.5, 0.6, 0.48, 0.21),
    (-0.3, 0.82, 0.4, 0.15),
    (0.34, 0.8, 0.4, 0.16),
    (0.0, 0.54, 0.6, 0.17),
)


def _broadleaf(u: Array, v: Array, shape: Shape) -> NDArray[np.uint8]:
    crown = np.zeros(np.broadcast_shapes(u.shape, v.shape), bool)
    for x, y, width, height in LEAF_BALLS:
        crown |= ((u - x) / width) ** 2 + ((v - y) / height) ** 2 <= 1
    trunk = (np.abs(u) < 0.1 + 0.1 * (0.3 - v).clip(0)) & (v >= 0) & (v < 0.55)
    return np.where(crown, np.uint8(Label.BROADLEAF), _fill(Label.TRUNK, trunk))


def _house(u: Array, v: Array, shape: Shape) -> NDArray[np.uint8]:
    """A gable front at u = -1 .. 0 and a long side, seen at an angle, at u = 0 .. 1."""
    gable = 0.5 + 0.5 * (1 - np.abs(2 * u + 1))
    wall = (v >= 0) & np.where(u < 0, v <= gable - 0.05, v < 0.5) & (u > -0.94) & (u < 0.93)
    slope = (u > -0.5) & (v >= np.where(u < 0, gable - 0.06, 0.44)) & (u <= 1.0 - 0.24 * v + 0.11)
    verge = (u < 0) & (v >= gable - 0.06) & (v <= gable + 0.03)
    chimney = (np.abs(u - 0.42) < 0.07) & (v > 0.9) & (v < 1.16)
    pane = (np.abs(v - 0.27) < 0.09) & (np.abs(np.abs(u - 0.46) - 0.23) < 0.1)
    attic = (np.abs(u + 0.5) < 0.12) & (np.abs(v - 0.62) < 0.08)
    door = (np.abs(u + 0.5) < 0.17) & (v >= 0) & (v < 0.36)
    labels = _fill(Label.WALL, wall | chimney)
    for label, part in (
        (Label.ROOF, (slope & (v <= 1)) | verge),
        (Label.WINDOW, pane | attic),
        (Label.DOOR, door),
    ):
        labels = np.where(part & (np.abs(u) <= 1), np.uint8(label), labels)
    return labels


def _sky(u: Array, v: Array, shape: Shape) -> NDArray[np.uint8]:
    return np.full(np.broadcast_shapes(u.shape, v.shape), Label.SKY, np.uint8)


OUTLINES: dict[Kind, Callable[[Array, Array, Shape], NDArray[np.uint8]]] = {
    Kind.SKY: _sky,
    Kind.MOUNTAIN: _mountain,
    Kind.HILL: _hill,
    Kind.WATER: _water,
    Kind.GRASS: _grass,
    Kind.PATH: _path,
    Kind.CONIFER: _conifer,
    Kind.BROADLEAF: _broadleaf,
    Kind.HOUSE: _house,
}
