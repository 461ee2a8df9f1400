"""Training samples: a shard's sample to arrays, augmented by its position's own random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageEnhance

from cocoscli.data import geometry
from cocoscli.data.conditions import CONDITIONS, check_ids
from cocoscli.data.geometry import Aligned
from cocoscli.data.images import Size, read_photo
from cocoscli.data.points import NONE, Points, decode_known
from cocoscli.data.resizing import resize_bicubic
from cocoscli.data.shards import Sample, decode_key, member_name
from cocoscli.data.sources import build_condition, decode_sources
from cocoscli.errors import BadInput
from cocoscli.recipe import Recipe

POINTS = 256
"""Points of a sample at most."""


class TrainingItem(NamedTuple):
    """One sample as arrays; what goes to the device is made from them."""

    key: str
    photo: np.ndarray
    """(H,W,3) uint8: what the network should draw."""
    condition: np.ndarray
    """(P,H,W): the photo's condition array."""
    exemplar: np.ndarray
    """(H,W,3) uint8."""
    exemplar_condition: np.ndarray | None
    """(P,H,W), where it is of use."""
    pseudo: bool
    """Whether the photo is what should come out: the exemplar was made from it, or has its very
    style."""
    points: np.ndarray | None = None
    """(N,4) float32: x and y in the photo and in the exemplar, of points that both show; None where
    no loss asks for them."""


