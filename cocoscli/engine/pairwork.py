"""What every command over pairs of inputs and exemplars does with a network: match them."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import cocosnet
import numpy as np

from cocoscli.data.conditions import preview
from cocoscli.data.encoding import thumbnail
from cocoscli.engine.batch import is_out_of_memory
from cocoscli.engine.gallery import thumb_name
from cocoscli.engine.items import ExemplarImage, Item, PairReader
from cocoscli.engine.network import Computing, NetworkWork, input_shapes
from cocoscli.errors import BadInput

BANK_BYTES = 2**29
"""Packed exemplars that are kept."""

R = TypeVar("R")


class PairWork(NetworkWork[Item, R]):
    """Work on pairs; a command says what it makes of a group of them."""

    reader: PairReader

    def __init__(self, model: cocosnet.CoCosNet, reader: PairReader, computing: Computing) -> None:
        super().__init__(model, reader, computing)
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

    def shapes(self, item: Item) -> tuple[Any, ...]:
        """Those of the input and of the exemplar."""
        own = input_shapes(item)
        if item.image:
            return *own, item.image.photo.shape, item.image.matched.shape
        bank = self.banks.get(item.exemplar, None)
        return own if isinstance(bank, BadInput) else (*own, bank.colours.shape, bank.side.grid)

    def group(self, items: Sequence[Item]) -> list[R | BadInput]:
        banks = [self.banks.get(item.exemplar, item.image) for item in items]
        good = [n for n, bank in enumerate(banks) if not isinstance(bank, BadInput)]
        made = iter(self._made([items[n] for n in good], [banks[n] for n in good]))  # type: ignore[misc]
        return [bank if isinstance(bank, BadInput) else next(made) for bank in banks]

    def _made(self, items: list[Item], banks: list[cocosnet.ExemplarBank]) -> list[R]:
        if not items:
            return []
        height, width = items[0].condition.shape[1:]
        self.network.check_room((width, height), len(items))
        with self.network.running():
            return self.make(items, banks)

    @abstractmethod
    def make(self, items: list[Item], banks: list[cocosnet.ExemplarBank]) -> list[R]:
        """The results of one group, whose banks are of one size."""

    def one_input(self, items: list[Item]) -> bool:
        """Whether a group is of one input, as with pairs 'all': it is then encoded once."""
        return self.reader.pairing.many and len({item.input for item in items}) == 1

    def match(
        self,
        items: list[Item],
        banks: list[cocosnet.ExemplarBank],
        encode: Callable[[], cocosnet.InputFeatures],
    ) -> cocosnet.Match:
        """The match of a group. One exemplar for all serves as it is; the features of one input
        are kept for the next batch."""
        same = all(bank is banks[0] for bank in banks)
        bank = banks[0] if same else cocosnet.ExemplarBank.stack(banks)
        if not self.one_input(items):
            return self.network.match(encode(), bank, items[0])
        if self.features is None or self.features[0] != items[0].input:
            self.features = (items[0].input, encode())
        return self.network.match(self.features[1], bank, items[0])

    def input_picture(self, item: Item) -> np.ndarray:
        """What the page shows of an input: (H,W,3) uint8."""
        width, height = item.size
        if item.photo is not None:
            return item.photo[:height, :width]
        return preview(item.condition[:, :height, :width], self.reader.conditions.layout.kind)

    def exemplar_picture(self, j: int) -> dict[str, bytes]:
        """The page's picture of an exemplar, by its name; once."""
        with self._lock:
            fresh = j not in self._shown
            self._shown.add(j)
        if not fresh:
            return {}
        photo = self.reader.exemplars.read(j).photo
        return {thumb_name(self.reader.exemplars.names[j], "exemplar"): thumbnail(photo)}


class Banks:
    """Packed exemplars, the most recently used kept; each is encoded alone, so that its numbers
    do not depend on what it was batched with."""

    def __init__(self, work: PairWork[Any]) -> None:
        self.work = work
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
            return self.work.network.encode(image or self.work.reader.exemplars.read(j))
        except BadInput as error:
            return error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            name = self.work.reader.exemplars.names[j]
            return BadInput(f"{name}: out of memory at this size.", "Give a smaller --size.")
