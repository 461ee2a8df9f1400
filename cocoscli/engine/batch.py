"""Map a model over a list of work items: decode, compute and encode overlap, faults cost one item.

Batches are a fixed function of the work list, so an interrupted and resumed run forms the same
ones and writes the same bytes. Decoding runs in processes, encoding in threads; both are bounded,
so memory does not grow with the number of items.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import torch

from cocoscli.data.shards import Sample
from cocoscli.engine.files import FATAL, storage_error
from cocoscli.engine.manifest import DONE, FAILED, Finished
from cocoscli.engine.output import OutputFolder
from cocoscli.engine.parallel import read_in_order
from cocoscli.engine.part import Part
from cocoscli.engine.results import Packed, Putting, Results
from cocoscli.errors import BadInput, CocosError

if TYPE_CHECKING:
    from cocoscli.engine.engines import Engine

L = TypeVar("L")
R = TypeVar("R")
Lco = TypeVar("Lco", covariant=True)

Saved = tuple[dict[str, Any], Sample | None]
"""An item's row, and its sample where it goes into a shard."""
WRITERS = 2
WAITING = 4
"""Batches whose results may wait for a writer."""


class Reader(Protocol[Lco]):
    """The decoding side of a command; it is handed to the decoding processes."""

    def load(self, k: int) -> Lco:
        """Read item k. BadInput fails the item alone."""
        ...


class Work(Protocol[L, R]):
    """What a command does to its items."""

    reader: Reader[L]

    def __len__(self) -> int: ...

    def key(self, k: int) -> str:
        """The item's name, unique in the run; decides where its result lies."""
        ...

    def describe(self, k: int) -> dict[str, Any]:
        """Columns of the manifest row that are known before the work (input, exemplar)."""
        ...

    def groups(self, loaded: Sequence[L]) -> list[list[int]]:
        """Which of a batch's items can be computed together (same sizes), by index."""
        ...

    def compute(self, loaded: Sequence[L]) -> list[R | BadInput]:
        """Run the model; a result an item. BadInput in a result's place fails that item."""
        ...

    def pack(self, k: int, result: R) -> Packed:
        """A result as bytes; runs in a thread. BadInput fails the item."""
        ...

    def on(self, device: torch.device) -> Self:
        """The same work, to be done on a device, without what it keeps."""
        ...


@dataclass
class Loaded(Generic[L]):
    """An item as a decoding process hands it over: the item or its fault."""

    k: int
    item: L | None
    fault: str
    seconds: float


@dataclass
class Plan:
    """How a run is cut up; nothing here changes the results."""

    batch_size: int = 1
    workers: int = 0
    limit: int | None = None
    part: Part | None = None
    """Which items are this run's own; None: all."""
    retry_failed: bool = False
    engine: Engine | None = None
    """Where it is done; None: in this process."""
    on_smaller_batch: Callable[[int], None] = field(default=lambda size: None)
    """Called with the new size when memory ran out and batches are halved."""


class Decode(Generic[L]):
    """A map-style dataset of batches for torch's loader."""

    def __init__(self, reader: Reader[L]) -> None:
        self.reader = reader

    def __getitem__(self, items: tuple[int, ...]) -> list[Loaded[L]]:
        return [self._one(k) for k in items]

    def _one(self, k: int) -> Loaded[L]:
        start = time.perf_counter()
        item, fault = None, ""
        try:
            item = self.reader.load(k)
        except BadInput as error:
            fault = str(error)
        except MemoryError:
            fault = "out of memory while decoding."
        return Loaded(k, item, fault, time.perf_counter() - start)


class Wanted(Protocol):
    """Whole batches as tuples of item numbers, and which of their items are to be done."""

    def is_open(self, k: int) -> bool: ...

    def __iter__(self) -> Iterator[tuple[int, ...]]: ...


