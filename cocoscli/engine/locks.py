"""Who may write to an output folder: one run, or any parts of one cut.

    _cocos/lock               held alone by a run, shared by parts
    _cocos/lock-003-of-016    held by that part
    _cocos/door               held for a moment, by who opens the folder or merges what was written

All are `flock`s: they die with their process. A forked child, which would hold them on, lets go. In
an object store they are leases; who holds one sees those of all others.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from weakref import WeakSet

from cocoscli.data.storage import Remote
from cocoscli.data.wording import shown
from cocoscli.engine.files import PRIVATE, storage_error
from cocoscli.engine.leases import LASTS, Held, Lease, holder, take_lease
from cocoscli.engine.part import Part, marked
from cocoscli.errors import CocosError

Lock = IO[str] | Lease
"""Held until it is closed."""
LOCK, DOOR = f"{PRIVATE}/lock", f"{PRIVATE}/door"

_held: WeakSet[IO[str]] = WeakSet()


def _let_go() -> None:
    for file in list(_held):
        file.close()


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def door(folder: Path) -> Iterator[None]:
    """One process at a time; waits for the one before. The folder has its private one."""
    if isinstance(folder, Remote):
        lease = _waited_for(folder / DOOR)
        try:
            yield
        finally:
            lease.close()
        return
    with _opened(folder, DOOR) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def take_locks(folder: Path, part: Part | None = None) -> tuple[list[Lock], bool]:
    """Hold a folder, or a part's share of it, until the files are closed -> (files, whether nobody
    else is at work). Come through the `door`. CocosError where another process is in the way."""
    if isinstance(folder, Remote):
        return _leased(folder, part)
    lock = _opened(folder, LOCK)
    alone = _try(lock, fcntl.LOCK_EX)
    if part is None:
        if not alone:
            raise _busy(lock, f"{shown(folder)}: another process is writing to this output folder.")
        return [lock], True
    if not _try(lock, fcntl.LOCK_SH):
        raise _busy(lock, f"{shown(folder)}: a run without --part is writing to this folder.")
    own = _opened(folder, marked(LOCK, part))
    if not _try(own, fcntl.LOCK_EX):
        lock.close()
        raise _busy(own, f"{shown(folder)}: another process is at work on part {part} of it.")
    if other := _another_cut(folder, part):
        lock.close()
        raise _busy(own, f"{shown(folder)}: {other} is at work, a part of another cut than {part}.")
    return [lock, own], alone


def take_lock(folder: Path) -> Lock:
    """Hold a folder alone, until the file is closed. Raises CocosError."""
    (lock,), _ = take_locks(folder)
    return lock


@contextmanager
def if_alone(folder: Path) -> Iterator[bool]:
    """Whether nobody is at work in a folder, and nobody begins meanwhile."""
    if isinstance(folder, Remote):
        with door(folder):
            yield not _holders(folder)
        return
    with door(folder), _opened(folder, LOCK) as lock:
        yield _try(lock, fcntl.LOCK_EX)


def _waited_for(path: Remote) -> Lease:
    """A lease, once nobody else has it. CocosError where that takes far too long."""
    end = time.monotonic() + 2 * LASTS
    while True:
        try:
            return take_lease(path)
        except Held as held:
            if time.monotonic() > end:
                raise CocosError(f"{path}: held by {held}.", "Wait for it to end.") from None
        time.sleep(0.2)


def _leased(folder: Remote, part: Part | None) -> tuple[list[Lock], bool]:
    """`take_locks` in a store."""
    own = folder / marked(LOCK, part)
    try:
        lease = take_lease(own)
    except Held as held:
        raise CocosError(*_in_the_way(folder, own.name, str(held), part)) from None
    others = {name: who for name, who in _holders(folder).items() if name != own.name}
    for name, who in others.items():
        if part is None or not name.endswith(f"-of-{part.count:03d}"):
            lease.close()
            raise CocosError(*_in_the_way(folder, name, who, part))
    return [lease], not others


def _holders(folder: Remote) -> dict[str, str]:
    """The locks of a store's folder that are held, and by whom."""
    paths = (folder / PRIVATE).glob(f"{Path(LOCK).name}*")
    return {path.name: who for path in paths if (who := holder(path))}


def _in_the_way(folder: Remote, name: str, who: str, part: Part | None) -> tuple[str, str]:
    words = f"{shown(folder)}: {who} is at work in this output folder (its lock is {name})."
    return words, f"Wait for it to end, or choose another --output{' or --part' if part else ''}."


def _another_cut(folder: Path, part: Part) -> str | None:
    """The lock of a part of another cut that is held."""
    for path in sorted((folder / PRIVATE).glob("lock-*-of-*")):
        if path.name.endswith(f"-of-{part.count:03d}"):
            continue
        with open(path, "a+") as other:
            if not _try(other, fcntl.LOCK_EX):
                return path.name.removeprefix("lock-")
    return None


def _opened(folder: Path, name: str) -> IO[str]:
    """A lock's file; for reading too, which shared locks need where they go by network."""
    try:
        file = open(folder / name, "a+")  # noqa: SIM115
    except OSError as error:
        raise storage_error(folder, error) from None
    _held.add(file)
    return file


def _try(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _busy(lock: IO[str], message: str) -> CocosError:
    lock.close()
    return CocosError(message, "Wait for it to end, or choose another --output.")
