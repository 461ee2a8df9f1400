"""Webdataset shards: tar files whose samples are what training and batch work read.

A sample's members share a key and differ in what follows its first dot:

    KEY.image.jpg                   the photo
    KEY.condition.png|npz           what its condition is made from (`sources.Sources`)
    KEY.points.json                 named points of the photo, where they are known
    KEY.exemplar.0.jpg ...          the exemplars chosen for it, best first
    KEY.exemplar_condition.0.png    theirs; and exemplar_points.0.json
    KEY.meta.json                   source path, split, hash, exemplars' keys and scores

A sample of results has KEY.image.png and KEY.meta.json (input, exemplar, source key, hash).
`index.json` beside the shards says what is in them. Shards are plain webdataset; nothing in them is
ever unpickled.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import tarfile
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from cocoscli.data.filelist import FileList
from cocoscli.data.storage import absent, exists, is_file, is_folder, open_large, place, read_parts
from cocoscli.data.textfiles import is_number
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput, CocosError

SCHEMA = 1
INDEX = "index.json"
SHARD_NAME = re.compile(r"(train|val|test|results)-((\d{3,}-of-\d{3,})-)?\d{6,}\.tar")
"""Of a part's shards the third group is its name."""
MEMBER_BYTES = 2**30
"""A member larger than this is refused."""


def encode_key(path: str) -> str:
    """A source path as a key without dots, reversibly: `a/x.v1.jpg` -> `a/x%2Ev1%2Ejpg`."""
    quoted = quote_from_bytes(os.fsencode(path), safe="/")
    quoted = quoted.replace(".", "%2E")
    return "/".join(re.sub("^_", "%5F", part) for part in quoted.split("/"))


def decode_key(key: str) -> str:
    """The source path of a key."""
    return os.fsdecode(unquote_to_bytes(os.fsencode(key)))


def join_keys(key: str, name: str) -> str:
    """The key of a sample made from another and a named file: the file's part is the last one."""
    return f"{key}/{encode_key(name).replace('/', '%2F')}"


def member_name(what: str, exemplar: int | None = None) -> str:
    """`image`, `condition` or `points` of a sample's own photo, or of one of its exemplars:
    `exemplar.0`, `exemplar_condition.0`, `exemplar_points.0`."""
    if exemplar is None:
        return what
    return f"{'exemplar' if what == 'image' else f'exemplar_{what}'}.{exemplar}"


@dataclass
class Sample:
    """What one item puts into a shard: members by what follows the key, in writing order."""

    key: str
    members: dict[str, bytes] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return sum(len(data) for data in self.members.values())

    def by_name(self) -> dict[str, tuple[str, bytes]]:
        """The members by what they are: `exemplar.0` -> (`jpg`, its bytes)."""
        split = ((suffix.rpartition("."), data) for suffix, data in self.members.items())
        return {name: (suffix, data) for (name, _, suffix), data in split}


class ShardWriter:
    """Writes one shard; the same samples in the same order give the same bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash, self._length = file, hashlib.sha256(), 0
        self.count = 0
        self.nbytes = 0

    def add(self, sample: Sample) -> None:
        for suffix, data in sample.members.items():
            info = tarfile.TarInfo(f"{sample.key}.{suffix}")
            info.size, info.mode, info.mtime = len(data), 0o644, 0
            header = info.tobuf(tarfile.PAX_FORMAT)
            self._write(b"".join((header, data, bytes(-len(data) % tarfile.BLOCKSIZE))))
        self.count += 1
        self.nbytes += sample.nbytes

    def close(self) -> str:
        """End the archive, which stays in whole records -> its sha256."""
        end = 2 * tarfile.BLOCKSIZE
        self._write(bytes(end + -(self._length + end) % tarfile.RECORDSIZE))
        return self._hash.hexdigest()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._length += len(data)


def expand_braces(spec: str) -> list[str]:
    """`train-{000000..000002}.tar` and `{a,b}.tar` -> the names; any number of braces."""
    found = re.search(r"\{([^{}]*)\}", spec)
    if found is None:
        return [spec]
    before, after = spec[: found.start()], spec[found.end() :]
    span = re.fullmatch(r"(\d{1,255})\.\.(\d{1,255})", found[1])
    if span:  # longer is no file's name
        width = len(span[1]) if span[1].startswith("0") else 0
        first, last = int(span[1]), int(span[2])
        if last - first >= 1_000_000:
            raise CocosError(f"{spec}: more than a million shards.", "Name fewer.")
        choices = [str(n).zfill(width) for n in range(first, last + 1)]
    else:
        choices = found[1].split(",")
    return [name for choice in choices for name in expand_braces(f"{before}{choice}{after}")]


def _globbed(name: str) -> list[Path]:
    """The shards that a name with * matches, in order; the name itself where there is none."""
    path = place(name)
    if "*" not in str(path) or exists(path):
        return [path]
    return sorted(_matches(path)) or [path]


def _matches(path: Path) -> Iterator[Path]:
    """What a path matches whose parts may have a *."""
    folders = _matches(path.parent) if "*" in str(path.parent) else (path.parent,)
    pattern = glob.escape(path.name).replace("[*]", "*")
    return (found for folder in folders for found in folder.glob(pattern))


def is_shards(spec: str) -> bool:
    """Whether INPUTS names shards: tar files, by braces or *, or a folder with an index."""
    if spec.endswith(".tar"):
        return True
    folder = place(spec)
    return is_folder(folder) and is_file(folder / INDEX)


def find_shards(spec: str, split: str = "val") -> list[Path]:
    """The shard files that INPUTS names; of a prepared folder those of `split`, or else all.

    Raises CocosError.
    """
    if is_folder(folder := place(spec)):
        return [folder / name for name in read_index(folder).shards(split)]
    paths = [path for name in expand_braces(spec) for path in _globbed(name)]
    if missing := absent(paths):
        beside = sorted(p.name for p in missing[0].parent.glob("*.tar"))[:5]
        found = f"its folder holds {', '.join(beside)}" if beside else "no .tar is in its folder"
        raise CocosError(
            f"{missing[0]}: no such shard; {found}.",
            "Give shards like 'shards/val-{000000..000003}.tar', or the folder that holds them.",
        )
    return paths


@dataclass(frozen=True)
class ShardIndex:
    """`index.json`: what a folder of shards holds."""

    values: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, by id; empty where they are not known."""
        names = self.values.get("classes") or {}
        if not isinstance(names, dict) or not all(map(is_number, names)):
            return ()
        last = max(map(int, names), default=-1)
        return tuple(str(names.get(str(i), f"class {i}")) for i in range(min(last + 1, 65536)))

    def shards(self, split: str) -> list[str]:
        """The shard names of a split, or of all splits where it has none."""
        rows = self.values["shards"]
        chosen = [row["name"] for row in rows if row["split"] == split]
        return chosen or [row["name"] for row in rows]


