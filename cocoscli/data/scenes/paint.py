"""Textures of synthetic landscapes: the colour of every point of every object.

A colour depends only on the style, the class, the number of the instance and the point (u, v) of
the instance: never on where it happens to stand or on further randomness.  Colours are planar
float32 arrays (3, N), nominally 0 .. 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from cocoscli.data.scenes.items import LEAF_BALLS, Label
from cocoscli.data.scenes.style import Colour, Style

Floats = NDArray[np.floating]  # float32 in practice


@dataclass(frozen=True)
class Points:
    """Points to colour: coordinates u, v and instance number k, float32 arrays (N,) each."""

    u: Floats
    v: Floats
    k: Floats
    style: Style

    def noise(self, u: Floats, v: Floats) -> Floats:
        """The style's cloudy noise, about -1 .. 1, of period 1 in u and v; one per instance."""
        tile = noise_tile(self.style.seed)
        where = np.stack([(v + 0.37 * self.k) * len(tile), (u + 0.61 * self.k) * len(tile)])
        return map_coordinates(tile, where, np.float32, order=1, mode="grid-wrap", prefilter=False)

    def lit(self, albedo: Floats, light: Floats | float) -> Floats:
        """Surface colour of an albedo (3, N) under light 0 .. 1 (N,), both broadcast."""
        return albedo * mix(plane(self.style.shade), plane(self.style.light), light)

    def base(self, label: Label) -> Floats:
        """The style's albedo of a class, (3, 1)."""
        return plane(self.style.palette[label])


def paint(style: Style, label: Label, u: Floats, v: Floats, index: Floats) -> Floats:
    """Colours (3, N) of the points (u, v) of instances `index` of one class."""
    return PAINTERS[label](Points(u, v, index, style))


def plane(rgb: Colour) -> Floats:
    """A colour as an array (3, 1)."""
    return np.array(rgb, np.float32)[:, None]


def mix(first: Floats, second: Floats | float, amount: Floats | float) -> Floats:
    """Linear blend: first at amount 0, second at amount 1."""
    return first + (second - first) * amount


def smooth(low: float, high: float, x: Floats) -> Floats:
    """0 below low, 1 above high, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


@lru_cache(maxsize=32)
def noise_tile(seed: int, size: int = 256) -> Floats:
    """Periodic fractal noise (size, size) of unit deviation halved, clipped to -1 .. 1."""
    spectrum = np.fft.rfft2(np.random.default_rng([seed, 3]).standard_normal((size, size)))
    rate = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]) * size
    tile = np.fft.irfft2(spectrum * np.where(rate < 3, 0, 1 / np.maximum(rate, 1) ** 1.7))
    return np.clip(tile / (2 * tile.std()), -1, 1).astype(np.float32)


@lru_cache(maxsize=32)
def _chances(seed: int) -> Floats:
    """Three even random numbers 0 .. 1 for each cell of a periodic lattice, (3, 32, 32)."""
    return np.random.default_rng([seed, 4]).random((3, 32, 32), np.float32)


def _sky(p: Points) -> Floats:
    """Gradient, glow, sun or moon, stars at night, and clouds."""
    s = p.style
    sky = mix(plane(s.sky_low), plane(s.sky_top), smooth(0.4, 1.0, p.v))
    far = np.hypot((p.u - s.sun[0]) / 2, p.v - s.sun[1])
    if s.mood in ("night", "dusk"):
        sky = mix(sky, 1.0, _stars(p) * (1.0 if s.mood == "night" else 0.4))
    veil = 0.35 if s.mood in ("overcast", "storm") else 1.0
    disc = smooth(0.052, 0.046, far) if s.mood == "night" else smooth(0.062, 0.05, far)
    glow = 0.55 * np.exp(-far / 0.16)
    return _clouds(p, mix(sky, plane(s.sun_colour), np.maximum(disc, glow) * veil), far)


def _clouds(p: Points, sky: Floats, far: Floats) -> Floats:
    """The sky with clouds before it, lit from the sun's side; far is the distance from the sun."""
    s = p.style
    x, y, cover = 0.13 * p.u, 0.42 * p.v, 1.5 * s.clouds - 0.95
    body = p.noise(x, y)
    opaque = smooth(-0.1, 0.35, body + cover) * smooth(0.42, 0.62, p.v)
    if s.mood == "night":
        opaque = opaque * smooth(0.05, 0.3, far)
    rim = smooth(-0.25, 0.3, body - p.noise(x + 0.008 * s.side, y + 0.02))
    bright = mix(plane(s.light), plane(s.sun_colour), 0.6 * np.exp(-far / 0.4))
    dark = mix(plane(s.shade), plane(s.sky_low), 0.5)
    return mix(sky, mix(dark, bright, 0.15 + 0.85 * rim), 0.85 * opaque)


