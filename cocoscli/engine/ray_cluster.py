"""Workers that are tasks of a Ray cluster.

Ray places them, and tells of a worker or a node that died; what is done then is decided as for
processes of one machine (`scatter`), so Ray itself tries nothing again.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from typing import Any

from cocoscli.data.wording import one_line
from cocoscli.engine.batch import Saved
from cocoscli.engine.scatter import Lost, Task
from cocoscli.engine.worker import Chunk, Worker
from cocoscli.errors import CocosError

_kept: dict[str, Worker] = {}
"""In a worker's process: the worker of the latest job."""


class RayCluster:
    """Tasks on an existing cluster, by its address, by RAY_ADDRESS or begun on this machine; else
    on one that is begun for the run."""

    def __init__(
        self, job: bytes, address: str | None, device: str, memory: float, workers: int
    ) -> None:
        self.ray = _ray()
        self.device = device
        self.running: dict[Any, Task] = {}
        self.ending = ExitStack()
        try:
            self._connect(address)
            self._prepare(job, memory, workers)
        except BaseException:
            self.close()
            raise

    def _prepare(self, job: bytes, memory: float, workers: int) -> None:
        """What a task is, and what it needs."""
        self.needs = {"CPU": 1.0 + workers, **self._gpu(self.device)}
        self.needs |= {"memory": memory} if memory else {}
        self._check_room()
        self.job = self.ray.put(job)
        self.perform = self.ray.remote(_perform).options(
            max_retries=0, num_cpus=self.needs["CPU"], num_gpus=self.needs.get("GPU", 0),
            memory=memory or None,
        )  # fmt: skip

    def _connect(self, address: str | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray tells of nodes that died on standard output, which is for data.
        sink = self.ending.enter_context(open(os.devnull, "w"))  # noqa: SIM115
        self.ending.enter_context(redirect_stdout(sink))
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            _reach(address)
            self.ray.init(address=address, log_to_driver=False, logging_level="error")
        except Exception as error:  # of many kinds, and none is a fault of cocos
            raise CocosError(
                f"--engine ray: no cluster at {address or 'RAY_ADDRESS'} ({one_line(error)}).",
                "Give --engine ray:HOST:PORT as `ray start` prints it.",
            ) from None
        finally:
            for number, handler in handlers.items():  # Ray has put its own in their place
                signal.signal(number, handler)

    def _gpu(self, device: str) -> dict[str, float]:
        """A GPU a task, where they are asked for or may be had."""
        has = self.ray.cluster_resources().get("GPU", 0) > 0
        return {"GPU": 1.0} if device.startswith("cuda") or (device == "auto" and has) else {}

    def _check_room(self) -> None:
        """CocosError where no node could ever do a task: Ray would wait for one."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if not any(all(n.get(what, 0) >= x for what, x in self.needs.items()) for n in nodes):
            needs = ", ".join(f"{what} {x:.3g}" for what, x in self.needs.items())
            raise CocosError(
                f"--engine ray: none of {len(nodes)} nodes has what a task needs ({needs}).",
                "Give fewer --workers, a smaller --size or --batch-size, or larger nodes.",
            )

    def places(self) -> int:
        total = self.ray.cluster_resources()
        return max(1, int(min(total.get(what, 0) // x for what, x in self.needs.items())))

    def give(self, task: Task) -> None:
        self.running[self.perform.remote([self.job], self.device, task.chunk)] = task

    def wait(self) -> Iterator[tuple[Task | None, list[Saved] | CocosError | Lost]]:
        (first,), _ = self.ray.wait(list(self.running), num_returns=1)
        task = self.running.pop(first)
        try:
            yield task, self.ray.get(first)
        except self.ray.exceptions.RayTaskError as error:
            raise CocosError(
                f"--engine ray: a worker cannot do its task ({one_line(error.cause or error)}).",
                "Every node needs the same cocos as this machine, and sees the same files.",
            ) from None
        except self.ray.exceptions.RayError as error:
            yield task, Lost(f"Ray says {one_line(error)}")

    def close(self) -> None:
        self.ray.shutdown()
        self.ending.close()


def _reach(address: str | None) -> None:
    """OSError where nothing listens at HOST:PORT: Ray itself would try for minutes."""
    found = re.fullmatch(r"([^/]+):(\d+)", address or "")
    if found:
        socket.create_connection((found[1].strip("[]"), int(found[2])), timeout=10).close()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise CocosError(
            "--engine ray: the extra [ray] is not installed.",
            "Install it: pip install 'cocos[ray]'.",
        ) from None
    return ray


def _perform(job: list[Any], device: str, chunk: Chunk) -> list[Saved] | CocosError:
    """A task. The job comes as a reference, in a list, so that it is fetched once a process."""
    name = job[0].hex()
    if name not in _kept:
        _kept.clear()
        _kept[name] = Worker(_ray().get(job[0]), device)
    return _kept[name](chunk)
