"""`cocos edit`: photos drawn anew where their masks were edited, each its own exemplar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cocosnet
import numpy as np

from cocoscli.data.edits import blend
from cocoscli.data.encoding import SHARDS, thumbnail
from cocoscli.data.resizing import resize_bicubic
from cocoscli.data.shards import Sample
from cocoscli.engine.edit_items import EditItem, EditReader
from cocoscli.engine.gallery import thumb_name
from cocoscli.engine.network import NetworkWork, input_shapes
from cocoscli.engine.results import Packed
from cocoscli.engine.tensors import to_uint8
from cocoscli.engine.translate import Rendering
from cocoscli.errors import BadInput


@dataclass(frozen=True)
class Edited:
    """An edit as arrays."""

    image: np.ndarray
    """(H,W,3) uint8, as the network drew it."""
    item: EditItem

    def result(self) -> np.ndarray:
        """The picture to write (H,W,3) uint8: with what is kept of the photo, at its size."""
        if self.item.kept is None:
            return self.image
        photo, share = self.item.kept
        height, width = share.shape
        return blend(photo, resize_bicubic(self.image, (width, height)), share)


class Editing(NetworkWork[EditItem, Edited]):
    """The work of `cocos edit` for `batch.run`."""

    reader: EditReader

    def __init__(self, model: cocosnet.CoCosNet, reader: EditReader, rendering: Rendering) -> None:
        super().__init__(model, reader, rendering)
        self.rendering = rendering
        self.latest: tuple[Path, cocosnet.ExemplarBank] | None = None
        """The last photo's bank: several edits of one photo are neighbours."""

    def __len__(self) -> int:
        return len(self.reader)

    def key(self, k: int) -> str:
        return self.reader.key(k)

    def describe(self, k: int) -> dict[str, Any]:
        try:
            exemplar = self.reader.photo_name(k)
        except BadInput:
            exemplar = None
        return {"input": self.key(k), "exemplar": exemplar}

    def shapes(self, item: EditItem) -> tuple[Any, ...]:
        """Those of the edited condition and of the photo."""
        return *input_shapes(item), item.image.photo.shape, item.image.matched.shape

    def group(self, items: Sequence[EditItem]) -> list[Edited]:
        height, width = items[0].condition.shape[1:]
        self.network.check_room((width, height), len(items))
        bank = cocosnet.ExemplarBank.stack([self._bank(item) for item in items])
        network = self.network
        with network.running():
            match = network.match(network.features(items), bank, items[0])
            x = network.planes([item.condition for item in items])
            images = to_uint8(network.model.render(x, match).image)
        return [
            Edited(image[: item.size[1], : item.size[0]], item)
            for image, item in zip(images, items, strict=True)
        ]

    def _bank(self, item: EditItem) -> cocosnet.ExemplarBank:
        if self.latest is None or self.latest[0] != item.photo:
            self.latest = (item.photo, self.network.encode(item.image))
        return self.latest[1]

    def pack(self, k: int, result: Edited) -> Packed:
        image = result.result()
        pictures = result.item.pictures
        if pictures and self.rendering.format == SHARDS:
            pictures = {**pictures, "result": image}
        key = self.key(k)
        return Packed(
            Sample(self.reader.sample_key(k), self.rendering.encoded(image)),
            source=self.reader.sample_key(k),
            columns={"changed": round(result.item.changed, 6)},
            pictures={thumb_name(key, what): thumbnail(p) for what, p in pictures.items()},
        )
