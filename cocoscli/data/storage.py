"""Where data lies: local paths, and objects of a store by URL (`s3://bucket/key`).

A URL becomes a `Remote`, which is a `Path`: what is read, listed and looked for goes through the
methods of both, or through the functions here where `os.path` is quicker. What takes local files
alone (`open`, `os`) meets `__fspath__`, which says so.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import io
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PosixPath
from typing import IO, Any, cast

from cocoscli.data.stores import call, check_url
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput, CocosError

OBJECT_BYTES = 2**30
"""No more of an object is read at once; what is larger is cut off, and said to be damaged."""
KEPT = 4
"""Copies of files that are kept."""
RECENT = 3600.0
"""Seconds within which a copy counts as being in use."""
BLOCK = 2**22
"""What is read at a time of an object that is gone through."""


def is_url(text: str) -> bool:
    """Whether a name is a URL and no local path: `scheme://`, or fsspec's chains and pipes."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)|pipe:", text) is not None


def place(name: str | Path) -> Path:
    """What a name means: a local path, or a place of a store. Raises UsageError and CocosError."""
    if isinstance(name, str) and is_url(name):
        check_url(name)
        return Remote(name)
    return Path(name) if isinstance(name, str) else name


class Remote(PosixPath):
    """A file or folder of a store. Faults are OSErrors with words, as those of local paths are."""

    def __str__(self) -> str:
        scheme, _, rest = super().__str__().partition("/")
        return f"{scheme}//{rest}"

    def __fspath__(self) -> str:
        raise BadInput(f"{shown(self)}: this is taken from local files alone.", "Copy it here.")

    def relative_to(self, *other: Any, **how: Any) -> PosixPath:  # type: ignore[override]
        return PosixPath(*super().relative_to(*other, **how).parts)

    @property
    def parents(self) -> list[Remote]:
        """The folders above, up to the bucket."""
        return [Remote(*self.parts[:n]) for n in range(len(self.parts) - 1, 1, -1)]

    def is_absolute(self) -> bool:
        return True

    def absolute(self) -> Remote:
        return self

    def resolve(self, strict: bool = False) -> Remote:
        return self

    def info(self) -> dict[str, Any]:
        """fsspec's `name`, `type` (`file` or `directory`) and `size`. Raises OSError."""
        return dict(call(str(self), lambda store, path: store.info(path)))

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        info = self.info()
        kind = stat.S_IFDIR if info["type"] == "directory" else stat.S_IFREG
        changed = info.get("LastModified") or info.get("mtime") or info.get("updated")
        seconds = int(changed.timestamp()) if isinstance(changed, datetime) else 0
        return os.stat_result((kind | 0o644, 0, 0, 1, 0, 0, info["size"] or 0, 0, seconds, 0))

    def _type(self) -> str | None:
        try:
            return str(self.info()["type"]) if len(self.parts) > 1 else None
        except FileNotFoundError:
            return None

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        return self._type() is not None

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return self._type() == "file"

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self._type() == "directory"

    def is_symlink(self) -> bool:
        return False

    def samefile(self, other: object) -> bool:
        return str(self) == str(other)

    def read_bytes(self) -> bytes:
        return self.read_range(0, OBJECT_BYTES)

    def read_range(self, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`, or to the object's end. Raises OSError."""

        def read(store: Any, path: str) -> bytes:
            try:
                return bytes(store.cat_file(path, start=start, end=end))
            except OSError:
                if store.info(path)["size"] <= start:  # no range of it can be satisfied
                    return b""
                raise

        return call(str(self), read)

    def open(  # type: ignore[override]
        self, mode: str = "r", buffering: int = -1, encoding: str | None = None,
        errors: str | None = None, newline: str | None = None,
    ) -> IO[Any]:  # fmt: skip
        """The whole object, in memory. For reading alone."""
        data = io.BytesIO(self.read_bytes())
        if mode == "rb":
            return data
        if mode != "r":
            raise io.UnsupportedOperation(f"mode {mode!r}")
        return io.TextIOWrapper(data, encoding or "utf-8", errors, newline)

    def write_bytes(self, data: Any) -> int:
        """Put an object, whole. OSError: whatever hinders it hinders the next one too (EIO)."""
        with _written():
            call(str(self), lambda store, path: store.pipe_file(path, bytes(data)))
        return len(data)

    def write_text(  # type: ignore[override]
        self, data: str, encoding: str = "utf-8", errors: str | None = None,
        newline: str | None = None,
    ) -> int:  # fmt: skip
        return self.write_bytes(data.encode(encoding, errors or "strict"))

    def replace(self, target: Remote) -> Remote:  # type: ignore[override]
        """Move an object."""
        source = str(self)
        with _written():
            call(str(target), lambda store, path: store.mv(store._strip_protocol(source), path))
        return target

    def chmod(self, mode: int, *, follow_symlinks: bool = True) -> None:
        """Nothing: a store has its own rules."""

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            call(str(self), lambda store, path: store.rm_file(path))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a folder is there once an object is."""

    def entries(self) -> list[Entry]:
        """What lies in a folder; [] where there is none. Raises OSError."""
        try:
            found = call(str(self), lambda store, path: store.ls(path, detail=True))
        except FileNotFoundError:
            return []
        named = ((each["name"].rstrip("/").rpartition("/")[2], each["type"]) for each in found)
        own = self.name
        return [
            Entry(self / name, kind == "directory")
            for name, kind in named
            if name and not (name == own and kind == "file" and len(found) == 1)
        ]

    def iterdir(self) -> Iterator[Remote]:  # type: ignore[override]
        return (Remote(entry.path) for entry in self.entries())

    def glob(self, pattern: str) -> Iterator[Remote]:  # type: ignore[override]
        """The entries whose names match; with `/` at its end, folders alone."""
        name = pattern.removesuffix("/")
        for entry in self.entries():
            if fnmatch.fnmatchcase(entry.name, name) and (entry.folder or name == pattern):
                yield Remote(entry.path)


@dataclass(frozen=True)
class Entry:
    """What lies in a folder of a store, as `os.DirEntry` says it."""

    path: Path
    folder: bool

    @property
    def name(self) -> str:
        return self.path.name

    def is_dir(self) -> bool:
        return self.folder


class _Ranges(io.RawIOBase):
    """An object as a stream that can be sought in."""

    def __init__(self, path: Remote) -> None:
        self.path, self.size, self.at = path, path.stat().st_size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def readinto(self, buffer: Any) -> int:
        end = min(self.size, self.at + len(buffer))
        data = self.path.read_range(self.at, end) if end > self.at else b""
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


def open_large(path: Path) -> IO[bytes]:
    """A file that is sought in, or gone through, without being held in memory. Raises OSError."""
    if isinstance(path, Remote):
        return io.BufferedReader(_Ranges(path), BLOCK)
    return open(path, "rb")


@contextmanager
def _written() -> Iterator[None]:
    """Faults of writing as those of the storage: they end a run."""
    try:
        yield
    except OSError as error:
        raise OSError(errno.EIO, error.strerror or str(error)) from error


@contextmanager
def whole_object(target: Remote) -> Iterator[IO[bytes]]:
    """A local file that is put to a store, whole, when the block ends without an error."""
    with tempfile.NamedTemporaryFile(suffix=target.suffix) as file:
        yield cast(IO[bytes], file)
        file.flush()
        with _written():
            call(str(target), lambda store, path: store.put_file(file.name, path))


def open_local(path: Path) -> IO[bytes]:
    """A file of the local system with what a file holds now: itself, or a copy without a name."""
    if not isinstance(path, Remote):
        return open(path, "rb")
    file = tempfile.TemporaryFile()  # noqa: SIM115 (whoever asks for it closes it)
    with open_large(path) as source:
        shutil.copyfileobj(source, file, BLOCK)
    file.seek(0)
    return cast(IO[bytes], file)


class _Listed:
    """Whether there are objects, by lists of their folders: each is asked for once."""

    def __init__(self) -> None:
        self._files: dict[Path, set[str]] = {}

    def __contains__(self, path: Remote) -> bool:
        folder = path.parent
        if folder not in self._files:
            self._files[folder] = {each.name for each in folder.entries() if not each.folder}
        return path.name in self._files[folder]


def looker(folder: Path) -> Callable[[str], bool]:
    """Whether there is a file of this name below a folder; a store's folders are listed, once."""
    if not isinstance(folder, Remote):
        return lambda name: os.path.isfile(folder / name)
    listed = _Listed()
    return lambda name: (path := folder / name).is_relative_to(folder) and path in listed


def read_parts(path: Path, parts: Mapping[str, Sequence[int]]) -> dict[str, bytes]:
    """The parts (offset, size) of a file, by name. Raises OSError."""
    if isinstance(path, Remote):  # one request: parts that are read together lie together
        start = min((offset for offset, _ in parts.values()), default=0)
        end = max((offset + size for offset, size in parts.values()), default=0)
        data = path.read_range(start, end) if end else b""
        return {name: data[at - start : at - start + size] for name, (at, size) in parts.items()}
    found = {}
    with open(path, "rb") as file:
        for name, (offset, size) in parts.items():
            file.seek(offset)
            found[name] = file.read(size)
    return found


def user_cache(name: str) -> Path:
    """Where a file or folder of ours lies in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "cocos", name)


def local_copy(path: Path) -> Path:
    """A file for those that read no other: a local one itself, or one of a store, downloaded.

    Copies lie in the user's cache; the `KEPT` used last are kept, and those of the last `RECENT`
    seconds. Raises CocosError.
    """
    if not isinstance(path, Remote):
        return path
    if path.suffix != ".safetensors":
        raise CocosError(
            f"{shown(path)}: of a store only safetensors files are taken.", "Copy it here."
        )
    with _said(path):
        info = path.info()
        version = [str(info.get(name)) for name in ("ETag", "LastModified", "mtime", "size")]
        mark = hashlib.sha256("\0".join([str(path), *version]).encode()).hexdigest()
        folder = user_cache("copies")
        copy = folder / f"{mark[:32]}{path.suffix}"
        if not copy.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                pass
            try:
                call(str(path), lambda store, source: store.get_file(source, file.name))
                os.replace(file.name, copy)
            finally:
                Path(file.name).unlink(missing_ok=True)
        os.utime(copy)
        _tidy(folder)
    return copy


def _tidy(folder: Path) -> None:
    """Take away the copies that were not used for an hour, but for the `KEPT` used last; a younger
    one may be another process's, on its way."""
    with suppress(FileNotFoundError):  # that process tidies too
        used = sorted((path.stat().st_mtime, path) for path in folder.iterdir())
        for when, path in used[:-KEPT]:
            if when < time.time() - RECENT:
                path.unlink()


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Turns a store's fault into the BadInput that names the place."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"{shown(path)}: {error.strerror or error}.", "Try it again.") from error


def is_file(path: Path) -> bool:
    """Whether there is a file; no exception for any local name. BadInput of a store's fault."""
    if isinstance(path, Remote):
        with _said(path):
            return path.is_file()
    return os.path.isfile(path)


def is_folder(path: Path) -> bool:
    """Whether there is a folder, likewise."""
    if isinstance(path, Remote):
        with _said(path):
            return path.is_dir()
    return os.path.isdir(path)


def exists(path: Path) -> bool:
    """Whether there is either, likewise."""
    if isinstance(path, Remote):
        with _said(path):
            return path.exists()
    return os.path.exists(path)


def absolute(path: Path) -> Path:
    """A path from the root on, without `..`; a URL is one."""
    return path if isinstance(path, Remote) else Path(os.path.abspath(path))


def below(path: Path, root: Path) -> str:
    """The name of a path relative to a folder that it lies in."""
    return str(path.relative_to(root)) if isinstance(path, Remote) else os.path.relpath(path, root)


def absent(paths: Iterable[Path]) -> list[Path]:
    """The paths at which there is no file; a store's folders are listed, once each."""
    listed = _Listed()

    def there(path: Path) -> bool:
        if not isinstance(path, Remote):
            return path.is_file()
        with _said(path.parent):
            return path in listed

    return [path for path in paths if not there(path)]
