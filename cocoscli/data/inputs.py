"""From what a user names on the command line to a list of items and their keys.

INPUTS is a folder (walked), a file, `@list.txt`, or `-` for a path a line on standard input. An
item's key is its path below the root, which is the folder itself or the deepest folder that holds
every listed path, so that no two items share a key.
"""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from cocoscli.data.filelist import FileList
from cocoscli.data.images import Size, image_size, read_photo
from cocoscli.data.layouts.layout import Layout
from cocoscli.data.reading import ConditionReader
from cocoscli.data.shards import ShardList, encode_key, find_shards
from cocoscli.data.storage import below, is_file, is_folder, is_url, place
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput, CocosError, UsageError

CHUNK = 1 << 16


@dataclass(frozen=True)
class Inputs:
    """Where the items are: a root and their names below it."""

    root: Path
    names: FileList

    def __len__(self) -> int:
        return len(self.names)

    def key(self, i: int) -> str:
        return self.names[i]

    def sample_key(self, i: int) -> str:
        """The key of item i's result in a shard."""
        return encode_key(self.names[i])

    def path(self, i: int) -> Path:
        return self.root / self.names[i]

    def condition(self, i: int, reader: ConditionReader, size: Size | None) -> np.ndarray:
        """Item i's condition array. Raises BadInput."""
        return reader.read(self.path(i), size)

    def photo(self, i: int, size: Size | None) -> np.ndarray:
        """Item i as a photo, (H,W,3) uint8. Raises BadInput."""
        return read_photo(self.path(i), size)

    def file_size(self, i: int, layout: Layout | None) -> Size:
        """(width, height) of item i as its layout has it, or as a photo. Raises BadInput."""
        return layout.native_size(self.path(i)) if layout else image_size(self.path(i))


@dataclass(frozen=True)
class ShardInputs:
    """Items that are samples of prepared shards, by their source paths."""

    root: Path
    names: FileList
    shards: ShardList

    def __len__(self) -> int:
        return len(self.names)

    def key(self, i: int) -> str:
        return self.names[i]

    def sample_key(self, i: int) -> str:
        """The key of item i's result in a shard: that of the sample."""
        return self.shards.sample_key(i)

    def condition(self, i: int, reader: ConditionReader, size: Size | None) -> np.ndarray:
        """Item i's condition array. Raises BadInput."""
        return reader.read_sample(self.shards.sample(i, ("image", "condition")), size)

    def photo(self, i: int, size: Size | None) -> np.ndarray:
        """The photo of sample i, (H,W,3) uint8. Raises BadInput."""
        return read_photo(Path(self.key(i)), size, data=self._image(i))

    def file_size(self, i: int, layout: Layout | None) -> Size:
        """(width, height) of the photo of sample i, with which all else of it is aligned."""
        return image_size(Path(self.key(i)), data=self._image(i))

    def _image(self, i: int) -> bytes:
        members = self.shards.sample(i, ("image",)).by_name()
        if "image" not in members:
            raise BadInput(f"{shown(self.key(i))}: a sample without image.", "Prepare it again.")
        return members["image"][1]


def open_shards(spec: str) -> ShardInputs:
    """The samples of shards, or of the val shards of a prepared folder. Raises CocosError."""
    paths = find_shards(spec)
    shards = ShardList(paths)
    names = FileList(shards.key(i) for i in range(len(shards)))
    _refuse_repeats(names, spec)
    root = place(spec) if is_folder(place(spec)) else paths[0].parent
    return ShardInputs(root.absolute(), names, shards)


def _refuse_repeats(names: FileList, spec: str) -> None:
    """CocosError where two samples have one key: the result of one would replace the other's."""
    marks = np.fromiter(map(hash, names), np.int64, len(names))
    first = np.unique(marks, return_index=True)[1]
    if len(first) < len(marks):
        name = names[int(np.setdiff1d(np.arange(len(marks)), first)[0])]
        raise CocosError(
            f"{spec}: two samples have the key {shown(Path(name))}.",
            "Name shards whose keys differ, or give each its own --output.",
        )


def list_inputs(spec: str, layout: Layout, stdin: IO[bytes], *, null: bool = False) -> Inputs:
    """Expand INPUTS; `null` says that lists are separated by NUL instead of line ends.

    Raises CocosError where nothing is there, UsageError where nothing is named.
    """
    expected = "INPUTS is a folder, a file, @list.txt, or - for paths on standard input."
    if spec in ("", "@"):
        raise UsageError(f"INPUTS {spec!r} names nothing.", expected)
    if spec == "-":
        return _from_list(stdin, "standard input", null)
    if spec.startswith("@"):
        try:
            with place(spec[1:]).open("rb") as file:
                return _from_list(file, spec[1:], null)
        except OSError as error:
            raise CocosError(
                f"{spec[1:]}: the list cannot be read ({error.strerror}).",
                "Give a text file with a path a line after '@'.",
            ) from None
    root = place(spec)
    if is_file(root):
        return Inputs(root.absolute().parent, FileList([root.name]))
    if not is_folder(root):
        raise CocosError(f"{spec}: no such file or folder.", expected)
    names = FileList(below(path, root) for path in layout.walk(root))
    return Inputs(root.absolute(), names)


def _split(file: IO[bytes], separator: bytes) -> Iterator[str]:
    rest, chunk = b"", file.read(CHUNK).removeprefix(BOM_UTF8)
    while chunk:
        *whole, rest = (rest + chunk).split(separator)
        yield from (os.fsdecode(name) for name in whole if name.strip(b"\r"))
        chunk = file.read(CHUNK)
    if rest.strip(b"\r"):
        yield os.fsdecode(rest)


def _from_list(file: IO[bytes], source: str, null: bool) -> Inputs:
    strip = "" if null else "\r"
    paths = FileList(
        _whole(name.rstrip(strip) if strip else name)
        for name in _split(file, b"\0" if null else b"\n")
    )
    if not len(paths):
        raise CocosError(f"{source}: the list is empty.", "Give a path a line.")
    storage = place(paths[0])
    if len({path.partition("://")[0] if is_url(path) else "" for path in paths}) > 1:
        raise CocosError(f"{source}: names of several storages.", "Give a list for each.")
    root = os.path.dirname(paths[0])
    for path in paths:
        while not path.startswith(os.path.join(root, "")):
            root = os.path.dirname(root)
    names = FileList(_without_repeats(os.path.relpath(path, root) for path in paths))
    paths.close()
    return Inputs(type(storage)(root), names)


def _whole(name: str) -> str:
    """A listed name as one that is read from any folder."""
    return name if is_url(name) else os.path.abspath(name)


def _without_repeats(names: Iterator[str]) -> Iterator[str]:
    seen: set[int] = set()
    for name in names:
        if (mark := hash(name)) not in seen:
            seen.add(mark)
            yield name
