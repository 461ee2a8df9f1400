"""Which images travel with a sample as its exemplars."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cocoscli.data.references import identity_pattern, read_identities, read_references
from cocoscli.data.retrieval import allowed_rows, codes_of, draw, in_groups, leaks
from cocoscli.data.search import Found, top_k
from cocoscli.engine.scan import SPLITS, Scan, Source
from cocoscli.errors import CocosError, UsageError

STRATEGIES = ("layout", "features", "identity", "random", "none")


@dataclass(frozen=True)
class Chosen:
    """The exemplars of every item, best first."""

    indices: np.ndarray
    """(N,m) int32 items, -1 for none."""
    scores: np.ndarray
    """(N,m) float32."""
    query: str
    """How they were asked for: one of `retrieval.QUERIES`, `references` or `none`."""
    leaking: bool = False
    """Whether a test photo itself was the query, so that the truth took part."""

    def of(self, i: int) -> Iterator[tuple[int, float]]:
        for j, score in zip(self.indices[i].tolist(), self.scores[i].tolist(), strict=True):
            if j >= 0:
                yield j, score

    def ends(self) -> Chosen:
        """The first and the last of each list, as the release trains with."""
        width = self.indices.shape[1]
        if width <= 2:
            return self
        last = np.maximum((self.indices >= 0).sum(axis=1) - 1, 1)
        rows = np.arange(len(self.indices))
        columns = np.stack([np.zeros_like(last), last], axis=1)
        return Chosen(
            self.indices[rows[:, None], columns], self.scores[rows[:, None], columns],
            self.query, self.leaking,
        )  # fmt: skip


def nothing(count: int) -> Chosen:
    return Chosen(np.full((count, 0), -1, np.int32), np.zeros((count, 0), np.float32), "none")


Search = Callable[[np.ndarray, np.ndarray], Found]
"""Items that ask and items that may be given -> what was found."""


def by_split(scan: Scan, k: int, query: str, search: Search) -> Chosen:
    """Search split by split: training gives to all, and to itself only from training."""
    names = np.array(SPLITS)[scan.splits]
    indices = np.full((len(names), k), -1, np.int32)
    scores = np.zeros((len(names), k), np.float32)
    leaking = False
    for split in np.unique(names):
        asked = ((names == split) & scan.usable).nonzero()[0]
        given = allowed_rows(names, str(split))
        given = given[scan.usable[given]]
        if len(asked) and len(given):
            indices[asked], scores[asked] = search(asked, given)
        leaking |= leaks(query, str(split))
    return Chosen(indices, np.where(indices < 0, 0, scores), query, leaking)


def nearest(scan: Scan, vectors: np.ndarray, k: int, query: str, asked_by: np.ndarray) -> Chosen:
    """By descriptors (N,D): `asked_by` are those of the queries, the vectors themselves or those
    of a plain translation's outputs."""

    def search(asked: np.ndarray, given: np.ndarray) -> Found:
        codes = (scan.marks[asked], scan.marks)
        return top_k(asked_by[asked], vectors, k, rows=given, exclude=asked, codes=codes)

    return by_split(scan, k, query, search)


def drawn(source: Source, scan: Scan, k: int, seed: int) -> Chosen:
    """By chance, from the seed and the name of each."""
    return by_split(scan, k, "random", _draw(source, scan, k, seed))


def _draw(source: Source, scan: Scan, k: int, seed: int) -> Search:
    def search(asked: np.ndarray, given: np.ndarray) -> Found:
        keys = (source.names[int(i)] for i in asked)
        codes = (scan.marks[asked], scan.marks)
        return draw(keys, given, k, seed, exclude=asked, codes=codes)

    return search


def of_identity(source: Source, scan: Scan, k: int, seed: int, identity: str) -> Chosen:
    """Other images of the same person (or thing): `identity` is a CSV file or a pattern."""
    name_of = _table(Path(identity)) if Path(identity).is_file() else identity_pattern(identity)
    groups = codes_of(name_of(name) for name in source.names)
    if (groups < 0).all():
        raise UsageError(
            f"--identity {identity}: gives no name of the dataset an identity.",
            "Give a CSV of name,identity rows or a pattern with one group, like '(id_[0-9]+)'.",
        )
    draw_from = _draw(source, scan, k, seed)

    def search(asked: np.ndarray, given: np.ndarray) -> Found:
        return in_groups(
            lambda q, r: draw_from(asked[q], r), (groups[asked], groups), k, rows=given
        )

    return by_split(scan, k, "identity", search)


def _table(path: Path) -> Callable[[str], str | None]:
    names = read_identities(path)
    return lambda name: names.get(name) or names.get(Path(name).name)


def from_references(source: Source, path: Path) -> Chosen:
    """As a released `*_ref.txt` says: names below the root, or of its photos."""
    index = {name: i for i, name in enumerate(source.names)}
    for i in range(len(source)):
        photo = source.layout.photo(source.item(i))
        if photo is not None:
            index.setdefault(photo.name, i)
            index.setdefault(os.path.relpath(photo, source.root), i)
    rows: dict[int, tuple[int, ...]] = {}
    for reference in read_references(path, index.__contains__, index.__contains__):
        i, exemplars = index[reference.query], tuple(index[name] for name in reference.exemplars)
        if i in exemplars:
            raise CocosError(
                f"{path}: {reference.query} is its own exemplar.", "Take it out of its list."
            )
        rows[i] = exemplars
    if not rows:
        raise CocosError(f"{path}: no references in it.", "Write query,exemplar,... lines.")
    width = max(map(len, rows.values()))
    indices = np.full((len(source), width), -1, np.int32)
    for i, chosen in rows.items():
        indices[i, : len(chosen)] = chosen
    return Chosen(indices, np.zeros(indices.shape, np.float32), "references")
