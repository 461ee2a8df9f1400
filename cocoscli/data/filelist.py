"""Long lists of names that do not sit in memory."""

from __future__ import annotations

import os
import tempfile
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from cocoscli.errors import CocosError


class FileList:
    """A read-only sequence of names in a temporary file: 8 bytes of memory a name.

    Made once from an iterable; forked processes read the same file, started ones a copy. The file
    has no name, so that nothing is left of it however the process ends. Names keep whatever bytes
    the file system gave them. Raises CocosError where the temporary folder has no room.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._ends = array("Q")
        with _storage():
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        end = 0
        for name in names:
            data = os.fsencode(name)
            with _storage():
                end += self._file.write(data)
            self._ends.append(end)
        with _storage():
            self._file.flush()

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, i: int) -> str:
        if not 0 <= i < len(self):
            raise IndexError(i)
        start = self._ends[i - 1] if i else 0
        return os.fsdecode(os.pread(self._file.fileno(), self._ends[i] - start, start))

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def close(self) -> None:
        """Let go of the file."""
        with suppress(OSError):  # a full disk was said when it was met
            self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()

    def __reduce__(self) -> tuple[Callable[[bytes, bytes], FileList], tuple[bytes, bytes]]:
        end = self._ends[-1] if self._ends else 0
        self._file.seek(0)
        names = self._file.read(end)
        return _copied, (zlib.compress(names, 1), zlib.compress(self._ends.tobytes(), 1))


def _copied(names: bytes, ends: bytes) -> FileList:
    """A list in another process."""
    copy = FileList(())
    with _storage():
        copy._file.write(zlib.decompress(names))
        copy._file.flush()
    copy._ends.frombytes(zlib.decompress(ends))
    return copy


@contextmanager
def _storage() -> Iterator[None]:
    """Turns a fault of the temporary folder into a CocosError."""
    try:
        yield
    except OSError as error:
        folder = f"temporary folder {tempfile.tempdir}" if tempfile.tempdir else "temporary folder"
        raise CocosError(
            f"{folder} cannot be written ({error.strerror}).",
            "Set TMPDIR to a folder with room.",
        ) from None