def _stars(p: Points) -> Floats:
    """Round stars of random size, one in some cells of a lattice, as brightness 0 .. 1."""
    x, y = 14 * p.u, 28 * p.v
    chance = _chances(p.style.seed)
    row, column = np.floor(y).astype(int) % 32, np.floor(x).astype(int) % 32
    size, shift_x, shift_y = chance[:, row, column]
    far = np.hypot(x % 1 - 0.3 - 0.4 * shift_x, y % 1 - 0.3 - 0.4 * shift_y)
    return smooth(0.2, 0.05, far / np.maximum(size - 0.5, 0.01) * 0.7) * (size > 0.78)


def _mountain(p: Points) -> Floats:
    """A lit and a shaded flank parted by a winding spine, ribs running down, snow above."""
    s = p.style
    broad = p.noise(0.3 * p.u, 0.3 * p.v)
    across = p.u + (0.3 * broad + 0.05 * np.sin(14 * p.v + 2 * p.k)) * (1.15 - p.v)
    ribs = p.noise(0.55 * p.u + 0.3 * p.v * np.sign(across), 0.22 * p.v)
    facing = smooth(-0.05, 0.05, across * s.side)
    light = 0.12 + 0.62 * facing + s.contrast * 0.28 * np.sign(ribs) * smooth(0, 0.25, np.abs(ribs))
    rock = mix(p.base(Label.MOUNTAIN), p.base(Label.HILL), 0.45 * smooth(0.45, 0.0, p.v))
    snow = smooth(-0.02, 0.02, p.v - s.snow + 0.22 * ribs + 0.12 * broad)
    body = p.lit(mix(rock, 0.97, snow), light)
    return _far(p, body, 0.75 - 0.13 * p.k + 0.25 * (0.6 - p.v))


def _far(p: Points, body: Floats, depth: Floats) -> Floats:
    return mix(body, plane(p.style.sky_low), p.style.haze * np.clip(depth, 0, 1))


def _hill(p: Points) -> Floats:
    """Rounded light, woods or fields as flat patches."""
    s = p.style
    patches = p.noise(0.3 * p.u, 0.22 * p.v)
    woods = smooth(0.05, 0.12, patches + 0.25 * p.noise(1.3 * p.u, 0.7 * p.v))
    green = mix(p.base(Label.HILL), p.base(Label.CONIFER), 0.55 * woods * min(s.contrast, 1))
    light = 0.55 + 0.35 * s.side * p.u + 0.3 * (p.v - 0.4) + 0.15 * patches
    return _far(p, p.lit(green, np.clip(light, 0, 1)), 0.5 - 0.12 * p.k)


def _water(p: Points) -> Floats:
    """Sky colours in reverse, ripples that widen towards the viewer, glitter below the sun."""
    s = p.style
    near = np.clip(0.62 - p.v, 0, 1)
    deep = mix(plane(s.sky_top), 0.1 * plane(s.shade), 0.25)
    body = mix(plane(s.sky_low), deep, smooth(-0.1, 0.45, near))
    pitch = 1 / (0.12 + near)
    ripple = p.noise(0.16 * (p.u - s.sun[0]) * pitch, 0.9 * pitch)
    body = mix(body, plane(s.light), 0.3 * s.contrast * smooth(0.25, 0.5, ripple))
    body = mix(body, plane(s.shade), 0.3 * s.contrast * smooth(0.2, 0.5, -ripple))
    beam = np.exp(-(((p.u - s.sun[0]) / (0.1 + 0.3 * near)) ** 2))
    veil = 0.25 if s.mood in ("overcast", "storm") else 0.85
    return mix(body, plane(s.sun_colour), veil * beam * smooth(-0.25, 0.35, ripple))


