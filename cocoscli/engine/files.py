"""Files that appear whole, names that stay inside, and the storage's faults in words."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from cocoscli.data.storage import Remote, whole_object
from cocoscli.data.wording import shown
from cocoscli.errors import CocosError

PRIVATE = "_cocos"
"""The folder of an output folder that holds what is ours alone."""
TEMPORARY = f"{PRIVATE}/tmp"
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Faults of the storage, which end the run; another fault of a file costs its item."""


def safe_name(key: str) -> str:
    """A key as a relative path that stays below the output folder.

    Parts that would leave it (`..`, an empty name) are percent-encoded.
    """
    odd = {"": "%", ".": "%2E", "..": "%2E%2E"}
    return "/".join(odd.get(part, part) for part in key.split("/"))


def file_name(key: str, suffix: str) -> str:
    """Where a result of an item lies: `a/x.jpg` and `png` or `image.png` -> `a/x.jpg.png`."""
    return f"{safe_name(key)}.{suffix.removeprefix('image.')}"


@contextmanager
def whole_file(target: Path, folder: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `target`, synced and whole, when the block ends without an error.

    `folder` holds it until then; it lies on the same file system. An object of a store is put.
    """
    if isinstance(target, Remote):
        with whole_object(target) as file:
            yield file
        return
    handle, temporary = tempfile.mkstemp(dir=folder)
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def is_inside(folder: Path, target: Path) -> bool:
    """Whether the folder that a target lies in (the deepest there is) is below an output folder;
    in a store there are no links that would lead out of it."""
    if isinstance(target, Remote):
        return target.is_relative_to(folder)
    place = next(parent for parent in target.parents if parent.exists())
    return place.resolve().is_relative_to(folder.resolve())


def write_inside(folder: Path, name: str, data: bytes) -> Path:
    """Write a file of an output folder that appears only whole -> where it is.

    `name` is relative to the folder. Raises CocosError for a target that a symbolic link leads out
    of it, OSError where the storage fails.
    """
    target = folder / name
    if not is_inside(folder, target):
        raise CocosError(f"{shown(target)}: a link leads out of the output folder.", "Remove it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target, folder / TEMPORARY) as file:
        file.write(data)
    return target


def storage_error(path: Path, error: OSError) -> CocosError:
    """The storage's fault in words; what was written before stays."""
    reason = error.strerror or str(error)
    return CocosError(
        f"{shown(path)}: the output cannot be written ({reason}).",
        "What is already written stays; mend that and run the same command again to go on.",
    )
