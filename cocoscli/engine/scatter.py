"""Work in chunks that other processes do, in the work's order; what a dead one had is done again.

A chunk is whole batches, so that every result has the bytes that a run in one process gives it. A
worker that dies takes its chunk's rows with it; what it wrote is written again, the same. The chunk
is cut in halves and given to others, so that an item which kills whoever works on it ends alone in
its batch; that batch fails after `PATIENCE` workers.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from cocoscli.engine.batch import Pending, Saved, Work, failed_row
from cocoscli.engine.worker import Chunk
from cocoscli.errors import CocosError

ITEMS = 64
"""Of a chunk, at most, or one batch."""
AHEAD = 4
"""Chunks that are on their way for each that can be worked on at once."""
PATIENCE = 3
"""Workers that one batch may cost."""
IN_A_ROW = 16
"""Workers, beside one for each place, that may die before any comes to an end: then all would."""


@dataclass(eq=False)
class Task:
    """A chunk on its way."""

    chunk: Chunk
    losses: int = 0
    done: list[Saved] | None = None

    def again(self) -> list[Task]:
        """What is to be done after a worker has died with it; nothing after too many."""
        if len(self.chunk.batches) > 1:
            return [Task(half) for half in self.chunk.halves()]
        self.losses += 1
        return [self] if self.losses < PATIENCE else []


@dataclass(frozen=True)
class Lost:
    """What came of a worker that died."""

    reason: str


class Workers(Protocol):
    """Other processes that do tasks."""

    def places(self) -> int:
        """How many are done at once."""
        ...

    def give(self, task: Task) -> None:
        """Take a task; it may wait."""
        ...

    def wait(self) -> Iterator[tuple[Task | None, list[Saved] | CocosError | Lost]]:
        """Wait for something to come of tasks; None for a worker that died without one."""
        ...

    def close(self) -> None:
        """End at once."""
        ...


def scattered(
    work: Work[Any, Any], workers: Workers, pending: Pending, count: int
) -> Generator[Saved]:
    """Have the `count` pending items done; their rows in order. Raises CocosError."""
    size = min(ITEMS, -(-count // (AHEAD * workers.places()))) // pending.plan.batch_size
    tasks = (Task(chunk) for chunk in _chunks(pending, max(1, size)))
    order: list[Task] = []
    losses = 0
    try:
        while True:
            for task in islice(tasks, max(0, AHEAD * workers.places() - len(order))):
                order.append(task)
                workers.give(task)
            if not order:
                return
            for given, outcome in workers.wait():
                if isinstance(outcome, CocosError):
                    raise outcome
                if not isinstance(outcome, Lost):
                    assert given
                    given.done, losses = outcome, 0
                    continue
                losses += 1
                if losses > IN_A_ROW + workers.places():
                    raise CocosError(
                        f"{losses} workers have died, one after another: {outcome.reason}.",
                        "Mend that (is there memory for all of them?) and run the same command "
                        "again to go on.",
                    )
                if given:
                    _give_again(work, workers, order, given, outcome)
            while order and order[0].done is not None:
                yield from order.pop(0).done or ()
    finally:
        workers.close()


def _give_again(
    work: Work[Any, Any], workers: Workers, order: list[Task], lost: Task, outcome: Lost
) -> None:
    """Put what is left to do of a lost task in its place, or the rows of its items as failed."""
    again = lost.again()
    if not again:
        fault = f"the process that worked on its batch died {PATIENCE} times: {outcome.reason}."
        items = (k for batch in lost.chunk for k in batch if lost.chunk.is_open(k))
        lost.done = [(failed_row(work, k, fault, 0.0), None) for k in items]
        return
    at = order.index(lost)
    order[at : at + 1] = again
    for task in again:
        workers.give(task)


def _chunks(pending: Pending, size: int) -> Iterator[Chunk]:
    """Chunks of so many batches."""
    batches: Iterable[tuple[int, ...]] = iter(pending)
    while chunk := tuple(islice(batches, size)):
        items = frozenset(k for batch in chunk for k in batch if pending.is_open(k))
        yield Chunk(chunk, items)