def _grass(p: Points) -> Floats:
    """Broad swathes, tufts that grow towards the viewer, and specks of flowers."""
    s = p.style
    pitch = 1 / (1.2 - np.minimum(p.v, 1.1))
    swathe = p.noise(0.1 * p.u * pitch, 0.16 * pitch)
    tuft = p.noise(0.9 * p.u * pitch, 0.8 * pitch)
    green = mix(p.base(Label.GRASS), p.base(Label.HILL), 0.55 * smooth(0.0, 0.08, swathe))
    light = 0.72 + s.contrast * (0.17 * tuft + 0.15 * swathe) + 0.12 * s.side * p.u
    body = p.lit(green, np.clip(light - 0.25 * smooth(0.5, 0, p.v), 0, 1.1))
    if s.season in ("spring", "heather", "summer"):
        body = mix(
            body,
            p.lit(mix(p.base(Label.BROADLEAF), 1, 0.6), light + 0.2),
            _blossoms(p, 9 * p.u * pitch, 22 * pitch, swathe),
        )
    return _far(p, body, 0.55 * smooth(0.5, 1.05, p.v))


def _blossoms(p: Points, x: Floats, y: Floats, swathe: Floats) -> Floats:
    """Round flowers (0 .. 1) in some cells of a lattice, most where the swathes are."""
    chance = _chances(p.style.seed)[:, np.floor(y).astype(int) % 32, np.floor(x).astype(int) % 32]
    far = np.hypot(x % 1 - 0.25 - 0.5 * chance[0], y % 1 - 0.25 - 0.5 * chance[1])
    odds = 1.25 * chance[2] + 0.5 * swathe - 0.75
    return smooth(0.05, 0.0, far - 0.13 - 0.22 * odds) * (odds > 0)


def _path(p: Points) -> Floats:
    s = p.style
    worn = p.noise(0.2 * p.u, 1.6 * p.v)
    edge = smooth(0.6, 1.0, np.abs(p.u) + 0.2 * worn)
    light = 0.85 + 0.15 * s.contrast * worn - 0.3 * edge + 0.1 * s.side * p.u
    return p.lit(p.base(Label.PATH), np.clip(light, 0, 1))


def _trunk(p: Points) -> Floats:
    bark = p.noise(2.0 * p.u, 0.4 * p.v)
    light = 0.5 + 4 * p.style.side * p.u + 0.3 * p.style.contrast * bark
    return p.lit(p.base(Label.TRUNK), np.clip(light, 0, 1) * smooth(0.6, 0.1, p.v))


def _tint(p: Points, label: Label) -> Floats:
    """The albedo of a class, a little warmer or cooler from instance to instance."""
    turn = np.sin(2.4 * p.k + p.style.seed)
    return p.base(label) * (1 + 0.13 * turn * plane((1.0, 0.4, -0.6)))


def _conifer(p: Points) -> Floats:
    """Tiers that darken below one another, one side lit, snow on top in winter."""
    s = p.style
    tier = 4.5 * (p.v - 0.13) / 0.87
    step = tier - np.floor(tier) + 0.25 * np.abs(p.u)
    needles = p.noise(0.9 * p.u, 0.5 * p.v)
    light = (
        0.62
        - 0.42 * smooth(0.55, 1.0, step)
        + s.contrast * 0.2 * np.sign(needles) * (smooth(0, 0.2, np.abs(needles)))
        + 0.35 * np.tanh(5 * s.side * (p.u + 0.15 * needles))
    )
    green = _tint(p, Label.CONIFER)
    if s.season == "winter":
        green = mix(green, 0.95, smooth(0.45, 0.3, step + 0.3 * needles))
    return p.lit(green, np.clip(light, 0, 1.1))


