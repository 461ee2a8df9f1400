"""Signals that wait for the end of a step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Asked:
    """Whether SIGINT or SIGTERM has come."""

    def __init__(self) -> None:
        self.came = False

    def __bool__(self) -> bool:
        return self.came


@contextmanager
def deferred_signals(on_first: Callable[[], None] = lambda: None) -> Iterator[Asked]:
    """Within the block the first SIGINT or SIGTERM is only noted, and `on_first` called; the second
    interrupts at once."""
    asked = Asked()

    def note(number: int, frame: object) -> None:
        if asked.came:
            raise KeyboardInterrupt
        asked.came = True
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
