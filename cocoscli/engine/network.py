"""The network on its device, fed with the arrays that readers hand over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cocosnet
import numpy as np
import torch
from torch import Tensor

from cocoscli.data.planes import expand
from cocoscli.data.reading import ConditionReader
from cocoscli.engine.device import autocast
from cocoscli.engine.items import ExemplarImage, Size
from cocoscli.engine.memory import available_bytes, estimate_bytes
from cocoscli.engine.tensors import photo_tensor


@dataclass(frozen=True)
class Network:
    """A model, the conditions that it takes, and where and in which precision it runs."""

    model: cocosnet.CoCosNet
    conditions: ConditionReader
    device: torch.device
    precision: str
    varied: bool
    """Whether inputs keep their own sizes, so that none was checked before the run."""

    def check_room(self, size: Size, batch: int) -> None:
        """MemoryError where the free memory cannot hold `batch` images of a size of their own.

        On Linux the attempt would end the process.
        """
        if self.varied:
            needed = estimate_bytes(self.model, size, batch)
            if needed > available_bytes(self.device):
                raise MemoryError(f"{size[0]}x{size[1]}: {needed:.2g} bytes")

    @contextmanager
    def running(self) -> Iterator[None]:
        """The region in which the model computes."""
        with torch.inference_mode(), autocast(self.precision, self.device):
            yield

    def planes(self, arrays: list[np.ndarray]) -> Tensor:
        """Condition arrays (P,H,W) of one size -> (B,K,H,W), 0..1."""
        stacked = np.stack(arrays)
        stacked = stacked.astype(np.int32)  # an ignored label may lie beyond 255
        on_device = torch.from_numpy(stacked).to(self.device)
        conditions = self.conditions
        return expand(on_device, conditions.layout.kind, conditions.channels, conditions.ignore)

    def encode(self, image: ExemplarImage) -> cocosnet.ExemplarBank:
        """An exemplar alone, as a bank of one. MemoryError where it does not fit."""
        self.check_room((image.photo.shape[1], image.photo.shape[0]), 1)
        photo = torch.from_numpy(image.photo)[None]
        y = photo_tensor(photo, self.device).contiguous()
        condition = None if image.condition is None else self.planes([image.condition])
        with self.running():
            return self.model.encode_exemplar(y, condition)