class Pending:
    """The items that are still to be done, and the batches that hold one."""

    def __init__(self, work: Work[Any, Any], output: OutputFolder, plan: Plan) -> None:
        self.work, self.plan = work, plan
        statuses = (DONE,) if plan.retry_failed else (DONE, FAILED)
        self.finished = Finished(output.path, statuses)
        total = len(work) if plan.limit is None else min(len(work), plan.limit)
        self.all = range(total)
        """The items of all parts."""
        self.items = plan.part.span(total) if plan.part else self.all
        """The run's own, done or not."""

    def is_open(self, k: int) -> bool:
        return k in self.items and self.work.key(k) not in self.finished

    def count(self) -> int:
        if not len(self.finished):
            return len(self.items)
        return sum(self.is_open(k) for k in self.items)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """Batches as tuples of item numbers: always whole, so that they are the same in any run;
        that of a part's edge is computed by both its neighbours, and each keeps its own items."""
        size = self.plan.batch_size
        for start in range(self.items.start // size * size, self.items.stop, size):
            batch = tuple(range(start, min(start + size, len(self.work))))
            if any(self.is_open(k) for k in batch):
                yield batch


def run(results: Results, items: Generator[Saved]) -> Iterator[dict[str, Any]]:
    """Record items as they are done; yields each one's manifest row once it is recorded.

    Raises CocosError where the run cannot go on; everything written before stays and the next run
    goes on from it.
    """
    with closing(items):
        try:
            yield from results.record(items)
        except OSError as error:
            raise storage_error(results.output.path, error) from None


def done_here(work: Work[L, R], results: Putting, plan: Plan, wanted: Wanted) -> Generator[Saved]:
    """Do in this process what is wanted, in the work's order. OSError where the storage fails."""
    batches = read_in_order(Decode(work.reader), wanted, plan.workers)
    runner = _Runner(work, plan)
    waiting: deque[list[Future[Saved]]] = deque()
    pool = ThreadPoolExecutor(WRITERS, thread_name_prefix="cocos-write")
    try:
        for batch in batches:
            open_ones = {loaded.k for loaded in batch if wanted.is_open(loaded.k)}
            computed = [(x, result) for x, result in runner.run(batch) if x.k in open_ones]
            waiting.append([pool.submit(_save, work, results, x, result) for x, result in computed])
            if len(waiting) > WAITING:
                yield from (saved.result() for saved in waiting.popleft())
        while waiting:
            yield from (saved.result() for saved in waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Runner(Generic[L, R]):
    """Computes batches, in halves once memory has run out."""

    def __init__(self, work: Work[L, R], plan: Plan) -> None:
        self.work, self.plan = work, plan
        self.largest = plan.batch_size

    def run(self, batch: list[Loaded[L]]) -> list[tuple[Loaded[L], R | BadInput]]:
        good = [x for x in batch if x.item is not None]
        results: dict[int, R | BadInput] = {x.k: BadInput(x.fault) for x in batch if x.fault}
        for group in self.work.groups([x.item for x in good]):  # type: ignore[misc]
            members = [good[i] for i in group]
            start = time.perf_counter()
            computed = self._compute([x.item for x in members])  # type: ignore[misc]
            share = (time.perf_counter() - start) / len(members)
            for x, result in zip(members, computed, strict=True):
                x.seconds += share
                x.item = None
                results[x.k] = result
        return [(x, results[x.k]) for x in batch]

    def _compute(self, items: list[L]) -> list[R | BadInput]:
        if len(items) > self.largest:
            return self._halves(items)
        try:
            return list(self.work.compute(items))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside of the except block, so that the failed attempt's tensors are free again.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(items) == 1:
            return [BadInput("out of memory at this size.", "Give a smaller --size.")]
        self.largest = (len(items) + 1) // 2
        self.plan.on_smaller_batch(self.largest)
        return self._halves(items)

    def _halves(self, items: list[L]) -> list[R | BadInput]:
        middle = (len(items) + 1) // 2
        return [*self._compute(items[:middle]), *self._compute(items[middle:])]


_OUT_OF_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "std::bad_alloc",
    "could not create a memory object",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a GPU or on the CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return any(words in text for words in _OUT_OF_MEMORY)


def _save(work: Work[L, R], results: Putting, loaded: Loaded[L], result: R | BadInput) -> Saved:
    """Encode and put a result -> its row and sample; a fault becomes the row's error."""
    start = time.perf_counter()
    described = _described(work, loaded.k)
    columns: dict[str, Any] = {}
    sample, fault = None, None
    try:
        if isinstance(result, BadInput):
            raise result
        packed = work.pack(loaded.k, result)
        columns, sample = results.put(described, packed)
        for name, data in packed.pictures.items():
            results.output.write(name, data)
    except CocosError as error:
        fault = str(error)
    except OSError as error:
        if error.errno in FATAL:
            raise
        fault = f"{error.strerror or error}"
    seconds = loaded.seconds + time.perf_counter() - start
    if fault is not None:
        return failed_row(work, loaded.k, fault, seconds), None
    return {**described, "status": DONE, "error": None, **columns, **_when(seconds)}, sample


def failed_row(work: Work[Any, Any], k: int, fault: str, seconds: float) -> dict[str, Any]:
    """The manifest row of an item that has failed after so many seconds of work."""
    told = {"output": None, "status": FAILED, "error": fault}
    return {**_described(work, k), **told, **_when(seconds)}


def _described(work: Work[Any, Any], k: int) -> dict[str, Any]:
    return {"key": work.key(k), **work.describe(k)}


def _when(seconds: float) -> dict[str, float]:
    return {"milliseconds": round(seconds * 1000, 1), "time": round(time.time(), 3)}