@dataclass(frozen=True)
class SampleReader:
    """Reads samples as a recipe says; its number of condition planes is known."""

    recipe: Recipe

    @property
    def kind(self) -> str:
        return self.recipe.sees.kind

    @property
    def size(self) -> int:
        """Side of what the network sees."""
        return self.recipe.sees.size

    @property
    def exemplar_conditions(self) -> bool:
        """Whether the network or a loss looks at them."""
        model = self.recipe.model
        return model.mask_mix or model.exemplar_mask or self.recipe.losses.mask > 0

    @property
    def points(self) -> bool:
        """Whether a loss asks for points that both images show."""
        return self.recipe.losses.points > 0

    def training(self, sample: Sample, seed: tuple[int, ...]) -> TrainingItem:
        """A sample as training sees it: augmented, with an exemplar drawn for it. Raises BadInput.

        Everything drawn follows from `seed`.
        """
        rng = np.random.default_rng(seed)
        found = _Members(sample)
        zoom = float(rng.uniform(1, self.recipe.data.zoom)) if self.recipe.data.zoom > 1 else 1.0
        own = self._recoloured(self._known(found, zoom), rng)
        whole = self._moved(own.item, rng)
        target, mirrored = self._cropped(whole, rng)
        number = self._drawn(found.exemplars, rng)
        if number is None:
            exemplar = self._pseudo(own.item, whole, target, rng)
            points = self._both_show(np.hstack([target.points, exemplar.points]), rng)
            return self._item(found.key, target, exemplar, pseudo=True, points=points)
        real = self._recoloured(self._known(found, zoom, number), rng)
        # Points tell left from right; a pair without any must not teach that they are alike.
        follow = mirrored if self.points else None
        exemplar, _ = self._cropped(self._moved(real.item, rng), rng, follow)
        ours, theirs = shared_names(own.names, real.names)
        named = np.hstack([target.points[ours], exemplar.points[theirs]])
        points = self._both_show(named, rng, between=self.recipe.data.between)
        same = self.recipe.data.same_style
        return self._item(found.key, target, exemplar, pseudo=same, points=points)

    def _drawn(self, stored: list[int], rng: np.random.Generator) -> int | None:
        """Which of the stored exemplars is taken; None: a pseudo one."""
        chance, given = rng.random(), self.recipe.data.exemplars
        if not stored or chance < given.pseudo:
            return None
        if chance < given.pseudo + given.first:
            return stored[0]
        if chance < given.pseudo + given.first + given.any:
            return int(rng.choice(stored))
        return stored[-1]

    def held_out(self, sample: Sample, *, pseudo: bool = False) -> TrainingItem:
        """A sample as it is: cropped to its middle, with its best exemplar. Raises BadInput.

        `pseudo` bends the photo itself, always in the same way, to be its own exemplar.
        """
        found = _Members(sample)
        target = self._middle(self._aligned(found), self.size)
        stored = found.exemplars
        if pseudo or not stored:
            rng = np.random.default_rng(0)
            bent = geometry.warp(target, geometry.bend(target.size, self.recipe.data.warp, rng))
            return self._item(found.key, target, bent, pseudo=True)
        exemplar = self._middle(self._aligned(found, stored[0]), self.size)
        return self._item(found.key, target, exemplar, pseudo=False)

    def _known(self, found: _Members, zoom: float, exemplar: int | None = None) -> _Known:
        """The sample's photo, or one of its exemplars, with the points that a loss asks for: the
        named ones, and for pseudo exemplars corners of the photo."""
        item = self._aligned(found, exemplar, zoom)
        if not self.points:
            return _Known(item, ())
        named = found.points(exemplar, item.size)
        further = corners(item.photo) if exemplar is None else NONE.xy
        return _Known(replace(item, points=np.vstack([named.xy, further])), named.names)

    def _both_show(
        self, points: np.ndarray, rng: np.random.Generator, *, between: bool = False
    ) -> np.ndarray | None:
        """Of points (N,4) those that lie in both images, at most `POINTS` of them, or so many with
        others `between` them; None where no loss asks for them."""
        if not self.points:
            return None
        seen = self._inside(points)
        seen = seen[rng.permutation(len(seen))[:POINTS]]
        if between:
            drawn = geometry.between(points, POINTS, self.size, rng)
            seen = np.vstack([seen, self._inside(drawn)])[:POINTS]
        return seen

    def _inside(self, points: np.ndarray) -> np.ndarray:
        within = ((points >= 0) & (points <= self.size - 1)).all(axis=1)
        return points[within].astype(np.float32)

    def _aligned(self, found: _Members, exemplar: int | None = None, zoom: float = 1.0) -> Aligned:
        """A photo and its sources at `zoom` times the side that crops are taken from."""
        load = (round(self.recipe.load * zoom),) * 2
        photo = read_photo(Path(found.key), None, data=found.data("image", exemplar)[1])
        own = (photo.shape[1], photo.shape[0])
        suffix, data = found.data("condition", exemplar)
        sources = decode_sources(self.kind, suffix, data, own, source=found.key)
        if CONDITIONS[self.kind].is_labels:
            check_ids(sources.arrays["ids"], self.recipe.model.channels, source=found.key)
        if own != load:
            photo = resize_bicubic(photo, load)
        return Aligned(photo, sources.resized(load))

    def _recoloured(self, known: _Known, rng: np.random.Generator) -> _Known:
        strength = self.recipe.data.colour
        if not strength:
            return known
        photo = recoloured(known.item.photo, strength, rng)
        return known._replace(item=replace(known.item, photo=photo))

    def _moved(self, item: Aligned, rng: np.random.Generator) -> Aligned:
        """Turned, scaled, shifted and bent, each by up to what the recipe says; of a larger photo
        the middle."""
        c, load = self.recipe.data, self.recipe.load
        if c.rotate or c.scale or c.shift or c.bend:
            degrees, scale, x, y = rng.uniform(-1, 1, 4)
            shift = (x * c.shift * load, y * c.shift * load)
            origins = geometry.affine(item.size, degrees * c.rotate, 1 + scale * c.scale, shift)
            if c.bend:
                origins = geometry.chained(origins, geometry.bend(item.size, c.bend, rng))
            item = geometry.warp(item, origins)
        return self._middle(item, load)

    def _cropped(
        self, item: Aligned, rng: np.random.Generator, mirrored: bool | None = None
    ) -> tuple[Aligned, bool]:
        """A random window, and whether it is mirrored: as said, or by chance where the recipe
        flips."""
        item = self._window(item, rng)
        if mirrored is None:
            mirrored = self.recipe.data.flip and bool(rng.random() < 0.5)
        return (geometry.flip(item) if mirrored else item), mirrored

    def _window(self, item: Aligned, rng: np.random.Generator) -> Aligned:
        room = item.size[0] - self.size
        if not room:
            return item
        left, top = rng.integers(0, room + 1, 2).tolist()
        return geometry.crop(item, left, top, (self.size, self.size))

    def _middle(self, item: Aligned, side: int) -> Aligned:
        offset = (item.size[0] - side) // 2
        return geometry.crop(item, offset, offset, (side, side)) if item.size[0] > side else item

    def _pseudo(
        self, own: Aligned, whole: Aligned, target: Aligned, rng: np.random.Generator
    ) -> Aligned:
        """An exemplar from the photo itself, as it is stored, moved, or cropped too: by a move of
        its own, a second crop, a flip, an elastic warp."""
        ways = self.recipe.data.pseudo
        if "move" in ways:
            whole = self._moved(own, rng)
        exemplar = self._window(whole, rng) if {"move", "crop"} & {*ways} else target
        flips = "flip" in ways or ("crop" in ways and self.recipe.data.flip)
        if flips and rng.random() < 0.5:
            exemplar = geometry.flip(exemplar)
        if "warp" in ways:
            origins = geometry.bend(exemplar.size, self.recipe.data.warp, rng)
            exemplar = geometry.warp(exemplar, origins)
        return exemplar

    def _item(
        self,
        key: str,
        target: Aligned,
        exemplar: Aligned,
        pseudo: bool,
        points: np.ndarray | None = None,
    ) -> TrainingItem:
        condition = self._condition(exemplar, key) if self.exemplar_conditions else None
        own = self._condition(target, key)
        return TrainingItem(key, target.photo, own, exemplar.photo, condition, pseudo, points)

    def _condition(self, item: Aligned, key: str) -> np.ndarray:
        array = build_condition(item.sources, item.photo)
        expected = CONDITIONS[self.kind].planes or self.recipe.model.channels
        if len(array) != expected:
            raise BadInput(
                f"{key}: its condition has {len(array)} planes, expected {expected}.",
                "Prepare the dataset with one skeleton for all.",
            )
        return array


