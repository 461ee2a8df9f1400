"""Finding files: walking a folder, and the place of a file that belongs to another one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cocoscli.data.storage import Entry, Remote, absolute, is_file, is_folder
from cocoscli.data.wording import few, shown
from cocoscli.errors import CocosError


def walk_files(root: Path) -> Iterator[Path]:
    """Every file below `root` in sorted order, one folder's listing in memory at a time.

    Names that start with "." are skipped. A link to a folder is followed unless that folder was
    walked before, so that loops end; one that holds the results of a run is passed over. Broken
    links and special files are yielded too: reading them says what is wrong. Raises CocosError
    for a folder that cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    stack: list[Iterator[Entry | os.DirEntry[str]]] = [_listing(root, seen, nested=False)]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif _is_folder(entry):
            stack.append(_listing(_path(entry), seen))
        else:
            yield _path(entry)


def _path(entry: Entry | os.DirEntry[str]) -> Path:
    return entry.path if isinstance(entry, Entry) else Path(entry.path)


def _listing(
    folder: Path, seen: set[tuple[int, int]], nested: bool = True
) -> Iterator[Entry | os.DirEntry[str]]:
    """The sorted entries of a folder; none where it was `seen` before or holds a run's results."""
    try:
        entries = folder.entries() if isinstance(folder, Remote) else _scan(folder, seen)
        names = [entry for entry in entries if not entry.name.startswith(".")]
        if nested and {"_cocos", "run.toml"} <= {entry.name for entry in names}:
            return iter(())
    except OSError as error:
        raise CocosError(
            f"{shown(folder)}: the folder cannot be listed ({error.strerror}).",
            "Make it readable or leave it out.",
        ) from error
    return iter(sorted(names, key=lambda entry: entry.name))


def _scan(folder: Path, seen: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    """What lies in a folder, or nothing where it was `seen` before."""
    status = folder.stat()
    real = (status.st_dev, status.st_ino)
    if real in seen:
        return []
    seen.add(real)
    with os.scandir(folder) as entries:
        return list(entries)


def _is_folder(entry: Entry | os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def contents(folder: Path) -> str:
    """The first entries of a folder in words, for error messages."""
    try:
        names = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    except OSError:
        return "nothing that can be listed"
    return few([shown(Path(name)) for name in names]) or "nothing"


def find_stem(folder: Path, stem: str, suffixes: Sequence[str]) -> Path | None:
    """The file `stem` + one of `suffixes` (lower or upper case) in a folder, the first that is."""
    for suffix in suffixes:
        for written in (suffix, suffix.upper()):
            path = folder / f"{stem}{written}"
            if is_file(path):
                return path
    return None


def twin_folders(path: Path, rename: Callable[[str], Sequence[str]]) -> Iterator[Path]:
    """Folders in the place of `path`'s own, with one folder above it renamed, innermost first.

    `rename` gives the other names of a folder. For images/a/x.jpg and images -> masks: masks/a.
    Only folders that exist are yielded.
    """
    ways = [path] if path.is_absolute() else [path, absolute(path)]
    for way in ways:
        *above, _ = way.parts
        fixed = 2 if isinstance(way, Remote) else 0  # a store and its bucket
        for n in reversed(range(fixed, len(above))):
            for name in rename(above[n]):
                folder = type(way)(*above[:n], name, *above[n + 1 :])
                if is_folder(folder):
                    yield folder


def tails(path: Path, root: Path | None) -> Iterator[Path]:
    """The relative paths that `path` may have below another root, the longest first.

    With `root` there is one, the path relative to it.
    """
    whole = absolute(path)
    if root is not None and whole.is_relative_to(absolute(root)):
        yield whole.relative_to(absolute(root))
        return
    parts = whole.parts[1:]
    for start in range(len(parts)):
        yield Path(*parts[start:])