def read_index(folder: Path) -> ShardIndex:
    """Read and check `index.json`. Raises CocosError."""
    path = folder / INDEX
    try:
        if path.stat().st_size > MEMBER_BYTES:
            raise ValueError("it is too large")
        values = json.loads(path.read_bytes())
        rows = values["shards"]
        if values["schema"] != SCHEMA:
            raise ValueError(f"schema {values['schema']}, expected {SCHEMA}")
        if not all(re.fullmatch(r"[\w-]+\.tar", row["name"]) and row["split"] for row in rows):
            raise ValueError("a shard's name is no plain name")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise CocosError(
            f"{shown(path)}: not an index of shards ({reason}).", "Run `cocos prepare` again."
        ) from None
    return ShardIndex(values)


def remove_shards(folder: Path, keep: Container[str] = ()) -> bool:
    """Remove a folder's shards but those to `keep` -> whether there were any."""
    surplus = [p for p in folder.iterdir() if SHARD_NAME.fullmatch(p.name) and p.name not in keep]
    for path in surplus:
        path.unlink()
    return bool(surplus)


class ShardList:
    """Random access to the samples of shards: their members' places, read once.

    Memory is 8 bytes a sample; the places lie in temporary files.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = list(paths)
        if not self.paths:
            raise CocosError("no shards are named.", "Give shards that `cocos prepare` wrote.")
        self.counts = [0] * len(self.paths)
        """Samples of each shard."""
        self._places = FileList(json.dumps(found) for found in self._scan())
        if not len(self._places):
            raise CocosError(f"{shown(self.paths[0])}: no samples in it.", "Prepare it again.")

    def __len__(self) -> int:
        return len(self._places)

    def _scan(self) -> Iterator[dict[str, Any]]:
        for number, path in enumerate(self.paths):
            for found in self._samples(path):
                self.counts[number] += 1
                yield {"shard": number, **found}

    @staticmethod
    def _samples(path: Path) -> Iterator[dict[str, Any]]:
        found: dict[str, Any] = {}
        for name, offset, size in _members(path):
            key, _, suffix = name.rpartition("/")[2].partition(".")
            key = f"{name.rpartition('/')[0]}/{key}".lstrip("/")
            if found.get("key") != key:
                if found:
                    yield found
                found = {"key": key, "members": {}}
            found["members"][suffix.lower()] = [offset, size]
        if found:
            yield found

    def sample_key(self, i: int) -> str:
        """The key of sample i as it stands in its shard."""
        return str(json.loads(self._places[i])["key"])

    def key(self, i: int) -> str:
        """The source path of sample i."""
        return decode_key(self.sample_key(i))

    def sample(self, i: int, only: tuple[str, ...] = ()) -> Sample:
        """Sample i; with `only`, the members whose suffix starts with one of these."""
        at = json.loads(self._places[i])
        path = self.paths[at["shard"]]
        sample = Sample(at["key"])
        try:
            wanted = {s: p for s, p in at["members"].items() if not only or s.startswith(only)}
            sample.members |= read_parts(path, wanted)
        except OSError as error:
            raise BadInput(f"{shown(path)}: cannot be read ({error.strerror}).") from None
        return sample


def _check_end(file: IO[bytes], last: int) -> None:
    """TarError unless nothing but the end of the archive follows: tarfile takes a damaged header
    for the end."""
    file.seek(last)
    rest = file.read(2 * tarfile.RECORDSIZE)
    if len(rest) < 2 * tarfile.BLOCKSIZE or rest.strip(b"\0"):
        raise tarfile.TarError("it is damaged or cut off")


def _members(path: Path) -> Iterator[tuple[str, int, int]]:
    """(name, offset, size) of each regular file of a tar. Raises CocosError for a damaged one."""
    try:
        with open_large(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            end = path.stat().st_size
            last = 0
            for info in tar:
                if not info.isreg() or info.issparse():
                    continue
                if not 0 <= info.size <= MEMBER_BYTES or info.offset_data + info.size > end:
                    raise tarfile.TarError(f"{info.name!r} is cut off or too large")
                last = info.offset_data + -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                yield info.name, info.offset_data, info.size
                tar.members = []  # type: ignore[attr-defined]  # tarfile keeps every header
            _check_end(file, last)
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise CocosError(
            f"{shown(path)}: not a readable shard ({error}).", "Prepare it again."
        ) from None
