"""Work that other processes can do without a network: squares of numbers, some of them deadly."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from cocoscli.data.shards import Sample
from cocoscli.engine.results import Packed
from cocoscli.errors import BadInput


@dataclass
class Counted:
    """Work on 0..count-1: what it reads and how its items are called."""

    count: int = 10
    unreadable: tuple[int, ...] = ()

    @property
    def reader(self) -> Self:
        return self

    def __len__(self) -> int:
        return self.count

    def load(self, k: int) -> int:
        if k in self.unreadable:
            raise BadInput(f"{k} cannot be read.")
        return k

    def key(self, k: int) -> str:
        return str(k)

    def describe(self, k: int) -> dict[str, Any]:
        return {"input": self.key(k)}


@dataclass
class Squares(Counted):
    """Squares of 0..count-1."""

    count: int = 40
    deadly: tuple[int, ...] = ()
    """Items that kill whoever computes them."""
    deadly_once: tuple[int, ...] = ()
    marks: Path = Path()
    """Where they leave a mark that they did."""
    seconds: float = 0.0
    """What an item takes."""
    fault: Exception | None = None
    """Raised by the last item."""

    def key(self, k: int) -> str:
        return f"{k:03d}"

    def groups(self, loaded: list[int]) -> list[list[int]]:
        return [list(range(len(loaded)))] if loaded else []

    def compute(self, loaded: list[int]) -> list[int | BadInput]:
        time.sleep(self.seconds * len(loaded))
        for k in loaded:
            mark = self.marks / f"mark-{k}"
            if k in self.deadly_once and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if k in self.deadly:
                os.kill(os.getpid(), signal.SIGKILL)
        if self.fault and self.count - 1 in loaded:
            raise self.fault
        return [k * k for k in loaded]

    def pack(self, k: int, result: int) -> Packed:
        key = self.key(k)
        return Packed(Sample(key, {"txt": str(result).encode()}), source=key,
                      columns={"process": os.getpid()})  # fmt: skip

    def on(self, device: torch.device) -> Squares:
        return self
