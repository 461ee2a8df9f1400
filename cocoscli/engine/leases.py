"""Locks in an object store: objects that say who holds them, and until when.

A lease lasts `LASTS` seconds and is renewed by a thread four times in that time. One that its
process no longer renews runs out, and the next process takes it over. Where a store puts on a
condition (S3 does), one of two who reach for it at once is refused; elsewhere the last put counts,
which is read back. Clocks of the machines should agree to within some seconds.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import time as now
from typing import Any

from cocoscli.data import stores
from cocoscli.data.storage import Remote

LASTS = 60.0
"""Seconds."""


class Held(Exception):
    """Somebody else holds the lease; says who."""


class Lease:
    """A lease that this process holds, from `take_lease` to `close`."""

    def __init__(self, path: Remote) -> None:
        self.path, self._mark = path, uuid.uuid4().hex
        self._until, self._lost = 0.0, False
        self._closing = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name="cocos-lease", daemon=True)

    def take(self) -> None:
        """Raises Held, and OSError where the store fails."""
        url = str(self.path)
        try:
            self._put(partial(stores.create, url))
        except FileExistsError:
            self._take_over(url)
        found = _read(self.path)
        if found.get("mark") != self._mark:
            raise Held(_who(found)) from None
        self._until = found["until"]
        self._renewing.start()

    def _take_over(self, url: str) -> None:
        """In the place of one that has run out."""
        try:
            before = self.path.info()
            found = _read(self.path)
        except FileNotFoundError:  # let go of meanwhile
            before, found = {}, {}
        if found.get("mark") == self._mark:  # put by an attempt whose answer did not come
            return
        if _is_live(found):
            raise Held(_who(found))
        try:
            self._put(partial(stores.replace, url, before=before))
        except FileExistsError:
            raise Held("a process that was quicker") from None

    def _put(self, put: Callable[[bytes], None]) -> None:
        """Write it by `put`, which may fail: then it lasts as long as it did before."""
        until = now() + LASTS
        told = {"host": socket.gethostname(), "process": os.getpid(), "until": until}
        put(json.dumps({"mark": self._mark, **told}).encode())
        self._until = until

    def _renew(self) -> None:
        while not self._closing.wait(LASTS / 4):
            with suppress(OSError):  # told by `check` once the lease has run out
                before = self._found()
                if before is None:
                    self._lost = True
                    return
                self._put(partial(stores.replace, str(self.path), before=before))

    def _found(self) -> dict[str, Any] | None:
        """The info of the object, where it is this lease's still."""
        with suppress(FileNotFoundError):
            info = self.path.info()
            if _read(self.path).get("mark") == self._mark:
                return info
        return None

    def check(self) -> None:
        """OSError where the lease was lost: what is written now might be another process's."""
        if self._lost or now() > self._until:
            raise OSError(
                errno.EIO,
                f"the lock {self.path} was not renewed for {LASTS:g} s, or another process has it",
            )

    def close(self) -> None:
        """Let go of it. OSError where the store fails: then it runs out."""
        self._closing.set()
        if self._renewing.is_alive():
            self._renewing.join(timeout=LASTS / 4)
        if not self._lost and self._found():
            self.path.unlink(missing_ok=True)


def take_lease(path: Remote) -> Lease:
    """Raises Held, and OSError where the store fails."""
    lease = Lease(path)
    lease.take()
    return lease


def holder(path: Remote) -> str | None:
    """Who holds a lease now, in words. OSError where the store fails."""
    try:
        found = _read(path)
    except FileNotFoundError:
        return None
    return _who(found) if _is_live(found) else None


def _read(path: Remote) -> dict[str, Any]:
    """What a lease says; nothing of one that is damaged, which is nobody's."""
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_live(found: dict[str, Any]) -> bool:
    until = found.get("until")
    return isinstance(until, (int, float)) and now() < until


def _who(found: dict[str, Any]) -> str:
    return f"process {found.get('process')} on {found.get('host')}"
