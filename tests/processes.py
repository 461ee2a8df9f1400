"""Commands in processes of their own, that are sent signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

LIMIT = 250
"""Seconds to wait for anything; a busy machine needs many."""

_started: list[Process] = []


class Process:
    """Python with arguments, in a group of its own."""

    def __init__(self, folder: Path, arguments: Sequence[object]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        _started.append(self)

    def wait_for(self, reached: Callable[[], bool]) -> None:
        """Until something is so, which it must be before the process has ended."""
        end = time.monotonic() + LIMIT
        while not reached():
            if self.process.poll() is not None or time.monotonic() > end:
                assert reached(), f"it ended first, with {self.process.returncode}"
            time.sleep(0.002)

    def says(self) -> str:
        """The next line of its output."""
        assert self.process.stdout
        return self.process.stdout.readline()

    def signal(self, number: int) -> None:
        """To the whole group, as a terminal and a service manager do."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def end(self) -> tuple[int, str]:
        """Wait for it -> exit code, what it wrote to standard error."""
        _, said = self.process.communicate(timeout=LIMIT)
        assert "Traceback" not in said and "Exception ignored" not in said, said
        return self.process.returncode, said


def end_all() -> None:
    """Kill what a test that failed has left."""
    while _started:
        process = _started.pop().process
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
