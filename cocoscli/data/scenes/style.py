"""Styles of synthetic landscapes: colours of every class, sky, light and weather."""

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]  # red, green, blue, 0 .. 1

# sky at the top and at the horizon, sun or moon, lit and shaded surfaces
MOODS: dict[str, tuple[str, str, str, str, str]] = {
    "day": ("3b8ede", "cdebf7", "fffbe0", "fffaf0", "8496c4"),
    "sunset": ("4b3b86", "ffa25c", "ffe9a8", "ffbf85", "6b4470"),
    "night": ("070d2b", "2c4c86", "f4f2dc", "7388c6", "28356a"),
    "overcast": ("8f9ca8", "d5dadb", "f1f1ec", "d3d6d8", "9299a4"),
    "dawn": ("7fa8d8", "ffd3c4", "fff1dc", "ffe3d6", "8f86b4"),
    "dusk": ("2d2a66", "dd7ba6", "ffd7d0", "bd8fbe", "47396f"),
    "storm": ("2f4650", "a9b9a8", "e9eccb", "a9b5a6", "46565f"),
}
# meadow, hill, conifer, broadleaf, rock, path
SEASONS: dict[str, tuple[str, str, str, str, str, str]] = {
    "summer": ("8fbf45", "5b9a52", "2b6b4c", "62a03a", "8a8fa3", "dcc08a"),
    "autumn": ("c9a24a", "b5713a", "4b6b40", "e0702a", "93807f", "a98560"),
    "winter": ("eef3fa", "cfdcec", "4f7f88", "b9cbd9", "77839b", "a8978c"),
    "spring": ("a4d65e", "7cc08a", "4a9a78", "f7a8c4", "9aa5b8", "e0c898"),
    "desert": ("ecc07a", "d68a52", "7d8a3f", "a3a04a", "b8623f", "f6ddb0"),
    "heather": ("9a7fb4", "7a5c9c", "3f5f73", "c9587a", "6a6688", "c4a48c"),
}
# wall and roof
HOUSES: tuple[tuple[str, str], ...] = (
    ("f4ead6", "c9502f"),
    ("e8c98f", "7a3f36"),
    ("c2694f", "4d5a70"),
    ("8a5d3f", "d0b070"),
    ("9fb8c4", "8b3f5c"),
    ("f2f2ee", "2f6f73"),
    ("d99a8a", "4a4f63"),
    ("e6d9c4", "6b8a4f"),
    ("7f97a8", "e0dccf"),
    ("f0c255", "5a3b6b"),
)
DOORS = ("3f6f8f", "8a3030", "3f5f3a", "d9a03a", "5a4030")


def colour(code: str) -> Colour:
    """Colour 0 .. 1 of a hexadecimal code such as "ff8000"."""
    red, green, blue = bytes.fromhex(code)
    return red / 255, green / 255, blue / 255


@dataclass(frozen=True)
class Style:
    """How a scene looks: albedo per class, sky, light and the character of the textures.

    `palette` holds one colour per class id, before light.  `sun` is the place of the sun or moon
    in the sky, x from -1 (left edge of a square picture) to 1 and y from 0 (bottom) to 1.
    `slant` and `stretch` give cast shadows: sideways shift per unit of depth and length per unit
    of height; `shadow` is their strength 0 .. 1.  `haze` 0 .. 1 fades what is far, `clouds` 0 .. 1
    is cover, `contrast` the strength of textures, `snow` the height on a mountain above which
    there is snow, `calm` 0 .. 1 how much water mirrors.
    """

    seed: int
    mood: str
    season: str
    palette: tuple[Colour, ...]
    sky_top: Colour
    sky_low: Colour
    sun_colour: Colour
    light: Colour
    shade: Colour
    sun: tuple[float, float]
    slant: float
    stretch: float
    shadow: float
    haze: float
    clouds: float
    contrast: float
    snow: float
    calm: float

    @classmethod
    def sample(cls, seed: int) -> "Style":
        """The style of a seed; neighbouring seeds always differ in both mood and season."""
        rng = np.random.default_rng([seed, 2])
        mood, season = list(MOODS)[seed % len(MOODS)], list(SEASONS)[seed % len(SEASONS)]
        top, low, sun, light, shade = (_vary(rng, code, 0.03) for code in MOODS[mood])
        side = float(rng.choice([-1.0, 1.0]))
        dull = mood in ("overcast", "storm")
        return cls(
            seed,
            mood,
            season,
            _palette(rng, season),
            top,
            low,
            sun,
            light,
            shade,
            sun=(side * rng.uniform(0.25, 0.75), rng.uniform(0.68, 0.88)),
            slant=-side * rng.uniform(0.5, 1.6),
            stretch=rng.uniform(0.25, 0.55),
            shadow=0.25 if dull else rng.uniform(0.6, 0.9),
            haze=rng.uniform(0.25, 0.6),
            clouds=rng.uniform(0.65, 0.9) if dull else rng.uniform(0.15, 0.6),
            contrast=rng.uniform(0.6, 1.3),
            snow=0.3 if season == "winter" else rng.uniform(0.5, 1.1),
            calm=rng.uniform(0.3, 0.8),
        )

    @property
    def side(self) -> float:
        """-1 when the light comes from the left, 1 when it comes from the right."""
        return 1.0 if self.sun[0] > 0 else -1.0


def _vary(rng: np.random.Generator, code: str, amount: float) -> Colour:
    red, green, blue = np.clip(np.array(colour(code)) + rng.normal(0, amount, 3), 0.01, 1).tolist()
    return red, green, blue


def _palette(rng: np.random.Generator, season: str) -> tuple[Colour, ...]:
    """One albedo per class id; the sky's and the water's are unused."""
    meadow, hill, conifer, leaf, rock, path = (_vary(rng, c, 0.03) for c in SEASONS[season])
    wall, roof = (_vary(rng, c, 0.03) for c in HOUSES[rng.integers(len(HOUSES))])
    door = _vary(rng, DOORS[rng.integers(len(DOORS))], 0.03)
    trunk, pane = _vary(rng, "6b4a35", 0.04), _vary(rng, "6f8fa8", 0.04)
    none = (0.0, 0.0, 0.0)
    return (
        none,
        none,
        rock,
        hill,
        none,
        meadow,
        path,
        trunk,
        conifer,
        leaf,
        wall,
        roof,
        pane,
        door,
    )