class _Known(NamedTuple):
    """A photo with its points, the first of which have names."""

    item: Aligned
    names: tuple[str, ...]


class _Members:
    """A sample's members by what they are."""

    def __init__(self, sample: Sample) -> None:
        self.key = decode_key(sample.key)
        self._members = sample.by_name()

    @property
    def exemplars(self) -> list[int]:
        """The numbers of its exemplars, best first."""
        names = (name.partition(".") for name in self._members)
        return sorted(int(n) for what, _, n in names if what == "exemplar" and n.isdecimal())

    def points(self, exemplar: int | None, size: Size) -> Points:
        """The named points of the photo or of an exemplar, as it is at a size; none where there
        are none. Raises BadInput."""
        name = member_name("points", exemplar)
        if name not in self._members:
            return NONE
        return decode_known(self._members[name][1], size, source=f"{self.key}: {name}")

    def data(self, what: str, exemplar: int | None = None) -> tuple[str, bytes]:
        """The suffix and bytes of `what` of the photo or of an exemplar. Raises BadInput."""
        name = member_name(what, exemplar)
        if name not in self._members:
            raise BadInput(f"{self.key}: a sample without {name}.", "Prepare it again.")
        return self._members[name]


def shared_names(ours: Sequence[str], theirs: Sequence[str]) -> tuple[list[int], list[int]]:
    """Where the names that both have lie in each."""
    places = {name: n for n, name in enumerate(theirs)}
    found = [(n, places[name]) for n, name in enumerate(ours) if name in places]
    return [n for n, _ in found], [n for _, n in found]


def corners(photo: np.ndarray) -> np.ndarray:
    """(N,2) x and y of places of a photo (H,W,3) that can be told from their neighbours."""
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    apart = max(2, min(grey.shape) // 32)
    found = cv2.goodFeaturesToTrack(grey, POINTS // 2, qualityLevel=0.01, minDistance=apart)
    return NONE.xy if found is None else found.reshape(-1, 2)


def recoloured(photo: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """(H,W,3) uint8 with brightness, contrast, saturation and white point moved by up to
    `strength` (0..1)."""
    gains = 1 + strength * rng.uniform(-0.5, 0.5, 3)
    picture = Image.fromarray(np.clip(photo * gains, 0, 255).astype(np.uint8))
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = enhance(picture).enhance(1 + strength * rng.uniform(-1, 1))
    return np.array(picture)
