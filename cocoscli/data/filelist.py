"""Long lists of names that do not sit in memory."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from typing import Any


class FileList:
    """A read-only sequence of names in a temporary file: 8 bytes of memory a name.

    Made once from an iterable; safe to read from forked and from started processes. Names keep
    whatever bytes the file system gave them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._ends = array("Q")
        handle, self._path = tempfile.mkstemp(prefix="cocos-names-")
        self._owner = os.getpid()
        end = 0
        with open(handle, "wb") as file:
            for name in names:
                end += file.write(os.fsencode(name))
                self._ends.append(end)
        self._file = open(self._path, "rb")  # noqa: SIM115 (closed in close)

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
        """Remove the file; only the process that made it does."""
        self._file.close()
        if os.getpid() == self._owner and os.path.exists(self._path):
            os.unlink(self._path)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"_ends": self._ends, "_path": self._path, "_owner": self._owner}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._file = open(self._path, "rb")  # noqa: SIM115 (closed in close)
