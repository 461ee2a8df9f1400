"""The one callable that engines run in other processes, on this machine or another."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cocoscli.engine.batch import Plan, Saved, Work, done_here
from cocoscli.engine.device import resolve_device
from cocoscli.engine.files import storage_error
from cocoscli.engine.output import OutputFolder
from cocoscli.engine.parallel import Batch
from cocoscli.engine.results import Putting
from cocoscli.errors import CocosError


@dataclass(frozen=True)
class Chunk:
    """Whole batches, one after another, and which of their items are to be done."""

    batches: tuple[Batch, ...]
    open: frozenset[int]

    def is_open(self, k: int) -> bool:
        return k in self.open

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)

    def halves(self) -> tuple[Chunk, Chunk]:
        middle = len(self.batches) // 2
        return Chunk(self.batches[:middle], self.open), Chunk(self.batches[middle:], self.open)


@dataclass(frozen=True)
class Job:
    """All that a worker has to be told before its first chunk."""

    work: Work[Any, Any]
    elsewhere: type[Putting]
    output: Path
    """From the root on: the same place for all workers."""
    batch_size: int
    workers: int
    """Decoding processes of each worker."""

    def packed(self) -> bytes:
        """For `Worker`. CocosError where it cannot be sent."""
        try:
            return pickle.dumps(self)
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise CocosError(
                f"this work cannot be sent to other processes ({error}).", "Give --engine local."
            ) from None


class Worker:
    """Does chunks of a job. What it keeps between them is what the work keeps."""

    def __init__(self, packed: bytes, device: str) -> None:
        job: Job = pickle.loads(packed)
        self.work = job.work.on(resolve_device(device))
        self.results = job.elsewhere(OutputFolder(job.output))
        self.plan = Plan(batch_size=job.batch_size, workers=job.workers)

    def __call__(self, chunk: Chunk) -> list[Saved] | CocosError:
        """The rows of a chunk's items, whose files are in place; or why the run cannot go on."""
        try:
            return list(done_here(self.work, self.results, self.plan, chunk))
        except CocosError as error:
            return error
        except OSError as error:
            return storage_error(self.results.output.path, error)


def share_cores(among: int) -> int:
    """The threads of one of so many processes on this machine."""
    return max(1, torch.get_num_threads() // among)
