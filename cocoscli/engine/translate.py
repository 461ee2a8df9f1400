"""`cocos translate`: every input in the style of an exemplar."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cocosnet
import numpy as np
import torch

from cocoscli.data.conditions import preview
from cocoscli.data.encoding import SHARDS, encode_image, image_format, thumbnail
from cocoscli.data.shards import Sample
from cocoscli.engine.batch import Work, is_out_of_memory
from cocoscli.engine.gallery import thumb_name
from cocoscli.engine.items import ExemplarImage, Item, PairReader
from cocoscli.engine.network import Network
from cocoscli.engine.results import Packed
from cocoscli.engine.tensors import to_uint8
from cocoscli.errors import BadInput

BANK_BYTES = 2**29
"""Packed exemplars that are kept."""


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """How results are computed and written."""

    device: torch.device
    precision: str = "fp32"
    format: str = "png"
    """One of `RESULT_FORMATS`."""
    quality: int = 95
    gallery: int = 1000
    """Items, counted from the first, that get pictures in the gallery."""

    def encoded(self, image: np.ndarray) -> dict[str, bytes]:
        """A result (H,W,3) uint8 as a member of its sample."""
        format = image_format(self.format)
        return {f"image.{format}": encode_image(image, format, self.quality)}


@dataclass(frozen=True)
class Rendered:
    """A translation as arrays."""

    image: np.ndarray
    """(H,W,3) uint8."""
    warped: np.ndarray | None
    condition: np.ndarray | None
    exemplar: int


class Banks:
    """Packed exemplars, the most recently used kept; each is encoded alone, so that its numbers
    do not depend on what it was batched with."""

    def __init__(self, translation: Translation) -> None:
        self.translation = translation
        self.kept: OrderedDict[int, cocosnet.ExemplarBank | BadInput] = OrderedDict()

    def get(self, j: int, image: ExemplarImage | None) -> cocosnet.ExemplarBank | BadInput:
        if j not in self.kept:
            self.kept[j] = self._make(j, image)
        self.kept.move_to_end(j)
        sizes = [0 if isinstance(b, BadInput) else b.nbytes for b in self.kept.values()]
        total = sum(sizes)
        while total > BANK_BYTES and len(self.kept) > 1:
            _, dropped = self.kept.popitem(last=False)
            total -= 0 if isinstance(dropped, BadInput) else dropped.nbytes
        return self.kept[j]

    def _make(self, j: int, image: ExemplarImage | None) -> cocosnet.ExemplarBank | BadInput:
        try:
            image = image or self.translation.reader.exemplars.read(j)
            return self.translation.network.encode(image)
        except BadInput as error:
            return error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            name = self.translation.reader.exemplars.names[j]
            return BadInput(f"{name}: out of memory at this size.", "Give a smaller --size.")


class Translation(Work[Item, Rendered]):
    """The work of `cocos translate` for `batch.run`."""

    def __init__(self, model: cocosnet.CoCosNet, reader: PairReader, rendering: Rendering) -> None:
        self.network = Network(
            model, reader.conditions, rendering.device, rendering.precision, reader.size is None
        )
        self.reader = reader
        self.rendering = rendering
        self.banks = Banks(self)
        self.features: tuple[int, cocosnet.InputFeatures] | None = None
        self._shown: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.reader.pairing)

    def key(self, k: int) -> str:
        return self.reader.key(k)

    def describe(self, k: int) -> dict[str, Any]:
        i, j = self.reader.pairing.pair(k)
        exemplar = None if j is None else self.reader.exemplars.names[j]
        return {"input": self.reader.inputs.key(i), "exemplar": exemplar}

    def groups(self, loaded: Sequence[Item]) -> list[list[int]]:
        """Items whose conditions have one padded shape and whose exemplars have one size."""
        groups: dict[tuple, list[int]] = {}
        for n, item in enumerate(loaded):
            size = item.image.photo.shape if item.image else self._bank_shape(item)
            groups.setdefault((item.condition.shape, size), []).append(n)
        return list(groups.values())

    def _bank_shape(self, item: Item) -> tuple[int, ...]:
        bank = self.banks.get(item.exemplar, None)
        return () if isinstance(bank, BadInput) else tuple(bank.colours.shape)

    def compute(self, loaded: Sequence[Item]) -> list[Rendered | BadInput]:
        # On a CPU more at once gains nothing, and alone the numbers do not depend on the batch.
        if self.rendering.device.type == "cpu" and len(loaded) > 1:
            return [result for item in loaded for result in self.compute([item])]
        banks = [self.banks.get(item.exemplar, item.image) for item in loaded]
        good = [n for n, bank in enumerate(banks) if not isinstance(bank, BadInput)]
        rendered = iter(self._images([loaded[n] for n in good], [banks[n] for n in good]))  # type: ignore[misc]
        return [bank if isinstance(bank, BadInput) else next(rendered) for bank in banks]

    def _images(self, loaded: Sequence[Item], banks: list[cocosnet.ExemplarBank]) -> list[Rendered]:
        if not loaded:
            return []
        height, width = loaded[0].condition.shape[1:]
        self.network.check_room((width, height), len(loaded))
        with self.network.running():
            output = self._render(loaded, banks)
        images = to_uint8(output.image)
        wanted = [item.k < self.rendering.gallery for item in loaded]
        warped = to_uint8(output.warped) if any(wanted) else images
        return [
            Rendered(
                image=image[: item.size[1], : item.size[0]],
                warped=warp[: item.size[1], : item.size[0]] if show else None,
                condition=item.condition[:, : item.size[1], : item.size[0]] if show else None,
                exemplar=item.exemplar,
            )
            for item, image, warp, show in zip(loaded, images, warped, wanted, strict=True)
        ]

    def _render(self, items: Sequence[Item], banks: list[cocosnet.ExemplarBank]) -> cocosnet.Output:
        """The network on one group. One exemplar for all serves as it is; one input for all (pairs
        'all') is encoded once and kept for the next batch."""
        same_input = self.reader.pairing.many and len({item.input for item in items}) == 1
        same_bank = all(bank is banks[0] for bank in banks)
        bank = banks[0] if same_bank else cocosnet.ExemplarBank.stack(banks)
        x = self.network.planes([item.condition for item in (items[:1] if same_input else items)])
        model = self.network.model
        if not same_input:
            return model.render(x, model.match(x, bank))
        if self.features is None or self.features[0] != items[0].input:
            self.features = (items[0].input, model.encode_input(x))
        return model.render(x, model.match(self.features[1], bank))

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
        if result.warped is None or result.condition is None:
            return {}
        kind = self.reader.conditions.layout.kind
        shown = {"input": preview(result.condition, kind), "warp": result.warped}
        if self.rendering.format == SHARDS:
            shown["result"] = result.image
        pictures = {thumb_name(key, what): thumbnail(pixels) for what, pixels in shown.items()}
        return pictures | self._exemplar_picture(result.exemplar)

    def _exemplar_picture(self, j: int) -> dict[str, bytes]:
        with self._lock:
            fresh = j not in self._shown
            self._shown.add(j)
        if not fresh:
            return {}
        photo = self.reader.exemplars.read(j).photo
        return {thumb_name(self.reader.exemplars.names[j], "exemplar"): thumbnail(photo)}
