"""Layouts of synthetic landscapes: which objects there are, where, and of what shape.

All geometry is relative: x and y run from 0 to 1 over the picture (y downwards).  Every object
lives in its own frame (u, v), which it can leave and enter analytically, so that the same point
of an object can be found in another layout exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Layout:
    """What there is in a scene, back to front, independent of style and pixel size.

    Mountains and hills are numbered from far to near, trees of each species and houses from left
    to right; there is one sky, one water, one meadow ("grass") and at most one path.
    """

    seed: int
    horizon: float
    items: tuple[Item, ...]

    @classmethod
    def sample(cls, seed: int) -> "Layout":
        """The layout of a seed."""
        rng = np.random.default_rng([seed, 1])
        horizon = rng.uniform(0.4, 0.58)
        ground = _ground(rng, horizon)
        standing = _standing(rng, horizon, ground)
        sky = Item(Kind.SKY, 0, 0.5, 1.0, 0.5, 0.5, 1.0)
        return cls(seed, horizon, (sky, *_backdrop(rng, horizon), *ground, *standing))


def sample_layout(seed: int) -> Layout:
    """Short for `Layout.sample`."""
    return Layout.sample(seed)


# ---------------------------------------------------------------------------------- outlines


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
    return _fill(Label.GRASS, (v >= 0) & (v <= crest + tilt * (u - 0.6)))


def _path(u: Array, v: Array, shape: Shape) -> NDArray[np.uint8]:
    return _fill(Label.PATH, (np.abs(u) <= 1) & (v >= 0) & (v <= 1))


def _conifer(u: Array, v: Array, shape: Shape) -> NDArray[np.uint8]:
    rise = (v - 0.13) / 0.87
    tier = 4.5 * rise
    reach = (1 - rise) * (1 - 0.38 * (tier - np.floor(tier)))
    crown = (rise >= 0) & (rise <= 1) & (np.abs(u) <= reach)
    trunk = (np.abs(u) < 0.13) & (v >= 0) & (v < 0.2)
    return np.where(crown, np.uint8(Label.CONIFER), _fill(Label.TRUNK, trunk))


LEAF_BALLS = ((0.0, 0.74, 0.58, 0.26), (-0.52, 0.58, 0.46, 0.2), (0.5, 0.6, 0.48, 0.21),
              (-0.3, 0.82, 0.4, 0.15), (0.34, 0.8, 0.4, 0.16), (0.0, 0.54, 0.6, 0.17))


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
    for label, part in ((Label.ROOF, (slope & (v <= 1)) | verge), (Label.WINDOW, pane | attic),
                        (Label.DOOR, door)):
        labels = np.where(part & (np.abs(u) <= 1), np.uint8(label), labels)
    return labels


def _sky(u: Array, v: Array, shape: Shape) -> NDArray[np.uint8]:
    return np.full(np.broadcast_shapes(u.shape, v.shape), Label.SKY, np.uint8)


OUTLINES: dict[Kind, Callable[[Array, Array, Shape], NDArray[np.uint8]]] = {
    Kind.SKY: _sky, Kind.MOUNTAIN: _mountain, Kind.HILL: _hill, Kind.WATER: _water,
    Kind.GRASS: _grass, Kind.PATH: _path, Kind.CONIFER: _conifer, Kind.BROADLEAF: _broadleaf,
    Kind.HOUSE: _house,
}


# ---------------------------------------------------------------------------------- sampling


def _backdrop(rng: np.random.Generator, horizon: float) -> list[Item]:
    """Two to four mountains, the far ones taller, and one to three hills before them."""
    items = []
    count = int(rng.integers(2, 5))
    places = (rng.permutation(count) + rng.uniform(0.2, 0.8, count)) / count
    for k, x in enumerate(places):
        height = (horizon - 0.06) * rng.uniform(0.6, 0.95) * (1 - 0.15 * k)
        left, right = height * rng.uniform(0.75, 1.5, 2)
        items.append(Item(Kind.MOUNTAIN, k, x, horizon + 0.01, left, right, height,
                          shape=(rng.uniform(0, 1),)))
    for k in range(int(rng.integers(1, 4))):
        left, right = rng.uniform(0.35, 0.8, 2)
        height = horizon * rng.uniform(0.16, 0.4) * (1 - 0.2 * k)
        items.append(Item(Kind.HILL, k, rng.uniform(-0.05, 1.05), horizon + 0.01, left, right,
                          height, shape=(rng.uniform(0, 6.3),)))
    return items


def _ground(rng: np.random.Generator, horizon: float) -> list[Item]:
    """The meadow and its water: a lake behind it, or a river or a pond in it; maybe a path."""
    water = rng.choice(["lake", "river", "pond"], p=[0.5, 0.25, 0.25])
    phase, side = rng.uniform(0, 6.3), rng.choice([-1.0, 1.0])
    room = 1 - horizon
    if water == "lake":
        lake = Item(Kind.WATER, 0, 0.5, 1.0, 0.51, 0.51, room, shape=(0.0,))
        meadow = (rng.uniform(0.25, 0.45), phase, side * rng.uniform(0.0, 0.22))
        return [lake, _meadow(room * rng.uniform(0.82, 0.92), meadow), *_trail(rng, horizon + 0.62 * room, side)]
    meadow = (rng.uniform(0.04, 0.1), phase, 0.0)
    grass = _meadow(room + 0.03, meadow)
    if water == "river":
        river = Item(Kind.WATER, 0, 0.5 - side * rng.uniform(0.0, 0.3), 1.0, 0.17, 0.17,
                     room * 0.96, side * rng.uniform(0.1, 0.35), rng.uniform(-0.09, 0.09), 0.93,
                     (0.0,))
        return [grass, river]
    pond = Item(Kind.WATER, 0, 0.5 + side * 0.26, horizon + room * rng.uniform(0.55, 0.8),
                rng.uniform(0.24, 0.36), rng.uniform(0.24, 0.36), room * rng.uniform(0.3, 0.42),
                shape=(rng.uniform(1, 6),))
    return [grass, *_trail(rng, horizon + rng.uniform(0.15, 0.3) * room, -side), pond]


def _meadow(height: float, shape: Shape) -> Item:
    return Item(Kind.GRASS, 0, 0.5, 1.0, 0.51, 0.51, height, shape=shape)


def _trail(rng: np.random.Generator, end: float, side: float) -> list[Item]:
    """A path on one side of the picture, from its foot to y = end; one scene in four has none."""
    if rng.random() < 0.25:
        return []
    return [Item(Kind.PATH, 0, 0.5 + side * rng.uniform(0.02, 0.12), 1.0, 0.11, 0.11, 1 - end,
                 side * rng.uniform(0.05, 0.2), rng.uniform(-0.05, 0.05), 0.8)]


def _standing(rng: np.random.Generator, horizon: float, ground: list[Item]) -> list[Item]:
    """Houses and trees on the meadow, numbered from left to right, nearest last."""
    placed: list[Item] = []
    for kind, low, high in ((Kind.HOUSE, 1, 3), (Kind.BROADLEAF, 2, 7), (Kind.CONIFER, 2, 9)):
        for _ in range(int(rng.integers(low, high + 1))):
            placed += _place(rng, kind, horizon, ground, placed)
    numbered = []
    for kind in STANDING:
        of_kind = sorted((item for item in placed if item.kind is kind), key=lambda item: item.x)
        numbered += [replace(item, index=k) for k, item in enumerate(of_kind)]
    return sorted(numbered, key=lambda item: item.base)


def _place(rng: np.random.Generator, kind: Kind, horizon: float, ground: list[Item],
           placed: list[Item]) -> list[Item]:
    """One more object of a kind, or none when no free spot of the meadow turns up."""
    for _ in range(30):
        near = rng.uniform(0.1, 0.75) if kind is Kind.HOUSE else rng.uniform(0.06, 0.97)
        x, base = rng.uniform(0.03, 0.97), horizon + near * (1 - horizon)
        item = _object(rng, kind, x, base, 0.09 + 0.36 * near)
        if _free(item, ground, placed):
            return [item]
    return []


def _object(rng: np.random.Generator, kind: Kind, x: float, base: float, scale: float) -> Item:
    """A standing object whose height goes with scale, the size of things at its distance."""
    if kind is Kind.HOUSE:
        height = scale * rng.uniform(0.75, 0.95)
        left, right = height * rng.uniform(0.36, 0.48), height * rng.uniform(0.6, 0.95)
        return Item(kind, 0, x, base, left, right, height)
    height = scale * (rng.uniform(0.9, 1.5) if kind is Kind.CONIFER else rng.uniform(0.8, 1.25))
    half = height * (rng.uniform(0.22, 0.3) if kind is Kind.CONIFER else rng.uniform(0.36, 0.5))
    return Item(kind, 0, x, base, half, half, height)


def _free(item: Item, ground: list[Item], placed: list[Item]) -> bool:
    """Whether an object stands on bare meadow and hides no other one of about its distance."""
    for x in (item.x - 0.8 * item.left, item.x, item.x + 0.8 * item.right):
        covering = [thing for thing in ground if thing.covers(min(max(x, 0.0), 1.0), item.base)]
        if not covering or covering[-1].kind is not Kind.GRASS:
            return False
    for other in placed:
        gap = max(item.x - item.left, other.x - other.left) - min(item.x + item.right,
                                                                  other.x + other.right)
        reach = 0.5 if Kind.HOUSE in (item.kind, other.kind) else 0.25
        if gap < 0 and abs(item.base - other.base) < reach * max(item.height, other.height):
            return False
    return True
