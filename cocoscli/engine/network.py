"""The network on its device, fed with the arrays that readers hand over."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self, TypeVar

import cocosnet
import numpy as np
import torch
from torch import Tensor

from cocoscli.data.images import Size
from cocoscli.data.planes import expand
from cocoscli.data.reading import ConditionReader
from cocoscli.engine.batch import Reader, Work
from cocoscli.engine.compiling import compile_network
from cocoscli.engine.device import DTYPES
from cocoscli.engine.items import ExemplarImage
from cocoscli.engine.memory import available_bytes, computed_at_once, estimate_bytes
from cocoscli.engine.tensors import photo_tensor, to_device
from cocoscli.errors import BadInput

L = TypeVar("L")
R = TypeVar("R")
Lco = TypeVar("Lco", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Computing:
    """Where networks run, and how many items get pictures for the page."""

    device: torch.device
    precision: str = "fp32"
    gallery: int = 1000
    """Items, counted from the first."""
    draws: bool = True
    """Whether the generator runs too."""
    compiled: bool = False
    """Whether the networks are compiled."""


class Seen(Protocol):
    """An input of a network."""

    condition: np.ndarray
    """(P,H,W), padded to a multiple: what is rendered."""
    size: Size
    """Its true (width, height)."""
    small: np.ndarray | None
    """(P,h,w): all of it at the size that is matched, where that is smaller."""


def input_shapes(item: Seen) -> tuple[Any, ...]:
    """What must be alike of inputs that are computed together. What is matched without the padding
    lies at the same places of what is rendered only where the true sizes are alike."""
    small = None if item.small is None else (item.small.shape, item.size)
    return item.condition.shape, small


@dataclass(frozen=True)
class Network:
    """A model, which is brought to the precision it runs in, and the conditions that it takes."""

    model: cocosnet.CoCosNet
    conditions: ConditionReader
    computing: Computing
    varied: bool
    """Whether inputs keep their own sizes, so that none was checked before the run."""

    def __post_init__(self) -> None:
        self.model.to_precision(DTYPES[self.computing.precision])
        if self.computing.compiled:
            compile_network(self.model)

    def check_room(self, size: Size, batch: int) -> None:
        """MemoryError where the free memory cannot hold `batch` images of a size of their own.

        On Linux the attempt would end the process.
        """
        if self.varied:
            needed = estimate_bytes(self.model, size, batch, draws=self.computing.draws)
            if needed > available_bytes(self.computing.device):
                raise MemoryError(f"{size[0]}x{size[1]}: {needed:.2g} bytes")

    @contextmanager
    def running(self) -> Iterator[None]:
        """The region in which the model computes."""
        with torch.inference_mode():
            yield

    def planes(self, arrays: Sequence[np.ndarray]) -> Tensor:
        """Condition arrays (P,H,W) of one size -> (B,K,H,W), 0..1."""
        stacked = np.stack(arrays)
        stacked = stacked.astype(np.int32)  # an ignored label may lie beyond 255
        on_device = to_device(torch.from_numpy(stacked), self.computing.device)
        conditions = self.conditions
        return expand(on_device, conditions.layout.kind, conditions.channels, conditions.ignore)

    def photos(self, arrays: Sequence[np.ndarray]) -> Tensor:
        """Photos (H,W,3) uint8 of one size -> (B,3,H,W), -1..1."""
        stacked = torch.from_numpy(np.stack(arrays))
        return photo_tensor(stacked, self.computing.device).contiguous()

    def encode(self, image: ExemplarImage) -> cocosnet.ExemplarBank:
        """An exemplar alone, as a bank of one. MemoryError where it does not fit."""
        height, width = image.matched.shape[:2]
        self.check_room((width, height), 1)
        condition = None if image.condition is None else self.planes([image.condition])
        colours = None if image.small is None else self.photos([image.photo])
        with self.running():
            return self.model.encode_exemplar(self.photos([image.matched]), condition, colours)

    def features(self, items: Sequence[Seen]) -> cocosnet.InputFeatures:
        """Inputs of one size encoded by their conditions, as they are matched."""
        arrays = [item.condition if item.small is None else item.small for item in items]
        return self.model.encode_input(self.planes(arrays))

    def match(
        self, features: cocosnet.InputFeatures, bank: cocosnet.ExemplarBank, item: Seen
    ) -> cocosnet.Match:
        """The match of inputs, of whose sizes `item` is: where it or the bank is matched at a
        smaller size, the flow is followed between the cells."""
        if item.small is None and tuple(bank.colours.shape[-2:]) == bank.side.grid:
            return self.model.match(features, bank)
        height, width = item.condition.shape[1:]
        part = (height, width) if item.small is None else item.size[::-1]
        return self.model.match(features, bank, (height, width), part)


class NetworkReader(Reader[Lco], Protocol[Lco]):
    """A reader of conditions for a network."""

    @property
    def conditions(self) -> ConditionReader: ...

    @property
    def size(self) -> Size | None:
        """(width, height) of what the network sees; None: each item's own."""
        ...


class NetworkWork(Work[L, R]):
    """Work for `batch.run` that a network does; a command says what it makes of a group."""

    reader: NetworkReader[L]

    def __init__(
        self, model: cocosnet.CoCosNet, reader: NetworkReader[L], computing: Computing
    ) -> None:
        self.network = Network(model, reader.conditions, computing, varied=reader.size is None)
        self.reader = reader

    def made_of(self) -> tuple[Any, ...]:
        """What it was made of: the model first, and last how it computes."""
        return self.network.model, self.reader, self.network.computing

    def on(self, device: torch.device) -> Self:
        """The same work on a device, to which the model is moved; what was kept is left behind."""
        model, *others, computing = self.made_of()
        made_of = model.to(device), *others, replace(computing, device=device)
        return type(self)(*made_of)

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), self.made_of()

    def groups(self, loaded: Sequence[L]) -> list[list[int]]:
        """Items whose arrays have the same shapes."""
        groups: dict[Hashable, list[int]] = {}
        for n, item in enumerate(loaded):
            groups.setdefault(self.shapes(item), []).append(n)
        return list(groups.values())

    def compute(self, loaded: Sequence[L]) -> list[R | BadInput]:
        # On a CPU more at once gains nothing, and alone the numbers do not depend on the batch.
        step = computed_at_once(self.network.computing.device, len(loaded))
        parts = (loaded[n : n + step] for n in range(0, len(loaded), step))
        return [result for part in parts for result in self.group(part)]

    @abstractmethod
    def shapes(self, item: L) -> tuple[Any, ...]:
        """What must be alike of items that are computed together."""

    @abstractmethod
    def group(self, items: Sequence[L]) -> Sequence[R | BadInput]:
        """The results of items that are alike. MemoryError where they do not fit."""
