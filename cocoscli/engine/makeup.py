"""`cocos makeup`: the makeup of a portrait, or of several, on every target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cocosnet
import numpy as np
from PIL import Image

from cocoscli.data.conditions import edge_condition
from cocoscli.data.encoding import SHARDS, encode_image, encode_photo, image_format, thumbnail
from cocoscli.data.originals import Original, read_original
from cocoscli.data.shards import Sample
from cocoscli.data.smooth_maps import affine, cells, sampled
from cocoscli.data.wearing import Worn, grid_places, wear
from cocoscli.data.windows import Window
from cocoscli.engine.alignment import LEAST, SEEN, Aligner, Anchor, Placement
from cocoscli.engine.gallery import thumb_name
from cocoscli.engine.makeup_items import MakeupReader, Target
from cocoscli.engine.makeup_sources import Source
from cocoscli.engine.network import NetworkWork
from cocoscli.engine.results import Packed
from cocoscli.engine.tensors import to_uint8
from cocoscli.engine.translate import Rendering
from cocoscli.errors import BadInput

PREVIEW = 512
"""Pixels of a preview's longer side."""


@dataclass(frozen=True, kw_only=True)
class Applying(Rendering):
    """How makeup is placed and painted."""

    draws: bool = False
    blend: str = "multiply"
    strength: float = 1.0
    via: str = "photo"
    """One of `VIA` of `alignment`."""


@dataclass(frozen=True)
class MadeUp:
    """A target with the makeup that was placed on it."""

    target: Target
    worn: list[Worn]
    match: float
    """How well source and target agree where there is makeup, -1..1: the worst face's mean."""
    drawn: np.ndarray | None
    """(h,w,3) uint8: the first face as the network draws it, where that is wanted."""


class Makeup(NetworkWork[Target, MadeUp]):
    """The work of `cocos makeup` for `batch.run`."""

    reader: MakeupReader

    def __init__(
        self,
        model: cocosnet.CoCosNet,
        reader: MakeupReader,
        sources: Sequence[Source],
        applying: Applying,
    ) -> None:
        super().__init__(model, reader, applying)
        self.sources, self.applying = sources, applying
        self.aligner = Aligner(self.network, applying.via)

    def made_of(self) -> tuple[Any, ...]:
        model, reader, computing = super().made_of()
        return model, reader, self.sources, computing

    def __len__(self) -> int:
        return len(self.reader)

    def key(self, k: int) -> str:
        return self.reader.key(k)

    def describe(self, k: int) -> dict[str, Any]:
        names = ", ".join(source.path.name for source in self.sources)
        return {"input": self.key(k), "exemplar": names}

    def shapes(self, item: Target) -> tuple[Any, ...]:
        """Windows are alike; as many of them are computed together as all targets have."""
        return (len(item.windows),)

    @cached_property
    def anchors(self) -> list[Anchor]:
        """The sources, encoded once."""
        with self.network.running():
            return [self.aligner.anchor(s.window, s.close_up) for s in self.sources]

    def group(self, items: Sequence[Target]) -> list[MadeUp | BadInput]:
        windows = [window for item in items for window in item.windows]
        with self.network.running():
            placed = [self.aligner.align(anchor, windows) for anchor in self.anchors]
            drawn = self._drawn([item.windows[0] for item in items])
        made, start = [], 0
        for item, picture in zip(items, drawn, strict=True):
            end = start + len(item.windows)
            made.append(self._made(item, [each[start:end] for each in placed], picture))
            start = end
        return made

    def _made(
        self, target: Target, placed: list[list[Placement]], drawn: np.ndarray | None
    ) -> MadeUp | BadInput:
        """A target from where each source lies in each of its windows."""
        worn: list[Worn | None] = []
        matches = []
        for source, anchor, placements in zip(self.sources, self.anchors, placed, strict=True):
            for window, placement in zip(target.windows, placements, strict=True):
                matches.append(_agreement(source, anchor, placement))
                worn.append(self._worn(source, anchor, placement, window))
        if max(matches) < LEAST:
            return BadInput(
                f"no face like the source's was found: they agree to {max(matches):.2f}, and at "
                f"least {LEAST} is expected.",
                "Crop the target to a centred portrait, or take it out of the targets.",
            )
        return MadeUp(target, [each for each in worn if each], min(matches), drawn)

    def _worn(
        self, source: Source, anchor: Anchor, placement: Placement, window: Window
    ) -> Worn | None:
        near = placement.near(grid_places())
        share = self.applying.strength * sampled(placement.share[..., None], near)[..., 0]
        beyond = (near < 0).any(axis=-1) | (near > SEEN - 1).any(axis=-1)
        share[beyond] = 0
        places = affine(source.window.place, affine(anchor.view, near)) - source.box[:2]
        return Worn.of(source.paint, window, places, share)

    def _drawn(self, windows: Sequence[Window]) -> Sequence[np.ndarray | None]:
        """What the generator makes of the windows in the first source's style, where wanted."""
        if not self.applying.draws:
            return [None] * len(windows)
        model = self.network.model
        side = model.condition.size
        x = self.network.planes([edge_condition(self.aligner.whole(w, side)) for w in windows])
        match = model.match(x, self.bank)
        return list(to_uint8(model.render(x, match).image))

    @cached_property
    def bank(self) -> cocosnet.ExemplarBank:
        """The first source, whole, as the generator's exemplar."""
        side = self.network.model.condition.size
        view = self.aligner.whole(self.sources[0].window, side)
        return self.network.model.encode_exemplar(self.network.photos([view]))

    def pack(self, k: int, result: MadeUp) -> Packed:
        original = read_original(self.reader.targets.path(k))
        pictures = self._pictures(k, original, result)
        for worn in result.worn:
            wear(original, worn, self.applying.blend)
        key, applying = self.key(k), self.applying
        if pictures and applying.format == SHARDS:
            pictures["result"] = original.shrunk(PREVIEW).pixels
        members = {f"image.{image_format(applying.format)}": encoded(original, applying)}
        if result.drawn is not None:
            members |= {"network.png": encode_image(result.drawn, "png")}
        return Packed(
            Sample(self.reader.sample_key(k), members),
            source=self.reader.sample_key(k),
            columns={"faces": len(result.target.windows), "match": round(result.match, 4)},
            pictures={thumb_name(key, what): thumbnail(p) for what, p in pictures.items()},
        )

    def _pictures(self, k: int, original: Original, result: MadeUp) -> dict[str, np.ndarray]:
        """What the page shows of a target: before, and the makeup on white."""
        if k >= self.applying.gallery:
            return {}
        before = original.shrunk(PREVIEW)
        white = Original(np.full_like(before.pixels, 255), None, None)
        scale = before.size[0] / original.size[0]
        for worn in result.worn:
            wear(white, worn, "multiply" if self.applying.blend == "multiply" else "alpha", scale)
        # A copy: the pixels of a photo that small are the photo's own, which are painted on.
        return {"before": before.seen(before.pixels).copy(), "layer": white.pixels}


def _agreement(source: Source, anchor: Anchor, placement: Placement) -> float:
    """The mean of a placement's agreement, where there is makeup."""
    painted = source.painted(affine(anchor.view, cells(anchor.grid)))
    return float(np.average(placement.agreement, weights=painted + 1e-6))


def encoded(original: Original, applying: Applying) -> bytes:
    """A photo as a file, with its transparency and its profile where the format has them."""
    image = Image.fromarray(original.pixels)
    format = image_format(applying.format)
    if original.alpha is not None and format != "jpg":
        image.putalpha(Image.fromarray(original.alpha))
    return encode_photo(image, format, applying.quality, original.profile)
