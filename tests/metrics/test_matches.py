"""Figures of a match and its two failures, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from cocosnet.flow import centres

from cocoscli.metrics.matches import Quality, count_usage, judge

SIDE = 10


def judged(confidence: float = 0.9, unsure: int = 0, usage: np.ndarray | None = None) -> Quality:
    sure = np.full(SIDE * SIDE, confidence)
    sure[:unsure] = 0.4
    shape = (SIDE, SIDE)
    used = np.ones(shape, np.int32) if usage is None else usage
    return judge(sure.reshape(shape), np.full(shape, 3.0), np.eye(SIDE, dtype=bool), used)


def test_a_match_in_place_uses_each_position_once():
    assert (count_usage(centres((3, 4)).numpy(), (3, 4)) == 1).all()


def test_usage_counts_cells():
    best = np.broadcast_to(np.array([5.5, 1.5], np.float32), (3, 4, 2))  # column 1, row 0
    assert count_usage(best, (2, 3)).tolist() == [[0, 12, 0], [0, 0, 0]]


def test_figures():
    found = judged()
    assert (found.confidence, found.cycle_error, found.mutual) == (0.9, 3.0, 0.1)
    assert (found.most_used, found.used, found.low_confidence) == (1, 1.0, 0.0)
    assert not found.one_to_many and not found.many_to_one


@pytest.mark.parametrize(("unsure", "flagged"), [(49, False), (50, True)])
def test_one_to_many_from_half_of_the_cells_on(unsure, flagged):
    found = judged(unsure=unsure)
    assert found.low_confidence == unsure / 100 and found.one_to_many == flagged


@pytest.mark.parametrize(("most", "flagged"), [(9, False), (10, True)])
def test_many_to_one_from_a_tenth_of_the_cells_on(most, flagged):
    usage = np.ones((SIDE, SIDE), np.int32)
    usage[0, 0] = most
    found = judged(usage=usage)
    assert found.most_used == most and found.many_to_one == flagged


@pytest.mark.parametrize(("positions", "flagged"), [(25, False), (24, True)])
def test_many_to_one_where_few_positions_are_used(positions, flagged):
    usage = np.zeros(SIDE * SIDE, np.int32)
    usage[:positions] = 4
    found = judged(usage=usage.reshape(SIDE, SIDE))
    assert found.used == positions / 100 and found.many_to_one == flagged


def test_positions_that_could_be_used_are_no_more_than_the_cells():
    usage = np.zeros((40, 40), np.int32)
    usage.flat[:100] = 1
    assert judged(usage=usage).used == 1.0
