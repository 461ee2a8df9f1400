"""Which exemplar an input is translated with.

A pairing is arithmetic on indices, so that a list of any length needs no table: item k of the work
is a pair (input i, exemplar j).
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from cocoscli.data.filelist import FileList
from cocoscli.errors import CocosError

STRATEGIES = ("cycle", "nearest", "random", "all")
GRID = 32


class Pairing(Protocol):
    """The pairs of a run."""

    @property
    def many(self) -> bool:
        """Whether an input may occur with several exemplars (their names then join the key)."""
        ...

    def __len__(self) -> int: ...

    def pair(self, k: int) -> tuple[int, int | None]:
        """(input, exemplar) of item k; None where the exemplar depends on the input's content."""
        ...


@dataclass(frozen=True)
class Cycle:
    """Input i with exemplar i modulo their number."""

    inputs: int
    exemplars: int
    many: bool = False

    def __len__(self) -> int:
        return self.inputs

    def pair(self, k: int) -> tuple[int, int | None]:
        return k, k % self.exemplars


@dataclass(frozen=True)
class Random:
    """An exemplar drawn for each input from a hash of the seed and its key: order has no say."""

    names: FileList
    exemplars: int
    seed: int
    many: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def pair(self, k: int) -> tuple[int, int | None]:
        text = f"{self.seed}/{self.names[k]}".encode("utf-8", "surrogateescape")
        draw = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
        return k, draw % self.exemplars


@dataclass(frozen=True)
class All:
    """Every input with every exemplar, an input's pairs one after another."""

    inputs: int
    exemplars: int
    many: bool = True

    def __len__(self) -> int:
        return self.inputs * self.exemplars

    def pair(self, k: int) -> tuple[int, int | None]:
        return divmod(k, self.exemplars)


@dataclass(frozen=True)
class Nearest:
    """The exemplar whose label map agrees with the input's in most places; read with the input."""

    inputs: int
    maps: np.ndarray
    """(E, GRID, GRID) class ids of the exemplars."""
    many: bool = False

    def __len__(self) -> int:
        return self.inputs

    def pair(self, k: int) -> tuple[int, int | None]:
        return k, None

    def choose(self, labels: np.ndarray) -> int:
        """labels (H,W) of an input -> index of the first exemplar with the best agreement."""
        return int((self.maps == label_grid(labels)).mean(axis=(1, 2)).argmax())


def label_grid(labels: np.ndarray) -> np.ndarray:
    """(H,W) ids -> (GRID, GRID) ids, sampled at cell centres."""
    rows, columns = ((np.arange(GRID) + 0.5) * n / GRID for n in labels.shape)
    return labels[rows.astype(int)[:, None], columns.astype(int)[None]].astype(np.uint16)


@dataclass(frozen=True)
class Listed:
    """The pairs of a CSV file, in its order."""

    rows: FileList
    many: bool = True

    def __len__(self) -> int:
        return len(self.rows)

    def pair(self, k: int) -> tuple[int, int | None]:
        i, j = self.rows[k].split(",")
        return int(i), int(j)


def read_pairs(
    path: Path,
    input_index: Callable[[str], int | None],
    exemplar_index: Callable[[str], int | None],
) -> Listed:
    """A CSV with a row `input,exemplar` a pair (a header line of these words is skipped).

    Names are those below INPUTS and below the exemplar folder. Raises CocosError with the line of
    the first row that is malformed or names a file that is not there.
    """
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = FileList(_indices(path, file, input_index, exemplar_index))
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CocosError(
            f"{path}: the pairs cannot be read ({reason}).",
            f"--pairs is one of {', '.join(STRATEGIES)}, or a CSV file of input,exemplar rows.",
        ) from None
    if not len(rows):
        raise CocosError(f"{path}: no pairs in it.", "Write a row input,exemplar for each pair.")
    return Listed(rows)


def _indices(
    path: Path,
    file: Iterator[str],
    input_index: Callable[[str], int | None],
    exemplar_index: Callable[[str], int | None],
) -> Iterator[str]:
    reader = csv.reader(file)
    seen: set[tuple[int, int]] = set()
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        if not row or (reader.line_num == 1 and [c.strip() for c in row] == ["input", "exemplar"]):
            continue
        if len(row) != 2:
            raise CocosError(f"{where}: {len(row)} columns, expected 2: input,exemplar.")
        found = input_index(row[0]), exemplar_index(row[1])
        for name, index, what in zip(row, found, ("INPUTS", "the exemplars"), strict=True):
            if index is None:
                raise CocosError(
                    f"{where}: {name!r} is not among {what}.",
                    "Names in the file are relative to the folders given on the command line.",
                )
        if found in seen:
            raise CocosError(f"{where}: this pair is listed twice.", "Remove one of the rows.")
        seen.add(found)  # type: ignore[arg-type]
        yield f"{found[0]},{found[1]}"


def name_index(names: FileList, root: Path) -> Callable[[str], int | None]:
    """Look-up of a name, relative to the root or a path of its own, among `names`."""
    table = {name: i for i, name in enumerate(names)}

    def index(name: str) -> int | None:
        direct = table.get(os.path.normpath(name))
        if direct is not None:
            return direct
        return table.get(os.path.relpath(os.path.abspath(name), root))

    return index
