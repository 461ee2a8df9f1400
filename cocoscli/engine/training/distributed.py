"""The processes of a training run: one, or those that `torchrun` started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from cocoscli.errors import CocosError

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others."""


@dataclass(frozen=True)
class Processes:
    """This process among those of the run."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this one writes files and speaks."""
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """The sum over all processes; no gradient flows through it."""
        value = value.detach()
        if self.world > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return value

    def mean(self, values: dict[str, float], device: torch.device) -> dict[str, float]:
        """The mean of each value over all processes."""
        if self.world == 1:
            return values
        joined = self.total(torch.tensor(list(values.values()), device=device)) / self.world
        return dict(zip(values, joined.tolist(), strict=True))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether it is so in any process."""
        return bool(self.total(torch.tensor(float(flag), device=device)))

    def same(self, text: str) -> str:
        """The first process's text, in all."""
        if self.world == 1:
            return text
        box = [text]
        distributed.broadcast_object_list(box)
        return box[0]


def join(device: str) -> tuple[Processes, str]:
    """Join the run that `torchrun` started -> this process, and its device's name.

    NCCL on CUDA devices, one a process; gloo on CPUs. Without torchrun there is one process.
    """
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        return Processes(), device
    cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if cuda:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    elif device == "auto":
        device = "cpu"
    try:
        distributed.init_process_group("nccl" if cuda else "gloo", timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise CocosError(
            f"the processes of this run cannot meet ({str(error).splitlines()[0]}).",
            "Start it with torchrun; see `cocos train --help`.",
        ) from None
    return Processes(distributed.get_rank(), distributed.get_world_size()), device


def leave() -> None:
    """End this process's part."""
    if distributed.is_initialized():
        distributed.destroy_process_group()
