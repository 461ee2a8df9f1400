"""Training batches: whose positions they are, and what stands in for what cannot be read."""

from __future__ import annotations

import os
import signal
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import get_worker_info

from cocoscli.data.order import Order
from cocoscli.data.training import TrainingItem
from cocoscli.engine.parallel import read_in_order
from cocoscli.engine.training.distributed import Processes
from cocoscli.engine.training.loading import (
    BAD_IN_A_ROW,
    Loaded,
    TrainingData,
    load_training,
)
from cocoscli.errors import BadInput, CocosError


class Numbers:
    """Shards whose sample i is i."""

    counts = (12,)

    def __init__(self, bad: tuple[int, ...] = ()) -> None:
        self.bad = bad

    def sample(self, i: int) -> int:
        return i

    def training(self, number: int, seed: tuple[int, ...]) -> TrainingItem:
        """The reader too: an item that says its sample and seed."""
        if number in self.bad:
            raise BadInput(f"{number} is bad.")
        photo = np.full((1, 1, 3), number, np.uint8)
        drawn = np.random.default_rng(seed).integers(0, 256, (1, 1, 1), dtype=np.uint8)
        return TrainingItem(str(number), photo, drawn, photo, None, False)


def data(*bad: int, seed: int = 3) -> TrainingData:
    numbers = Numbers(bad)
    return TrainingData(numbers, Order(numbers.counts, seed), numbers, seed)  # type: ignore


def test_another_sample_stands_in_for_a_bad_one_always_the_same():
    order = Order((12,), 3)
    bad = order[5]
    whole, torn = data()[tuple(range(12))], data(bad)[tuple(range(12))]
    assert torn.skipped == (f"{bad} is bad.",) and whole.skipped == ()
    expected = [str(order[6 if i == 5 else i]) for i in range(12)]
    assert list(torn.keys) == expected
    others = [i for i in range(12) if i != 5]
    assert torch.equal(torn.condition[others], whole.condition[others])
    for batch in ((5,), (4, 5), (5, 6)):  # whatever it is read with
        alone = data(bad)[batch]
        assert torch.equal(alone.condition, torn.condition[list(batch)])
        assert list(alone.keys) == [expected[i] for i in batch]


def test_too_many_bad_ones_in_a_row_end_it():
    with pytest.raises(CocosError, match=f"{BAD_IN_A_ROW} samples in a row cannot be read"):
        data(*range(12))[(0,)]
    only = data(*[i for i in range(12) if i != 4])
    assert set(only[tuple(range(3))].keys) == {"4"}  # one in twelve is found


@pytest.mark.parametrize(("world", "parts"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_processes_and_parts_share_the_positions_of_each_step(world, parts):
    taken = []
    for rank in range(world):
        batches = load_training(data(), (4, parts), 2, Processes(rank, world), 0)
        for batch in islice(batches, 3 * parts):
            taken += batch.positions
        batches.close()
    assert sorted(taken) == list(range(8, 20))  # steps 2, 3 and 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_leaves_readers_at_work(number):
    """The main process may want to end its step, which takes what they read."""

    class Pids:
        def __getitem__(self, batch):
            assert get_worker_info() is not None
            return os.getpid()

    read = read_in_order(Pids(), ((i,) for i in range(40)), 1)
    pid = next(read)
    assert pid != os.getpid()
    os.kill(pid, number)
    assert set(read) == {pid}


def test_points_are_filled_up_to_the_longest():
    items = [
        TrainingItem(str(n), *[np.zeros((1, 1, 3), np.uint8)] * 3, None, False,
                     np.full((n, 4), n, np.float32))
        for n in range(3)
    ]  # fmt: skip
    points = Loaded.of(items, (0, 1, 2)).points
    assert points is not None and points.shape == (3, 2, 4)
    assert points[0].isnan().all() and points[1, 1].isnan().all()
    assert (points[1, 0] == 1).all() and (points[2] == 2).all()
    assert Loaded.of(items[:1], (0,)).points.isnan().all()  # as all processes have some
    assert Loaded.of([items[1]._replace(points=None)], (0,)).points is None
