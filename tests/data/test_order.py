"""The data order: a pure function in which nothing is lost or doubled."""

from __future__ import annotations

from collections import Counter

import pytest

from cocoscli.data.order import Order


@pytest.mark.parametrize("counts", [[7], [3, 0, 5, 1], [2] * 30])
def test_every_epoch_has_every_sample_once(counts: list[int]) -> None:
    order = Order(counts, seed=1)
    total = sum(counts)
    for epoch in range(3):
        seen = [order[epoch * total + i] for i in range(total)]
        assert sorted(seen) == list(range(total))


def test_epochs_and_seeds_differ() -> None:
    order, other = Order([50], 1), Order([50], 2)
    first = [order[i] for i in range(50)]
    assert first != [order[50 + i] for i in range(50)]
    assert first != [other[i] for i in range(50)]


def test_any_position_may_be_asked_for_at_any_time() -> None:
    straight = Order([4, 9, 6], 5)
    there = [straight[i] for i in range(60)]
    assert [Order([4, 9, 6], 5)[i] for i in reversed(range(60))] == there[::-1]


def test_samples_of_a_window_of_shards_stay_together() -> None:
    order = Order([10] * 6, 0, window=2)
    seen = [order[i] // 10 for i in range(60)]
    for start in range(0, 60, 20):
        assert len(set(seen[start : start + 20])) == 2
    assert seen[:20] != sorted(seen[:20])  # but they are mixed


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_and_parts_share_the_positions_of_a_step(world: int) -> None:
    """As `load_training` cuts them: one shard, two processes, two parts a step too."""
    order, batch = Order([37], 3), 8
    for parts in (1, 2):
        size = batch // (parts * world)
        seen: Counter[int] = Counter()
        for rank in range(world):
            for k in range(37 * parts):  # steps and parts
                start = rank * size + k * size * world
                seen.update(range(start, start + size))
        assert set(seen.values()) == {1}
        assert sorted(seen) == list(range(37 * batch))
    assert sorted(order[i] for i in range(37)) == list(range(37))


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        Order([0, 0], 1)
