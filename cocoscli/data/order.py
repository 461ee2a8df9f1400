"""The order in which training sees its samples: a pure function of (seed, position).

Positions count samples from the start of training, over all processes and epochs: step t of batch
size B takes positions tB to tB + B - 1, whatever the number of processes and of their readers. So
nothing is lost or doubled, every process has the same number of steps, a resumed run goes on
exactly, and one process or many form the same batches.

An epoch goes through the shards in a drawn order, a window of them at a time, and mixes the
samples of a window: reads stay near each other and memory does not grow with the dataset.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

WINDOW = 8
"""Shards whose samples are mixed."""


class Order:
    """The order over shards that hold `counts` samples each, one after another."""

    def __init__(self, counts: Sequence[int], seed: int, window: int = WINDOW) -> None:
        if sum(counts) == 0:
            raise ValueError("no samples to put in order")
        self.counts, self.seed, self.window = list(counts), seed, window
        self.total = sum(counts)
        self._first = [0, *accumulate(counts)]
        self._kept: tuple[tuple[int, int], np.ndarray] | None = None
        self._epoch: tuple[int, list[np.ndarray], list[int]] | None = None

    def __getitem__(self, position: int) -> int:
        """The sample at a position: 0 .. total - 1, counted over the shards."""
        epoch, within = divmod(position, self.total)
        windows, ends = self._windows(epoch)
        number = bisect_right(ends, within)
        start = ends[number - 1] if number else 0
        return int(self._mixed(epoch, number, windows[number])[within - start])

    def _windows(self, epoch: int) -> tuple[list[np.ndarray], list[int]]:
        """The shards of each window of an epoch, and the positions at which windows end."""
        if self._epoch is None or self._epoch[0] != epoch:
            shards = np.random.default_rng((self.seed, epoch)).permutation(len(self.counts))
            windows = [shards[i : i + self.window] for i in range(0, len(shards), self.window)]
            sizes = (sum(self.counts[s] for s in window) for window in windows)
            self._epoch = (epoch, windows, list(accumulate(sizes)))
        return self._epoch[1], self._epoch[2]

    def _mixed(self, epoch: int, number: int, shards: np.ndarray) -> np.ndarray:
        if self._kept is None or self._kept[0] != (epoch, number):
            samples = np.concatenate(
                [np.arange(self._first[s], self._first[s + 1]) for s in shards]
            )
            np.random.default_rng((self.seed, epoch, number)).shuffle(samples)
            self._kept = ((epoch, number), samples)
        return self._kept[1]
