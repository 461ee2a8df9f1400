"""`cocos translate`: every input in the style of an exemplar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cocosnet
import numpy as np

from cocoscli.data.encoding import SHARDS, encode_image, image_format, thumbnail
from cocoscli.data.shards import Sample
from cocoscli.engine.gallery import thumb_name
from cocoscli.engine.items import Item, PairReader
from cocoscli.engine.network import Computing
from cocoscli.engine.pairwork import PairWork
from cocoscli.engine.results import Packed
from cocoscli.engine.shardset import Limits
from cocoscli.engine.tensors import to_uint8


@dataclass(frozen=True, kw_only=True)
class Rendering(Computing):
    """How results are computed and written."""

    format: str = "png"
    """One of `RESULT_FORMATS`."""
    quality: int = 95
    shard_samples: int = 1000

    @property
    def settings(self) -> dict[str, Any]:
        """What of it decides the files."""
        settings: dict[str, Any] = {"format": self.format, "quality": self.quality}
        return settings | ({"shard_samples": self.shard_samples} if self.limits else {})

    @property
    def limits(self) -> Limits | None:
        """Of the shards that results go into; None where they are files."""
        return Limits(samples=self.shard_samples) if self.format == SHARDS else None

    def encoded(self, image: np.ndarray) -> dict[str, bytes]:
        """A result (H,W,3) uint8 as a member of its sample."""
        format = image_format(self.format)
        return {f"image.{format}": encode_image(image, format, self.quality)}


@dataclass(frozen=True)
class Rendered:
    """A translation as arrays (H,W,3) uint8; the last two only where the page shows the item."""

    image: np.ndarray
    exemplar: int
    warped: np.ndarray | None
    input: np.ndarray | None


class Translation(PairWork[Rendered]):
    """The work of `cocos translate` for `batch.run`."""

    def __init__(self, model: cocosnet.CoCosNet, reader: PairReader, rendering: Rendering) -> None:
        super().__init__(model, reader, rendering)
        self.rendering = rendering

    def make(self, items: list[Item], banks: list[cocosnet.ExemplarBank]) -> list[Rendered]:
        output = self._render(items, banks)
        images = to_uint8(output.image)
        wanted = [item.k < self.rendering.gallery for item in items]
        warped = to_uint8(output.warped) if any(wanted) else images
        return [
            Rendered(
                image=image[: item.size[1], : item.size[0]],
                exemplar=item.exemplar,
                warped=warp[: item.size[1], : item.size[0]] if show else None,
                input=self.input_picture(item) if show else None,
            )
            for item, image, warp, show in zip(items, images, warped, wanted, strict=True)
        ]

    def _render(self, items: list[Item], banks: list[cocosnet.ExemplarBank]) -> cocosnet.Output:
        """The network on one group."""
        alone = items[:1] if self.one_input(items) else items
        match = self.match(items, banks, lambda: self.network.features(alone))
        x = self.network.planes([item.condition for item in alone])
        return self.network.model.render(x, match)

    def pack(self, k: int, result: Rendered) -> Packed:
        i, _ = self.reader.pairing.pair(k)
        return Packed(
            Sample(self.reader.sample_key(k), self.rendering.encoded(result.image)),
            source=self.reader.inputs.sample_key(i),
            columns={"exemplar": self.reader.exemplars.names[result.exemplar]},
            pictures=self._pictures(self.key(k), result),
        )

    def _pictures(self, key: str, result: Rendered) -> dict[str, bytes]:
        """What the page shows of an item, apart from a result that is a file."""
        if result.warped is None or result.input is None:
            return {}
        shown = {"input": result.input, "warp": result.warped}
        if self.rendering.format == SHARDS:
            shown["result"] = result.image
        pictures = {thumb_name(key, what): thumbnail(pixels) for what, pixels in shown.items()}
        return pictures | self.exemplar_picture(result.exemplar)
