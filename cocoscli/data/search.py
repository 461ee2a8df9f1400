"""The nearest rows of a large array of descriptors, exactly and reproducibly.

Shapes: Q queries, N rows of the database, D values a descriptor, k rows wanted; q and n are those
of a block.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cocoscli.errors import CocosError

Found = tuple[np.ndarray, np.ndarray]
"""(Q,k) int32 rows of the database and (Q,k) float32 scores; -1 and -inf where there are fewer."""
Codes = tuple[np.ndarray, np.ndarray]
"""(Q,) and (N,) int64: equal non-negative codes are copies of one image."""

_BITS = 26  # of a value, after rounding: two of them and their sum fit float64's 53
_LOW = 2**32 - 1  # the half of a key that holds the row
_EMPTY = -(2**63)  # the key of no row, below all others


@dataclass(frozen=True)
class Picked:
    """Some rows of a mapped array (N,D), read block by block: memory may not hold them all."""

    array: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice | np.ndarray) -> np.ndarray:
        return np.asarray(self.array[self.rows[part]])

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), self.array.shape[1]

    @property
    def ndim(self) -> int:
        return self.array.ndim


def top_k(
    queries: np.ndarray | Picked,
    database: np.ndarray,
    k: int,
    *,
    rows: np.ndarray | None = None,
    exclude: np.ndarray | None = None,
    codes: Codes | None = None,
    device: torch.device | str = "cpu",
    blocks: tuple[int, int] = (512, 1024),
    progress: Callable[[int], object] = lambda done: None,
) -> Found:
    """The k rows of database (N,D) with the largest inner product with each of queries (Q,D).

    Both are float16 or float32, in memory or mapped, and read in `blocks` of so many queries and
    rows; equal scores go by the lower row. Only `rows` (distinct; default: all) are searched;
    `exclude` (Q,) names a row that a query never gets (-1: none); neither does it get a row with
    its code. `progress` is told the number of queries done after each block. Blocks of queries
    are shared out to as many threads as torch has.

    The result depends on neither blocks nor device. Floating-point sums depend on their order, so
    values are rounded to 2^-26 of the largest norm: then sums in float64 are exact. Rows that may
    count are found in float32 first, within its worst error; only these are summed exactly.
    Raises ValueError for shapes that do not fit, CocosError for values that are not finite.
    """
    if k < 1 or queries.ndim != 2 or database.ndim != 2 or queries.shape[1] != database.shape[1]:
        raise ValueError(f"k {k}, queries {queries.shape}, database {database.shape}")
    rows = None if rows is None else np.asarray(rows, np.int64)
    if torch.device(device).type == "mps":  # has no float64
        device = "cpu"
    norms = _largest_norm(queries, None, blocks[1]), _largest_norm(database, rows, blocks[1])
    search = _Search(database, rows, codes and codes[1], norms, device, blocks[1])
    indices = np.full((len(queries), k), -1, np.int32)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    parts = [slice(start, start + blocks[0]) for start in range(0, len(queries), blocks[0])]

    def one(part: slice) -> Found:
        never = np.full(len(queries[part]), -1) if exclude is None else exclude[part]
        return _unpack(search(queries[part], k, never, codes and codes[0][part]))

    with _threads(torch.get_num_threads() if torch.device(device).type == "cpu" else 1) as pool:
        for part, (indices[part], scores[part]) in zip(parts, pool.map(one, parts), strict=True):
            progress(len(indices[part]))
    return indices, scores


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads on one core each: at products this small a team would mostly wait for its members."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # part of that setting is the whole process's


@dataclass(frozen=True)
class _Search:
    """The database and all that is the same for every block of queries."""

    database: np.ndarray
    rows: np.ndarray | None
    codes: np.ndarray | None
    norms: tuple[float, float]
    device: torch.device | str
    block: int

    def __call__(
        self, queries: np.ndarray, k: int, never: np.ndarray, codes: np.ndarray | None
    ) -> Tensor:
        """queries (q,D) -> (q,k) int64 keys of the best rows, falling."""
        scales = [_scale(norm) for norm in self.norms]
        rough = _tensor(queries, self.device)
        exact = _integers(rough, scales[0])
        best = torch.full((len(queries), k), _EMPTY, device=self.device)
        for ids, values in _blocks(self.database, self.rows, self.block):
            block = _tensor(values, self.device)
            q, r = _screen(rough, block, _scores(best[:, -1]) - self._error())
            if not len(q):
                continue
            sums = exact[q] @ _integers(block[r], scales[1]).T
            ids, asked = ids[r.cpu().numpy()], q.cpu().numpy()
            keys = _pack((sums * (scales[0] * scales[1] * 4.0**-_BITS)).float(), ids)
            forbidden = self._forbidden(ids, never[asked], codes if codes is None else codes[asked])
            keys.masked_fill_(forbidden.to(self.device), _EMPTY)
            best[q] = torch.cat([best[q], keys], 1).topk(k).values
        return best

    def _error(self) -> float:
        """What a float32 score may be off by: rounding at each of D additions, and a little."""
        coarse = torch.get_float32_matmul_precision() != "highest"
        unit = (self.database.shape[1] + 16) * 2.0**-24 + coarse * 2.0**-7
        return unit * math.prod(self.norms)

    def _forbidden(self, ids: np.ndarray, never: np.ndarray, codes: np.ndarray | None) -> Tensor:
        """ids (n,), never (q,), codes (q,) -> (q,n) bool: who may not have what."""
        mask = ids == never[:, None]
        if codes is not None and self.codes is not None:
            mask |= (self.codes[ids] == codes[:, None]) & (codes[:, None] >= 0)
        return torch.from_numpy(mask)


def _screen(queries: Tensor, block: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of queries (q,D) and rows (n,D) with a product above the query's floor (q,)."""
    if bool((floor == -math.inf).all()):
        q, r = (torch.arange(len(x), device=x.device) for x in (queries, block))
        return q, r
    products = queries @ block.T
    q = (products.amax(1) > floor).nonzero()[:, 0]
    return q, (products[q] > floor[q, None]).any(0).nonzero()[:, 0]


