"""Where the work of a run is done: `--engine`."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from cocoscli.data.storage import absolute
from cocoscli.engine.batch import Pending, Plan, Saved, Work
from cocoscli.engine.device import resolve_device
from cocoscli.engine.results import Results
from cocoscli.engine.scatter import Workers, scattered
from cocoscli.engine.worker import Job
from cocoscli.errors import UsageError

LOCAL, RAY = "local", "ray"
MOST = 256
"""Processes of one machine."""


@dataclass(frozen=True)
class Engine:
    """Other processes that do the work; the one that has them keeps the output folder."""

    processes: int = 0
    """Of this machine; 0: those of a Ray cluster."""
    address: str | None = None
    """The cluster's, where it is named."""
    device: str = "auto"
    """As the user names it: each worker resolves it where it is."""
    memory: float = 0
    """Bytes that a worker takes."""

    def done_elsewhere(
        self, work: Work[Any, Any], results: Results, plan: Plan, pending: Pending, count: int
    ) -> Generator[Saved]:
        """Have the `count` pending items done, in the work's order. Raises CocosError."""
        if not count:
            return
        job = Job(
            work.on(resolve_device("cpu")), results.elsewhere, absolute(results.output.path),
            plan.batch_size, plan.workers,
        ).packed()  # fmt: skip
        yield from scattered(work, self._workers(job, plan.workers), pending, count)

    def _workers(self, job: bytes, readers: int) -> Workers:
        if self.processes:
            from cocoscli.engine.processes import Processes

            return Processes(job, self.processes, resolve_device(self.device))
        from cocoscli.engine.ray_cluster import RayCluster

        return RayCluster(job, self.address, self.device, self.memory, readers)


def parse_engine(text: str, device: str = "auto", memory: float = 0) -> Engine | None:
    """`local` (None: this process), `local:4`, `ray` or `ray:ADDRESS`. Raises UsageError."""
    name, _, more = text.partition(":")
    if text == LOCAL:
        return None
    if name == RAY and (more or text == RAY):
        return Engine(address=more or None, device=device, memory=memory)
    if name == LOCAL and re.fullmatch(r"\d{1,3}", more) and 1 <= int(more) <= MOST:
        return Engine(processes=int(more), device=device, memory=memory)
    raise UsageError(
        f"--engine {text}: expected local, local:N for 1 to {MOST} processes, ray or ray:ADDRESS."
    )
