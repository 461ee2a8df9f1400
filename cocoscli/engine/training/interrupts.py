"""Signals that wait for the end of a step."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ECHO = 2.0
"""Seconds within which torchrun passes on to its processes a signal that they already had, as all
of a terminal's do."""


class Asked:
    """Whether SIGINT or SIGTERM has come."""

    def __init__(self) -> None:
        self.came = False

    def __bool__(self) -> bool:
        return self.came


@contextmanager
def deferred_signals(on_first: Callable[[], None] = lambda: None) -> Iterator[Asked]:
    """Within the block the first SIGINT or SIGTERM is only noted, and `on_first` called; the second
    interrupts at once. Under torchrun what comes within `ECHO` seconds of the first is the first.
    """
    asked = Asked()
    echo = ECHO if "TORCHELASTIC_RUN_ID" in os.environ else 0.0
    first = 0.0

    def note(number: int, frame: object) -> None:
        nonlocal first
        now = time.monotonic()
        if asked.came and now - first >= echo:
            raise KeyboardInterrupt
        if not asked.came:
            asked.came, first = True, now
            on_first()

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
