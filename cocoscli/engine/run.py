"""One run of a batch command over its output folder, from taking the folder to the summary."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cocoscli.engine.batch import Pending, Plan, Saved, Work, done_here, run
from cocoscli.engine.files import storage_error
from cocoscli.engine.locks import if_alone
from cocoscli.engine.manifest import DONE, FAILED, Finished
from cocoscli.engine.output import OutputFolder
from cocoscli.engine.results import Files, Results, Shards
from cocoscli.engine.shardset import Limits


class Run:
    """Work in progress; the folder is held until `rows` ends."""

    def __init__(self, work: Work[Any, Any], results: Results, plan: Plan) -> None:
        self.work, self.results, self.plan = work, results, plan
        self.output = results.output
        self.pending = Pending(work, self.output, plan)
        self.total = self.pending.count()
        """Items that this run has to do."""
        self.counts: Counter[str] = Counter()
        self.facts: dict[str, Any] = {}
        self.start = time.monotonic()

    def rows(self) -> Iterator[dict[str, Any]]:
        """Do the work; the manifest row of each item once it is recorded. Raises CocosError."""
        try:
            for row in run(self.results, self._items()):
                self.counts[row["status"]] += 1
                yield row
            if self.plan.part is None:
                self.facts = self.results.finish()
        except OSError as error:
            raise storage_error(self.output.path, error) from None
        finally:
            self.output.close()

    def _items(self) -> Generator[Saved]:
        if self.plan.engine is None:
            return done_here(self.work, self.results, self.plan, self.pending)
        return self.plan.engine.done_elsewhere(
            self.work, self.results, self.plan, self.pending, self.total
        )

    @contextmanager
    def ending(self) -> Iterator[bool]:
        """The end of a run whose rows came to theirs: whether it is the last of those at work, and
        so the one to write pages. The last part merges what all have written. Raises CocosError."""
        try:
            with if_alone(self.output.path) as last:
                if last and self.plan.part:
                    self.facts = {**self.results.finish(), "left": self._left()}
                yield last
        except OSError as error:
            raise storage_error(self.output.path, error) from None

    def failed(self, items: range) -> int:
        """How many of these items have failed, in any run."""
        faulty = Finished(self.output.path, (FAILED,))
        return sum(self.work.key(k) in faulty for k in items) if len(faulty) else 0

    def _left(self) -> int:
        """How many items of all parts have not come to an end yet."""
        ended = Finished(self.output.path, (DONE, FAILED))
        return sum(self.work.key(k) not in ended for k in self.pending.all)

    def summary(self) -> dict[str, Any]:
        """Of this run's items: what it did, what has failed in any run, what was done before.

        Once `rows` has come to its end the three add up to all of them.
        """
        items = self.pending.items
        failed = self.failed(items)
        return {
            "output": str(self.output.path),
            "done": self.counts[DONE],
            "failed": failed,
            "skipped": len(items) - failed - self.counts[DONE],
            "seconds": round(time.monotonic() - self.start, 3),
            **({"part": str(self.plan.part)} if self.plan.part else {}),
            **self.facts,
        }


def open_run(
    work: Work[Any, Any],
    path: Path,
    *,
    settings: Mapping[str, Any],
    record: Mapping[str, Any],
    plan: Plan,
    overwrite: bool = False,
    shards: Limits | None = None,
) -> Run:
    """Take an output folder for a run; see `OutputFolder.open`. Raises CocosError.

    Results are files, or, with `shards`, samples of shards within these limits.
    """
    output = OutputFolder(path, plan.part)
    try:
        output.open(settings, record, overwrite)
        return Run(work, Shards(output, shards) if shards else Files(output), plan)
    except OSError as error:
        output.close()
        raise storage_error(path, error) from None
    except BaseException:
        output.close()
        raise
