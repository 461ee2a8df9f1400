"""Object stores and remote file systems, by fsspec: which are taken, and their faults as OSErrors.

A call is tried again, with growing pauses, until `PATIENCE` is over. What comes of it in the end is
an OSError whose `strerror` says it in words: FileNotFoundError and PermissionError at once, EIO for
a store that did not answer.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cocoscli.data.wording import one_line, shown
from cocoscli.errors import CocosError, UsageError

PATIENCE = 60.0
"""Seconds that a store may refuse to work, or not answer, before that counts as its fault; what
the environment says in `COCOS_STORE_PATIENCE` goes first."""
PAUSES = (0.25, 8.0)
"""Seconds between attempts: at first, and at most."""
CONNECT, READ = 5, 15
"""Seconds that are waited for a connection, and for its next bytes."""

_S3 = {
    "config_kwargs": {
        "connect_timeout": CONNECT,
        "read_timeout": READ,
        "retries": {"max_attempts": 0},  # we try again ourselves
    }
}
STORES: dict[str, tuple[str, dict[str, Any]]] = {
    "s3": ("cocos[s3]", _S3),
    "s3a": ("cocos[s3]", _S3),
    "gs": ("gcsfs", {}),
    "gcs": ("gcsfs", {}),
    "az": ("adlfs", {}),
    "abfs": ("adlfs", {}),
    "hdfs": ("pyarrow", {}),
}
"""The schemes that are taken: the package that reads one, and its options. fsspec knows more; some
of them run commands, read archives or reach into this machine."""

T = TypeVar("T")

_failed: set[str] = set()
"""Stores that did not work for as long as `PATIENCE`: until they do, one attempt has to do."""


def check_url(url: str) -> None:
    """UsageError for a URL of no store that is taken; CocosError where its package lacks."""
    scheme, _, rest = url.partition("://")
    if "::" in url or scheme not in STORES:
        raise UsageError(
            f"{shown(url)}: no storage that is read or written; expected one of "
            f"{', '.join(f'{name}://' for name in STORES)}.",
            "Give one of them, or a local path.",
        )
    if not rest.strip("/"):
        raise UsageError(f"{shown(url)}: names no bucket.", f"Give {scheme}://BUCKET/PATH.")
    if any(ord(each) < 32 for each in url):
        raise UsageError(f"{shown(url)}: a control character in a URL.", "Give a plain one.")
    _file_system(_store(url), os.getpid())


def call(url: str, what: Callable[[Any, str], T]) -> T:
    """`what(file system, path there)`, tried again for as long as `PATIENCE`. Raises OSError."""
    name, pause, patience = _store(url), PAUSES[0], _patience()
    end = time.monotonic() + (0 if name in _failed else patience)
    while True:
        try:
            store = _file_system(name, os.getpid())
            result = what(store, store._strip_protocol(url))
        except Exception as error:  # fsspec's stores raise whatever their clients do
            if (fault := _final(error)) is not None:
                raise fault from error
            if time.monotonic() + pause > end:
                _failed.add(name)
                reason = f"the store does not work, after {patience:g} s: {one_line(error)}"
                raise OSError(errno.EIO, reason, url) from error
        else:
            _failed.discard(name)
            return result
        time.sleep(pause * random.uniform(0.7, 1))
        pause = min(2 * pause, PAUSES[1])


def _patience() -> float:
    text = os.environ.get("COCOS_STORE_PATIENCE", "")
    try:
        return float(text or PATIENCE)
    except ValueError:
        raise UsageError(f"COCOS_STORE_PATIENCE={text}: expected a number of seconds.") from None


def create(url: str, data: bytes) -> None:
    """Put an object where there is none. FileExistsError where there is one, OSError.

    A store that cannot refuse the second of two puts at once takes the last of them.
    """

    def put(store: Any, path: str) -> None:
        try:
            store.pipe_file(path, data, mode="create")
        except (NotImplementedError, TypeError):
            if store.exists(path):
                raise FileExistsError(path) from None
            store.pipe_file(path, data)

    call(url, put)


def replace(url: str, data: bytes, before: dict[str, Any]) -> None:
    """Put an object in the place of the one whose info was `before`. FileExistsError where that is
    another one by now (where the store tells, as S3 does), OSError."""

    def put(store: Any, path: str) -> None:
        if "ETag" not in before or not url.startswith(("s3://", "s3a://")):
            store.pipe_file(path, data)
            return
        try:
            store.pipe_file(path, data, IfMatch=before["ETag"])
        except OSError as error:
            if error.errno == errno.EINVAL:  # the precondition does not hold
                raise FileExistsError(path) from error
            raise

    call(url, put)


def forget() -> None:
    """Open the stores anew: their credentials or places have changed."""
    _file_system.cache_clear()
    _failed.clear()


def _store(url: str) -> str:
    """What file system a URL is of: its scheme, and its host where that is a server."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc if parts.scheme == 'hdfs' else ''}"


@lru_cache(maxsize=16)
def _file_system(store: str, process: int) -> Any:
    """fsspec's file system, one a process: what it holds does not live through a fork."""
    import fsspec

    scheme, _, host = store.partition("://")
    if scheme not in STORES:
        raise ValueError(f"{store} is no store")
    package, options = STORES[scheme]
    server = dict(zip(("host", "port"), _host(host), strict=False)) if host else {}
    try:
        own = {"skip_instance_cache": True, "use_listings_cache": False}
        found = fsspec.filesystem(scheme, **own, **options, **server)
    except ImportError as error:
        raise CocosError(
            f"{scheme}://: what reads it is not installed ({one_line(error)}).",
            f"pip install '{package}'",
        ) from None
    except Exception as error:
        raise CocosError(f"{store}: cannot be opened ({one_line(error)}).") from error
    if scheme in ("s3", "s3a"):
        found.retries = 1
    return found


def _host(text: str) -> tuple[str, int] | tuple[str]:
    name, _, port = text.rpartition("@")[2].partition(":")
    return (name, int(port)) if port.isdecimal() else (name,)


def _final(error: Exception) -> Exception | None:
    """What to raise of a fault that another attempt does not mend; None of one that it may."""
    if isinstance(error, CocosError):
        return error
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "no such object or bucket")
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
        return PermissionError(
            errno.EACCES, f"the store refuses these credentials: {one_line(error)}"
        )
    if isinstance(error, FileExistsError):
        return FileExistsError(errno.EEXIST, "there is one already")
    if isinstance(error, (IsADirectoryError, NotADirectoryError)):
        return type(error)(errno.EISDIR, "a folder, or no file")
    if (
        isinstance(error, ValueError)
        or type(error).__name__ == "ParamValidationError"
        or (isinstance(error, OSError) and error.errno in (errno.EINVAL, errno.ENAMETOOLONG))
    ):
        return OSError(errno.EINVAL, one_line(error))
    return None