def _blocks(
    array: np.ndarray | Picked, rows: np.ndarray | None, size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row numbers and values of at most `size` rows at a time."""
    count = len(array) if rows is None else len(rows)
    for start in range(0, count, size):
        stop = min(start + size, count)
        if rows is None:
            yield np.arange(start, stop), array[start:stop]
        else:
            yield rows[start:stop], array[rows[start:stop]]


def _tensor(values: np.ndarray, device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.array(values, np.float32)).to(device)


def _largest_norm(array: np.ndarray | Picked, rows: np.ndarray | None, size: int) -> float:
    """The largest Euclidean norm of a row; CocosError names the first that is not finite."""
    largest = 0.0
    for ids, values in _blocks(array, rows, size):
        norms = np.linalg.norm(values.astype(np.float32), axis=1)
        if not np.isfinite(norms).all():
            row = ids[~np.isfinite(norms)][0]
            raise CocosError(
                f"The descriptor in row {row} is not finite.", "Check the features' weights."
            )
        largest = max(largest, float(norms.max()))
    return largest


def _scale(norm: float) -> float:
    """The power of two that values are fractions of; 1 for rows normalised up to rounding."""
    return 2.0 ** math.ceil(math.log2(norm / 1.01)) if norm else 1.0


def _integers(values: Tensor, scale: float) -> Tensor:
    """Whole numbers in float64, whose inner products stay below 2^53: exact in any order."""
    return (values.double() * (2.0**_BITS / scale)).round_()


def _pack(scores: Tensor, ids: np.ndarray) -> Tensor:
    """scores (q,n) float32, ids (n,) -> int64 keys that order by score, then by lower id."""
    bits = (scores + 0.0).view(torch.int32).long()  # + 0.0: minus zero equals zero
    ordered = bits ^ ((bits >> 63) & 0x7FFFFFFF)
    return (ordered << 32) | (_LOW - torch.from_numpy(ids).to(scores.device))


def _scores(keys: Tensor) -> Tensor:
    ordered = keys >> 32
    scores = (ordered ^ ((ordered >> 63) & 0x7FFFFFFF)).int().view(torch.float32)
    return scores.masked_fill(keys == _EMPTY, -math.inf)


def _unpack(keys: Tensor) -> Found:
    ids = torch.where(keys == _EMPTY, -1, _LOW - (keys & _LOW))
    return ids.int().cpu().numpy(), _scores(keys).cpu().numpy()
