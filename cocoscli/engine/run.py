"""One run of a batch command over its output folder, from taking the folder to the summary."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cocoscli.engine.batch import Pending, Plan, Work, run
from cocoscli.engine.files import storage_error
from cocoscli.engine.manifest import DONE, FAILED, Finished, compact
from cocoscli.engine.output import OutputFolder


class Run:
    """Work in progress; the folder is held until `rows` ends."""

    def __init__(self, work: Work[Any, Any], output: OutputFolder, plan: Plan) -> None:
        self.work, self.output, self.plan = work, output, plan
        self.pending = Pending(work, output, plan)
        self.total = self.pending.count()
        """Items that this run has to do."""
        self.counts: Counter[str] = Counter()
        self.start = time.monotonic()

    def rows(self) -> Iterator[dict[str, Any]]:
        """Do the work; the manifest row of each item once it is on disk. Raises CocosError."""
        try:
            for row in run(self.work, self.output, self.plan, self.pending):
                self.counts[row["status"]] += 1
                yield row
            compact(self.output.path)
        except OSError as error:
            raise storage_error(self.output.path, error) from None
        finally:
            self.output.close()

    def summary(self) -> dict[str, Any]:
        """Of this work list: what this run did, what has failed in any run, what was done before.

        Once `rows` has come to its end the three add up to all items.
        """
        faulty = Finished(self.output.path, (FAILED,))
        total = self.pending.total
        failed = sum(self.work.key(k) in faulty for k in range(total)) if len(faulty) else 0
        return {
            "output": str(self.output.path),
            "done": self.counts[DONE],
            "failed": failed,
            "skipped": total - failed - self.counts[DONE],
            "seconds": round(time.monotonic() - self.start, 3),
        }


def open_run(
    work: Work[Any, Any],
    path: Path,
    *,
    settings: Mapping[str, Any],
    record: Mapping[str, Any],
    plan: Plan,
    overwrite: bool = False,
) -> Run:
    """Take an output folder for a run; see `OutputFolder.open`. Raises CocosError."""
    output = OutputFolder(path)
    try:
        output.open(settings, record, overwrite)
        return Run(work, output, plan)
    except BaseException:
        output.close()
        raise
