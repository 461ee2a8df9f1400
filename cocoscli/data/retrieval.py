"""Which images of a dataset are an input's exemplars: who may be one, and how they are chosen.

Exemplars are row numbers of the database, -1 where there are fewer than k; `search.top_k` orders
them by their descriptors, `draw` by chance, `in_groups` does either within an identity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from cocoscli.data.search import Codes, Found

QUERIES = ("photo", "generated", "layout", "random", "identity", "references", "none")


@dataclass(frozen=True)
class Retrieval:
    """The exemplars of every query, and how they were asked for.

    Raises ValueError for an unknown query and for shapes that differ.
    """

    indices: np.ndarray
    """(Q,k) int32 rows of the database, -1 where there are fewer than k."""
    scores: np.ndarray
    """(Q,k) float32, -inf where there are fewer than k."""
    query: str
    """One of QUERIES; `identity+photo` and so on where a group was ordered by another one."""
    leaking: bool
    """Whether the truth of a test took part: results of such a test are too good."""

    def __post_init__(self) -> None:
        if unknown := set(self.query.split("+")) - set(QUERIES):
            raise ValueError(f"query {unknown.pop()!r}: expected one of {', '.join(QUERIES)}")
        if self.indices.ndim != 2 or self.indices.shape != self.scores.shape:
            raise ValueError(f"indices {self.indices.shape}, scores {self.scores.shape}")

    @classmethod
    def of(cls, found: Found, query: str, split: str) -> Retrieval:
        """What was found for the queries of one split."""
        return cls(*found, query, leaks(query, split))

    @classmethod
    def nothing(cls, count: int) -> Retrieval:
        """No exemplars for `count` queries."""
        return cls(*not_found(count, 0), "none", False)

    def each(self, q: int) -> Iterator[tuple[int, float]]:
        """(row of the database, score) of query q's exemplars, best first."""
        for j, score in zip(self.indices[q].tolist(), self.scores[q].tolist(), strict=True):
            if j >= 0:
                yield j, score

    def ends(self) -> Retrieval:
        """The first and the last of each list, as the release trains with."""
        if self.indices.shape[1] <= 2:
            return self
        last = np.maximum((self.indices >= 0).sum(axis=1) - 1, 1)
        columns = np.stack([np.zeros_like(last), last], axis=1)
        indices, scores = (np.take_along_axis(x, columns, 1) for x in (self.indices, self.scores))
        return replace(self, indices=indices, scores=scores)


def not_found(count: int, k: int) -> Found:
    """The answer to `count` queries where nothing is: -1 and -inf."""
    return np.full((count, k), -1, np.int32), np.full((count, k), -np.inf, np.float32)


def leaks(query: str, split: str) -> bool:
    """Whether a query of this split uses what is to be predicted: the photo, outside training."""
    return split != "train" and "photo" in query.split("+")


def allowed_rows(splits: np.ndarray, split: str, sources: Iterable[str] = ("train",)) -> np.ndarray:
    """splits (N,) names -> the rows, ascending int64, that queries of `split` may be given.

    These are the rows of `sources`; all of the query's own split where there are none. Raises
    ValueError where training would be given something else.
    """
    sources = set(sources)
    if split == "train" and sources != {"train"}:
        raise ValueError(f"training takes training exemplars only, not {sorted(sources)}")
    splits = np.asarray(splits)
    rows = np.isin(splits, sorted(sources)).nonzero()[0]
    return rows if len(rows) else (splits == split).nonzero()[0]


def codes_of(texts: Iterable[str | None]) -> np.ndarray:
    """Texts (an identity, a file's hash) -> (N,) int64 codes, equal where they are; None is -1.

    A code depends on its text alone, so those of different lists may be compared.
    """
    return np.fromiter((-1 if text is None else _digest(text) >> 1 for text in texts), np.int64)


def _digest(text: str) -> int:
    data = text.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def draw(
    keys: Iterable[str],
    rows: np.ndarray,
    k: int,
    seed: int,
    *,
    exclude: np.ndarray | None = None,
    codes: Codes | None = None,
) -> Found:
    """k distinct of `rows` for each key, with scores 0; `exclude` and `codes` as in `top_k`.

    A draw depends on seed, key and rows alone: not on the other keys nor on their order.
    """
    found = []
    for q, key in enumerate(keys):
        chosen: dict[int, None] = {}
        for row in _order(rows, k, _digest(f"{seed}/{key}")) if k else ():
            itself = exclude is not None and row == exclude[q]
            if not itself and (codes is None or not 0 <= codes[0][q] == codes[1][row]):
                chosen[row] = None
            if len(chosen) == k:
                break
        found.append([*chosen, *[-1] * (k - len(chosen))])
    indices = np.array(found, np.int32).reshape(len(found), k)
    return indices, np.where(indices < 0, -np.inf, 0).astype(np.float32)


def _order(rows: np.ndarray, k: int, seed: int) -> Iterator[int]:
    """Draws with repeats, of which a few mostly do, and then every row once."""
    generator = np.random.default_rng(seed)
    if len(rows):
        yield from rows[generator.integers(len(rows), size=4 * k)].tolist()
        yield from rows[generator.permutation(len(rows))].tolist()


def in_groups(
    search: Callable[[np.ndarray, np.ndarray], Found],
    groups: tuple[np.ndarray, np.ndarray],
    k: int,
    rows: np.ndarray | None = None,
) -> Found:
    """Exemplars among those of the query's own group.

    `groups` are codes (Q,) of the queries and (N,) of the database, below 0 for none; `search` is
    called once a group with the numbers of its queries and of its rows (of `rows`, where given).
    """
    queries, database = groups
    rows = np.arange(len(database)) if rows is None else rows
    rows = rows[np.argsort(database[rows], kind="stable")]
    order = np.argsort(queries, kind="stable")
    indices = np.full((len(queries), k), -1, np.int32)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    codes = np.unique(queries[queries >= 0])
    for asked, found in zip(
        _runs(order, queries, codes), _runs(rows, database, codes), strict=True
    ):
        if len(found):
            indices[asked], scores[asked] = search(asked, found)
    return indices, scores


def _runs(order: np.ndarray, values: np.ndarray, codes: np.ndarray) -> Iterator[np.ndarray]:
    """For each code the numbers in `order`, along which `values` rise, whose value it is."""
    risen = values[order]
    starts, stops = (np.searchsorted(risen, codes, side) for side in ("left", "right"))
    return (order[start:stop] for start, stop in zip(starts, stops, strict=True))
