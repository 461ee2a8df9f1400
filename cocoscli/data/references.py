"""Text files about whose exemplar is whose: reference lists and identities.

The released `*_ref.txt` form is a line `query,exemplar1,exemplar2,...` for each image, best first,
names relative to the dataset. Tests use all exemplars, training the first and the last.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cocoscli.errors import CocosError, UsageError

REFERENCES = "references.txt"
"""The list that lies beside prepared shards."""
Known = Callable[[str], bool]
_FORM = "A line is query,exemplar1,exemplar2,... with names relative to the dataset."


@dataclass(frozen=True)
class Reference:
    """A line of a reference list."""

    query: str
    exemplars: tuple[str, ...]

    @property
    def training(self) -> tuple[str, str]:
        """The easy and the hard exemplar that training draws from: the first and the last."""
        return self.exemplars[0], self.exemplars[-1]


def read_references(
    path: Path, is_query: Known | None = None, is_exemplar: Known | None = None
) -> Iterator[Reference]:
    """The lines of a reference list, one by one.

    A name that is not known as it stands is tried without spaces around it and with its backslashes
    as slashes (the DeepFashion list has them). Raises CocosError with the line of the first that
    has an empty or unknown name, no exemplar, its query among its exemplars or a query that was
    listed before.
    """
    seen: set[str] = set()
    for number, row in _rows(path):
        where = f"{path}, line {number}"
        if len(row) < 2 or not all(map(str.strip, row)):
            what = "an empty name" if len(row) > 1 else "no exemplar"
            raise CocosError(f"{where}: {what} in {','.join(row)!r}.", _FORM)
        query = _known(row[0], is_query, f"{where}: query")
        exemplars = tuple(_known(name, is_exemplar, f"{where}: exemplar") for name in row[1:])
        if query in exemplars:
            raise CocosError(f"{where}: {query!r} is its own exemplar.", "Remove it from its line.")
        if query in seen:
            raise CocosError(f"{where}: {query!r} is listed twice.", "Keep one of its lines.")
        seen.add(query)
        yield Reference(query, exemplars)
    if not seen:
        raise CocosError(f"{path}: no references in it.", _FORM)


def _known(name: str, known: Known | None, what: str) -> str:
    bare = name.strip()
    slashed = bare.replace("\\", "/")
    if known is None:
        return slashed
    for form in (name, bare, slashed):
        if known(form):
            return form
    raise CocosError(f"{what} {bare!r} is not in the dataset.", _FORM)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and fields of a CSV file; blank lines are left out."""
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if "".join(row).strip():
                    yield reader.line_num, row
    except OSError as error:
        raise CocosError(f"{path}: cannot be read ({error.strerror}).") from None
    except csv.Error as error:
        raise CocosError(f"{path}, line {reader.line_num}: {error}.", _FORM) from None


def write_references(path: Path, references: Iterable[Reference]) -> None:
    """Write a reference list, whole or not at all; a name with a comma is put in quotes.

    Those without exemplars have no line.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([r.query, *r.exemplars] for r in references if r.exemplars)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def named(
    queries: Iterable[str], indices: np.ndarray, name: Callable[[int], str]
) -> Iterator[Reference]:
    """Names of the queries, (Q,k) rows of the database (-1: none), their names -> references."""
    for query, rows in zip(queries, indices, strict=True):
        yield Reference(query, tuple(name(int(row)) for row in rows if row >= 0))


def renewed(
    before: Iterable[Reference], now: Iterable[Reference], changed: Container[str]
) -> Iterator[Reference]:
    """The lines of `now`, but those of `before` for queries that are not `changed`.

    Both are in the same order; `before` may lack some.
    """
    old = iter(before)
    line = next(old, None)
    for reference in now:
        same = line is not None and line.query == reference.query
        yield line if line is not None and same and reference.query not in changed else reference
        line = next(old, None) if same else line


def read_identities(path: Path) -> dict[str, str]:
    """A CSV with a row `name,identity` an image (a header line of these words is skipped).

    Raises CocosError with the line of the first row that is malformed or names an image again.
    """
    identities: dict[str, str] = {}
    for number, fields in _rows(path):
        row, where = [field.strip() for field in fields], f"{path}, line {number}"
        if not identities and [field.lower() for field in row] == ["name", "identity"]:
            continue
        if len(row) != 2 or not all(row):
            raise CocosError(f"{where}: {','.join(row)!r}; expected two fields: name,identity.")
        if row[0] in identities:
            raise CocosError(f"{where}: {row[0]!r} is listed twice.", "Keep one of its rows.")
        identities[row[0]] = row[1]
    if not identities:
        raise CocosError(f"{path}: no identities in it.", "Write a row name,identity an image.")
    return identities


def identity_pattern(pattern: str) -> Callable[[str], str | None]:
    """A regular expression with one group, e.g. `(id_\\d+)` -> a name's identity, None without.

    It is looked for anywhere in the name. Raises UsageError.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{pattern!r}: not a regular expression ({error}).") from None
    if compiled.groups != 1:
        raise UsageError(
            f"{pattern!r}: {compiled.groups} groups, expected one around the identity.",
            r"For DeepFashion it is (id_\d+).",
        )

    def identity(name: str) -> str | None:
        match = compiled.search(name)
        return match[1] or None if match else None

    return identity
