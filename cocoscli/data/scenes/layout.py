"""Layouts of synthetic landscapes: which objects there are and where."""

from dataclasses import dataclass, replace

import numpy as np

from cocoscli.data.scenes.items import STANDING, Item, Kind, Shape


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


def _backdrop(rng: np.random.Generator, horizon: float) -> list[Item]:
    """Two to four mountains, the far ones taller, and one to three hills before them."""
    items = []
    count = int(rng.integers(2, 5))
    places = (rng.permutation(count) + rng.uniform(0.2, 0.8, count)) / count
    for k, x in enumerate(places):
        height = (horizon - 0.06) * rng.uniform(0.6, 0.95) * (1 - 0.15 * k)
        left, right = height * rng.uniform(0.75, 1.5, 2)
        items.append(
            Item(
                Kind.MOUNTAIN, k, x, horizon + 0.01, left, right, height, shape=(rng.uniform(0, 1),)
            )
        )
    for k in range(int(rng.integers(1, 4))):
        left, right = rng.uniform(0.35, 0.8, 2)
        height = horizon * rng.uniform(0.16, 0.4) * (1 - 0.2 * k)
        items.append(
            Item(
                Kind.HILL,
                k,
                rng.uniform(-0.05, 1.05),
                horizon + 0.01,
                left,
                right,
                height,
                shape=(rng.uniform(0, 6.3),),
            )
        )
    return items


def _ground(rng: np.random.Generator, horizon: float) -> list[Item]:
    """The meadow and its water: a lake behind it, or a river or a pond in it; maybe a path."""
    water = rng.choice(["lake", "river", "pond"], p=[0.5, 0.25, 0.25])
    phase, side = rng.uniform(0, 6.3), rng.choice([-1.0, 1.0])
    room = 1 - horizon
    if water == "lake":
        lake = Item(Kind.WATER, 0, 0.5, 1.0, 0.51, 0.51, room, shape=(0.0,))
        meadow = (rng.uniform(0.25, 0.45), phase, side * rng.uniform(0.0, 0.22))
        grass = _meadow(room * rng.uniform(0.82, 0.92), meadow)
        return [lake, grass, *_trail(rng, horizon + 0.62 * room, side)]
    meadow = (rng.uniform(0.04, 0.1), phase, 0.0)
    grass = _meadow(room + 0.03, meadow)
    if water == "river":
        river = Item(
            Kind.WATER,
            0,
            0.5 - side * rng.uniform(0.0, 0.3),
            1.0,
            0.17,
            0.17,
            room * 0.96,
            side * rng.uniform(0.1, 0.35),
            rng.uniform(-0.09, 0.09),
            0.93,
            (0.0,),
        )
        return [grass, river]
    pond = Item(
        Kind.WATER,
        0,
        0.5 + side * 0.26,
        horizon + room * rng.uniform(0.55, 0.8),
        rng.uniform(0.24, 0.36),
        rng.uniform(0.24, 0.36),
        room * rng.uniform(0.3, 0.42),
        shape=(rng.uniform(1, 6),),
    )
    return [grass, *_trail(rng, horizon + rng.uniform(0.15, 0.3) * room, -side), pond]


def _meadow(height: float, shape: Shape) -> Item:
    return Item(Kind.GRASS, 0, 0.5, 1.0, 0.51, 0.51, height, shape=shape)


def _trail(rng: np.random.Generator, end: float, side: float) -> list[Item]:
    """A path on one side of the picture, from its foot to y = end; one scene in four has none."""
    if rng.random() < 0.25:
        return []
    return [
        Item(
            Kind.PATH,
            0,
            0.5 + side * rng.uniform(0.02, 0.12),
            1.0,
            0.11,
            0.11,
            1 - end,
            side * rng.uniform(0.05, 0.2),
            rng.uniform(-0.05, 0.05),
            0.8,
        )
    ]


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


def _place(
    rng: np.random.Generator, kind: Kind, horizon: float, ground: list[Item], placed: list[Item]
) -> list[Item]:
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
        gap = max(item.x - item.left, other.x - other.left) - min(
            item.x + item.right, other.x + other.right
        )
        reach = 0.5 if Kind.HOUSE in (item.kind, other.kind) else 0.25
        if gap < 0 and abs(item.base - other.base) < reach * max(item.height, other.height):
            return False
    return True
