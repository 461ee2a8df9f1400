"""Reading in other processes, in order, with bounded memory."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from torch.utils.data import DataLoader

from cocoscli.data.faces_models import in_use
from cocoscli.errors import CocosError

T = TypeVar("T")
Tco = TypeVar("Tco", covariant=True)

Batch = tuple[int, ...]
"""Item numbers that are read by one process, together."""


class Dataset(Protocol[Tco]):
    """Reads a batch; it is handed to the reading processes."""

    def __getitem__(self, batch: Batch) -> Tco: ...


def read_in_order(dataset: Dataset[T], batches: Iterable[Batch], workers: int) -> Generator[T]:
    """dataset[batch] for each batch, in order; `workers` 0 reads in this process.

    Raises CocosError where a reading process was killed.
    """
    loader: DataLoader[T | CocosError] = DataLoader(
        _Handing(dataset),  # type: ignore[arg-type]
        sampler=batches,
        batch_size=None,
        num_workers=workers,
        collate_fn=_same,
        worker_init_fn=_ignore_signals,
        multiprocessing_context="spawn" if workers and in_use() else None,
    )
    try:
        batches_read = iter(loader)
    except OSError as error:
        raise CocosError(
            f"decoding processes cannot be started ({error.strerror or error}).",
            "Give fewer --workers; 0 starts none.",
        ) from None
    try:
        for batch in batches_read:
            if isinstance(batch, CocosError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise CocosError(
            "a decoding process was killed (the machine may be out of memory).",
            "Run the same command again with fewer --workers to go on.",
        ) from None


def _ignore_signals(worker: int) -> None:
    """Signals to a whole group are for the main process: it may still want what is being read, and
    ends its readers itself. Those of a killed one end on their own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class _Handing(Generic[T]):
    """Hands our own errors over as values: torch would put a traceback into their message."""

    def __init__(self, dataset: Dataset[T]) -> None:
        self.dataset = dataset

    def __getitem__(self, batch: Batch) -> T | CocosError:
        try:
            return self.dataset[batch]
        except CocosError as error:
            return error


def _same(x: T) -> T:
    return x


def cut(items: Iterable[int], size: int) -> Iterator[Batch]:
    """Items in batches of `size`, the last one smaller."""
    batch: list[int] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield tuple(batch)
            batch = []
    if batch:
        yield tuple(batch)
