"""Workers that are processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

import torch

from cocoscli.engine.batch import Saved
from cocoscli.engine.scatter import Lost, Task
from cocoscli.engine.worker import Worker, share_cores
from cocoscli.errors import CocosError


@dataclass
class _Process:
    """A worker, and the task that it has."""

    process: ForkServerProcess
    connection: Connection
    device: str
    ready: bool = False
    task: Task | None = None

    def send(self, data: bytes) -> None:
        """The job, from a thread: it waits until the worker reads."""
        with suppress(OSError):  # it died: that is seen elsewhere
            self.connection.send_bytes(data)

    def died(self) -> Lost:
        """Why it is no more."""
        self.process.kill()
        self.process.join()
        code = self.process.exitcode or 0
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        memory = ", as when memory runs out" if code == -signal.SIGKILL else ""
        return Lost(f"it was ended by {how}{memory}" if code < 0 else f"it ended with {how}")


class Processes:
    """So many processes at once, each with its device; one that dies is replaced.

    They are forked from a server that has torch loaded and nothing else: no lock, no thread and no
    GPU of the run's. None outlives the process that began it.
    """

    def __init__(self, job: bytes, count: int, device: torch.device) -> None:
        self.job, self.threads = job, share_cores(count)
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["cocoscli.engine.worker"])
        self.waiting: deque[Task] = deque()
        devices = [_device_of(device, n) for n in range(count)]
        self.processes = [self._start(name) for name in devices]

    def _start(self, device: str) -> _Process:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_serve, args=(theirs, device, self.threads))
        process.start()
        theirs.close()
        started = _Process(process, ours, device)
        threading.Thread(target=started.send, args=(self.job,), daemon=True).start()
        return started

    def places(self) -> int:
        return len(self.processes)

    def give(self, task: Task) -> None:
        self.waiting.append(task)
        self._hand_out()

    def _hand_out(self) -> None:
        for worker in self.processes:
            if worker.ready and worker.task is None and self.waiting:
                worker.task = self.waiting.popleft()
                with suppress(OSError):  # it died: that is seen when it is waited for
                    worker.connection.send(worker.task.chunk)

    def wait(self) -> Iterator[tuple[Task | None, list[Saved] | CocosError | Lost]]:
        signs: list[Connection | int] = []
        for worker in self.processes:
            signs += [worker.connection, worker.process.sentinel]
        seen = set(wait(signs))
        for n, worker in enumerate(self.processes):
            if not {worker.connection, worker.process.sentinel} & seen:
                continue
            task = worker.task
            try:
                told = worker.connection.recv() if worker.connection.poll() else _died()
            except (EOFError, OSError):
                told = worker.died()
                worker.connection.close()
                self.processes[n] = self._start(worker.device)
            else:
                worker.ready, worker.task = True, None
                if task is None:
                    continue  # it is ready for its first one
            yield task, told
        self._hand_out()

    def close(self) -> None:
        for worker in self.processes:
            worker.process.kill()
        for worker in self.processes:
            worker.process.join()
            worker.connection.close()


def _died() -> list[Saved]:
    raise EOFError


def _device_of(device: torch.device, n: int) -> str:
    """The n-th process's device: GPUs are dealt out where none is named."""
    if device.type == "cuda" and device.index is None:
        return f"cuda:{n % torch.cuda.device_count()}"
    return str(device)


def _serve(connection: Connection, device: str, threads: int) -> None:
    """A worker's life. Signals to the whole group are for the process that began it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    torch.set_num_threads(threads)
    with suppress(EOFError, OSError):  # nobody is there any more
        worker: Callable[..., object] = Worker(connection.recv_bytes(), device)
        connection.send(None)
        while True:
            connection.send(worker(connection.recv()))


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)
