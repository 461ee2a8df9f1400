"""Training samples: a shard's sample to arrays, augmented by its position's own random numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance

from cocoscli.data import geometry
from cocoscli.data.conditions import CONDITIONS, check_ids
from cocoscli.data.geometry import Aligned
from cocoscli.data.images import read_photo
from cocoscli.data.resizing import resize_bicubic
from cocoscli.data.shards import Sample, decode_key
from cocoscli.data.sources import build_condition, decode_sources
from cocoscli.errors import BadInput
from cocoscli.recipe import Recipe


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
    """Whether the exemplar was made from the photo itself."""


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

    def training(self, sample: Sample, seed: tuple[int, ...]) -> TrainingItem:
        """A sample as training sees it: augmented, with an exemplar drawn for it. Raises BadInput.

        Everything drawn follows from `seed`.
        """
        rng = np.random.default_rng(seed)
        found = _Members(sample)
        whole = self._augmented(self._aligned(found, "image", "condition"), rng)
        target = self._cropped(whole, rng)
        stored = found.exemplars
        chance, given = rng.random(), self.recipe.data.exemplars
        if not stored or chance < given.pseudo:
            return self._item(found.key, target, self._pseudo(whole, target, rng), pseudo=True)
        number = stored[0] if chance < given.pseudo + given.first else stored[-1]
        real = self._aligned(found, f"exemplar.{number}", f"exemplar_condition.{number}")
        exemplar = self._cropped(self._augmented(real, rng), rng)
        return self._item(found.key, target, exemplar, pseudo=False)

    def held_out(self, sample: Sample, *, pseudo: bool = False) -> TrainingItem:
        """A sample as it is: cropped to its middle, with its best exemplar. Raises BadInput.

        `pseudo` bends the photo itself, always in the same way, to be its own exemplar.
        """
        found = _Members(sample)
        target = self._middle(self._aligned(found, "image", "condition"))
        stored = found.exemplars
        if pseudo or not stored:
            rng = np.random.default_rng(0)
            bent = geometry.warp(target, geometry.bend(target.size, self.recipe.data.warp, rng))
            return self._item(found.key, target, bent, pseudo=True)
        names = f"exemplar.{stored[0]}", f"exemplar_condition.{stored[0]}"
        return self._item(found.key, target, self._middle(self._aligned(found, *names)), False)

    def _aligned(self, found: _Members, image: str, condition: str) -> Aligned:
        """A photo and its sources at the side that crops are taken from."""
        load = (self.recipe.load, self.recipe.load)
        photo = read_photo(Path(found.key), None, data=found.data(image)[1])
        own = (photo.shape[1], photo.shape[0])
        suffix, data = found.data(condition)
        sources = decode_sources(self.kind, suffix, data, own, source=found.key)
        if CONDITIONS[self.kind].is_labels:
            check_ids(sources.arrays["ids"], self.recipe.model.channels, source=found.key)
        if own != load:
            photo = resize_bicubic(photo, load)
        return Aligned(photo, sources.resized(load))

    def _augmented(self, item: Aligned, rng: np.random.Generator) -> Aligned:
        """Turned, zoomed, shifted, bent and recoloured, each by up to what the recipe says."""
        c = self.recipe.data
        if c.rotate or c.scale or c.shift or c.bend:
            degrees, zoom, x, y = rng.uniform(-1, 1, 4)
            shift = (x * c.shift * item.size[0], y * c.shift * item.size[1])
            origins = geometry.affine(item.size, degrees * c.rotate, 1 + zoom * c.scale, shift)
            if c.bend:
                origins = geometry.chained(origins, geometry.bend(item.size, c.bend, rng))
            item = geometry.warp(item, origins)
        return Aligned(recoloured(item.photo, c.colour, rng), item.sources) if c.colour else item

    def _cropped(self, item: Aligned, rng: np.random.Generator) -> Aligned:
        """A random window, flipped by chance where the recipe flips."""
        item = self._window(item, rng)
        return geometry.flip(item) if self.recipe.data.flip and rng.random() < 0.5 else item

    def _window(self, item: Aligned, rng: np.random.Generator) -> Aligned:
        room = item.size[0] - self.size
        if not room:
            return item
        left, top = rng.integers(0, room + 1, 2).tolist()
        return geometry.crop(item, left, top, (self.size, self.size))

    def _middle(self, item: Aligned) -> Aligned:
        offset = (item.size[0] - self.size) // 2
        return geometry.crop(item, offset, offset, (self.size, self.size)) if offset else item

    def _pseudo(self, whole: Aligned, target: Aligned, rng: np.random.Generator) -> Aligned:
        """An exemplar from the photo itself: a second crop, a flip, an elastic warp."""
        ways = self.recipe.data.pseudo
        exemplar = self._window(whole, rng) if "crop" in ways else target
        flips = "flip" in ways or ("crop" in ways and self.recipe.data.flip)
        if flips and rng.random() < 0.5:
            exemplar = geometry.flip(exemplar)
        if "warp" in ways:
            origins = geometry.bend(exemplar.size, self.recipe.data.warp, rng)
            exemplar = geometry.warp(exemplar, origins)
        return exemplar

    def _item(self, key: str, target: Aligned, exemplar: Aligned, pseudo: bool) -> TrainingItem:
        condition = self._condition(exemplar, key) if self.exemplar_conditions else None
        return TrainingItem(
            key, target.photo, self._condition(target, key), exemplar.photo, condition, pseudo
        )

    def _condition(self, item: Aligned, key: str) -> np.ndarray:
        array = build_condition(item.sources, item.photo)
        expected = CONDITIONS[self.kind].planes or self.recipe.model.channels
        if len(array) != expected:
            raise BadInput(
                f"{key}: its condition has {len(array)} planes, expected {expected}.",
                "Prepare the dataset with one skeleton for all.",
            )
        return array


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

    def data(self, name: str) -> tuple[str, bytes]:
        """A member's suffix and bytes. Raises BadInput."""
        if name not in self._members:
            raise BadInput(f"{self.key}: a sample without {name}.", "Prepare it again.")
        return self._members[name]


def recoloured(photo: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """(H,W,3) uint8 with brightness, contrast, saturation and white point moved by up to
    `strength` (0..1)."""
    gains = 1 + strength * rng.uniform(-0.5, 0.5, 3)
    picture = Image.fromarray(np.clip(photo * gains, 0, 255).astype(np.uint8))
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = enhance(picture).enhance(1 + strength * rng.uniform(-1, 1))
    return np.array(picture)