def _broadleaf(p: Points) -> Floats:
    """Balls of leaves, each lit from the sun's side and from above."""
    s = p.style
    light = np.full_like(p.u, -1)
    for x, y, width, height in reversed(LEAF_BALLS):
        dx, dy = (p.u - x) / width, (p.v - y) / height
        inside = dx * dx + dy * dy <= 1
        light = np.where(inside, 0.5 + 0.35 * (0.7 * s.side * dx + dy), light)
    leaves = p.noise(0.5 * p.u, 0.5 * p.v)
    fine = np.floor((light + 0.3 * s.contrast * leaves) * 4 + 0.5) / 4
    light = 0.35 * light + 0.65 * fine + 0.25 * (p.v - 0.6)
    return p.lit(_tint(p, Label.BROADLEAF), np.clip(light, 0, 1.1))


def _wall(p: Points) -> Floats:
    """Planks, courses of stone or plaster; the face turned to the sun is lit."""
    s = p.style
    facing = np.where((p.u < 0) == (s.side < 0), 1.0, 0.25)
    pattern = (
        _stripes(12 * p.v),
        _stripes(9 * p.u),
        0.5 * p.noise(0.4 * p.u, 0.3 * p.v),
        np.maximum(_stripes(9 * p.v), _stripes(6 * p.u + 0.5 * (np.floor(9 * p.v) % 2))),
    )
    grime = 0.3 * smooth(0.12, 0.0, p.v) + 0.25 * smooth(0.38, 0.5, p.v) * (p.u > 0)
    light = facing - 0.3 * s.contrast * pattern[s.seed % 4] - grime
    return p.lit(p.base(Label.WALL), np.clip(light, 0, 1).astype(np.float32))


def _stripes(t: Floats) -> Floats:
    """Narrow dark joints of period 1: 1 in a joint, 0 elsewhere."""
    part = t - np.floor(t)
    return smooth(0.75, 0.9, part)


def _roof(p: Points) -> Floats:
    """Courses of tiles, lighter when the slope faces the sun."""
    s = p.style
    course = 11 * p.v
    tiles = _stripes(course) + 0.6 * _stripes(8 * p.u + 0.5 * (np.floor(course) % 2))
    light = (0.85 if s.side > 0 else 0.6) - 0.35 * s.contrast * tiles + 0.3 * (p.v - 0.75)
    roof = p.base(Label.ROOF)
    if s.season == "winter":
        snow = smooth(-0.02, 0.02, p.v - 0.56 + 0.05 * np.sin(13 * p.u + p.k))
        roof, light = mix(roof, 0.95, snow), mix(light, 0.9, 0.8 * snow)
    return p.lit(roof, np.clip(light, 0, 1))


def _window(p: Points) -> Floats:
    """Panes with a bar: warm light after dark, else a slanting reflection of the sky."""
    s = p.style
    middle = np.where(p.u < -0.25, -0.5, np.where(p.u < 0.46, 0.23, 0.69))
    bar = smooth(0.03, 0.015, np.abs(p.u - middle))
    if s.mood in ("night", "dusk", "storm"):
        glass = np.broadcast_to(plane((1.0, 0.83, 0.42)), (3, p.u.size))
    else:
        slant = p.v + (p.u - middle) / 4
        glass = p.lit(mix(p.base(Label.WINDOW), plane(s.sky_low), smooth(0.2, 0.36, slant)), 0.7)
    return mix(glass, p.lit(p.base(Label.DOOR), 0.6), bar)


def _door(p: Points) -> Floats:
    boards = _stripes(12 * p.u)
    facing = 0.85 if p.style.side < 0 else 0.4
    light = facing - 0.3 * boards - 0.3 * smooth(0.3, 0.36, p.v)
    return p.lit(p.base(Label.DOOR), light)


PAINTERS: dict[Label, Callable[[Points], Floats]] = {
    Label.SKY: _sky,
    Label.MOUNTAIN: _mountain,
    Label.HILL: _hill,
    Label.WATER: _water,
    Label.GRASS: _grass,
    Label.PATH: _path,
    Label.TRUNK: _trunk,
    Label.CONIFER: _conifer,
    Label.BROADLEAF: _broadleaf,
    Label.WALL: _wall,
    Label.ROOF: _roof,
    Label.WINDOW: _window,
    Label.DOOR: _door,
}
