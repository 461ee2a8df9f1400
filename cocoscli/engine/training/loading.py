"""Training batches: positions to tensors, read in other processes."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cocoscli.data.order import Order
from cocoscli.data.shards import ShardList
from cocoscli.data.training import SampleReader, TrainingItem
from cocoscli.engine.parallel import Batch, read_in_order
from cocoscli.engine.training.distributed import Processes
from cocoscli.errors import BadInput, CocosError

BAD_IN_A_ROW = 20
"""So many unreadable samples, one after another, end the run."""


@dataclass(frozen=True)
class Loaded:
    """Decoded samples as tensors, not yet on the device."""

    keys: tuple[str, ...]
    positions: tuple[int, ...]
    """In the order of training; of held-out samples, their numbers."""
    photo: Tensor
    """(B,H,W,3) uint8."""
    condition: Tensor
    """(B,P,H,W) integers."""
    exemplar: Tensor
    """(B,H,W,3) uint8."""
    exemplar_condition: Tensor | None
    pseudo: Tensor
    """(B,) float, 1 where the exemplar is a pseudo one."""
    points: Tensor | None = None
    """(B,N,4) float, NaN behind a sample's last; None where no loss asks for them. N is 1 where no
    sample has any: processes sum over all of their batches, whoever's have none."""
    skipped: tuple[str, ...] = ()
    """What was wrong with samples that others stand in for."""

    @staticmethod
    def of(
        items: list[TrainingItem], positions: tuple[int, ...], skipped: tuple[str, ...] = ()
    ) -> Loaded:
        conditions = [item.exemplar_condition for item in items]
        given = [c for c in conditions if c is not None]
        return Loaded(
            tuple(item.key for item in items),
            positions,
            _stacked([item.photo for item in items]),
            _stacked([item.condition for item in items]),
            _stacked([item.exemplar for item in items]),
            _stacked(given) if len(given) == len(items) else None,
            torch.tensor([float(item.pseudo) for item in items]),
            _filled([item.points for item in items]),
            skipped,
        )


def _stacked(arrays: list[np.ndarray]) -> Tensor:
    joined = np.stack(arrays)
    return torch.from_numpy(joined.astype(np.int32) if joined.dtype == np.uint16 else joined)


def _filled(points: list[np.ndarray | None]) -> Tensor | None:
    """Points (N,4) of each sample as one tensor."""
    given = [each for each in points if each is not None]
    if len(given) < len(points):
        return None
    filled = np.full((len(points), max(1, *map(len, given)), 4), np.nan, np.float32)
    for row, own in zip(filled, given, strict=True):
        row[: len(own)] = own
    return torch.from_numpy(filled)


@dataclass(frozen=True)
class TrainingData:
    """The training samples by position; reading processes hold it."""

    shards: ShardList
    order: Order
    reader: SampleReader
    seed: int

    def __getitem__(self, batch: Batch) -> Loaded:
        skipped: list[str] = []
        items = [self._item(position, skipped) for position in batch]
        return Loaded.of(items, batch, tuple(skipped))

    def _item(self, position: int, skipped: list[str]) -> TrainingItem:
        """The sample at a position, or the next one that can be read."""
        for following in range(position, position + BAD_IN_A_ROW):
            try:
                sample = self.shards.sample(self.order[following])
                return self.reader.training(sample, (self.seed, position))
            except BadInput as error:
                skipped.append(str(error))
        raise CocosError(
            f"{BAD_IN_A_ROW} samples in a row cannot be read; the last: {skipped[-1]}",
            "`cocos prepare --check` reads the dataset; prepare the shards again.",
        )


def load_training(
    data: TrainingData, share: tuple[int, int], step: int, processes: Processes, workers: int
) -> Generator[Loaded]:
    """This process's batches from `step` on, without end; `share` is (global batch, parts a step).

    A step of several parts (gradient accumulation) is that many batches.
    """
    whole, parts = share
    size = whole // (parts * processes.world)

    def batches() -> Iterator[Batch]:
        start = step * whole + processes.rank * size
        while True:
            yield tuple(range(start, start + size))
            start += size * processes.world

    return read_in_order(data, batches(), workers)


def load_held_out(
    paths: list[Path], reader: SampleReader, count: int
) -> tuple[list[TrainingItem], list[TrainingItem]]:
    """The first `count` readable samples of held-out shards: each with its best exemplar, and each
    with itself, bent, as its exemplar."""
    shards = ShardList(paths)
    real: list[TrainingItem] = []
    bent: list[TrainingItem] = []
    for i in range(len(shards)):
        if len(real) == count:
            break
        sample = shards.sample(i)
        try:
            real.append(reader.held_out(sample))
            bent.append(reader.held_out(sample, pseudo=True))
        except BadInput:
            continue
    if not real:
        raise CocosError(
            f"{shards.key(0)}: no held-out sample can be read.",
            "Prepare the shards again.",
        )
    return real, bent
