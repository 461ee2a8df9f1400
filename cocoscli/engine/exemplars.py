"""Which images travel with a sample as its exemplars."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cocoscli.data.references import identity_pattern, read_identities, read_references
from cocoscli.data.retrieval import (
    Retrieval,
    allowed_rows,
    codes_of,
    draw,
    in_groups,
    not_found,
)
from cocoscli.data.search import Found, Picked, top_k
from cocoscli.engine.scan import SPLITS, Scan, Source
from cocoscli.errors import CocosError, UsageError

STRATEGIES = ("layout", "features", "identity", "random", "none")


Search = Callable[[np.ndarray, np.ndarray], Found]
"""Items that ask and items that may be given -> what was found."""


def by_split(scan: Scan, k: int, query: str, search: Search) -> Retrieval:
    """Search split by split: training gives to all, and to itself only from training."""
    names = np.array(SPLITS)[scan.splits]
    indices, scores = not_found(len(names), k)
    leaking = False
    for split in map(str, np.unique(names)):
        asked = ((names == split) & scan.usable).nonzero()[0]
        given = allowed_rows(names, split)
        given = given[scan.usable[given]]
        some = len(asked) and len(given)
        part = Retrieval.of(
            search(asked, given) if some else not_found(len(asked), k), query, split
        )
        indices[asked], scores[asked] = part.indices, part.scores
        leaking |= part.leaking
    return Retrieval(indices, scores, query, leaking)


def nearest(scan: Scan, vectors: np.ndarray, k: int, query: str, asked_by: np.ndarray) -> Retrieval:
    """By descriptors (N,D): `asked_by` are those of the queries, the vectors themselves or those
    of a plain translation's outputs."""

    def search(asked: np.ndarray, given: np.ndarray) -> Found:
        codes = (scan.marks[asked], scan.marks)
        queries = Picked(asked_by, asked)
        return top_k(queries, vectors, k, rows=given, exclude=asked, codes=codes)

    return by_split(scan, k, query, search)


def drawn(source: Source, scan: Scan, k: int, seed: int) -> Retrieval:
    """By chance, from the seed and the name of each.

    Photos with known points draw among the others that have some, since a pair teaches by them only
    where both have.
    """
    draw_from = _draw(source, scan, k, seed)
    if source.points is None:
        return by_split(scan, k, "random", draw_from)
    known = np.array([source.has_points(i) for i in range(len(source))], bool)

    def search(asked: np.ndarray, given: np.ndarray) -> Found:
        indices, scores = not_found(len(asked), k)
        having = known[asked]
        indices[having], scores[having] = draw_from(asked[having], given[known[given]])
        alone = (indices < 0).all(axis=1)
        indices[alone], scores[alone] = draw_from(asked[alone], given)
        return indices, scores

    return by_split(scan, k, "random", search)


def _draw(source: Source, scan: Scan, k: int, seed: int) -> Search:
    def search(asked: np.ndarray, given: np.ndarray) -> Found:
        keys = (source.names[int(i)] for i in asked)
        codes = (scan.marks[asked], scan.marks)
        return draw(keys, given, k, seed, exclude=asked, codes=codes)

    return search


def of_identity(source: Source, scan: Scan, k: int, seed: int, identity: str) -> Retrieval:
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


def from_references(source: Source, path: Path) -> Retrieval:
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
    indices, scores = not_found(len(source), width)
    for i, chosen in rows.items():
        indices[i, : len(chosen)] = chosen
        scores[i, : len(chosen)] = 0
    return Retrieval(indices, scores, "references", False)
