"""What every command over pairs does with a network: encode inputs and exemplars, match them."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cocosnet
import numpy as np
import torch
from torch import Tensor

from cocoscli.data.conditions import preview
from cocoscli.data.encoding import thumbnail
from cocoscli.data.planes import expand
from cocoscli.engine.batch import Work, is_out_of_memory
from cocoscli.engine.device import autocast
from cocoscli.engine.gallery import thumb_name
from cocoscli.engine.items import ExemplarImage, Item, PairReader
from cocoscli.engine.tensors import photo_tensor
from cocoscli.errors import BadInput

BANK_BYTES = 2**29
"""Packed exemplars that are kept."""

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Computing:
    """Where networks run, and how many items get pictures for the page."""

    device: torch.device
    precision: str = "fp32"
    gallery: int = 1000
    """Items, counted from the first."""


class PairWork(Work[Item, R]):
    """Work on pairs for `batch.run`; a command says what it makes of a group of them."""

    def __init__(self, model: cocosnet.CoCosNet, reader: PairReader, computing: Computing) -> None:
        self.model = model
        self.reader = reader
        self.computing = computing
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

    def compute(self, loaded: Sequence[Item]) -> list[R | BadInput]:
        # On a CPU more at once gains nothing, and alone the numbers do not depend on the batch.
        if self.computing.device.type == "cpu" and len(loaded) > 1:
            return [result for item in loaded for result in self.compute([item])]
        banks = [self.banks.get(item.exemplar, item.image) for item in loaded]
        good = [n for n, bank in enumerate(banks) if not isinstance(bank, BadInput)]
        made = iter(self._group([loaded[n] for n in good], [banks[n] for n in good]))  # type: ignore[misc]
        return [bank if isinstance(bank, BadInput) else next(made) for bank in banks]

    def _group(self, items: list[Item], banks: list[cocosnet.ExemplarBank]) -> list[R]:
        if not items:
            return []
        with torch.inference_mode(), autocast(self.computing.precision, self.computing.device):
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
            return self.model.match(encode(), bank)
        if self.features is None or self.features[0] != items[0].input:
            self.features = (items[0].input, encode())
        return self.model.match(self.features[1], bank)

    def encode(self, image: ExemplarImage) -> cocosnet.ExemplarBank:
        """An exemplar alone, as a bank of one."""
        photo = torch.from_numpy(image.photo)[None]
        y = photo_tensor(photo, self.computing.device).contiguous()
        condition = None if image.condition is None else self.planes([image.condition])
        with torch.inference_mode(), autocast(self.computing.precision, self.computing.device):
            return self.model.encode_exemplar(y, condition)

    def planes(self, arrays: list[np.ndarray]) -> Tensor:
        """Condition arrays of one shape as the network sees them: (B,K,H,W)."""
        stacked = np.stack(arrays)
        stacked = stacked.astype(np.int32)  # an ignored label may lie beyond 255
        conditions = self.reader.conditions
        on_device = torch.from_numpy(stacked).to(self.computing.device)
        return expand(on_device, conditions.layout.kind, conditions.channels, conditions.ignore)

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
            return self.work.encode(image or self.work.reader.exemplars.read(j))
        except BadInput as error:
            return error
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            name = self.work.reader.exemplars.names[j]
            return BadInput(f"{name}: out of memory at this size.", "Give a smaller --size.")
