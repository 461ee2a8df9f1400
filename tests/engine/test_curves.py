"""Curves: bins by hand, any length, values that are no numbers."""

from __future__ import annotations

import math
import tracemalloc

import pytest

from cocoscli.engine.training.curves import Curve


def curve(values: dict[int, float], most: int = 500) -> Curve:
    made = Curve(most)
    for step, value in values.items():
        made.add(step, value)
    return made


def test_few_points_stay_as_they_are():
    assert curve({10: 2.0, 1: 3.0}).points() == [(1, 3.0, 3.0, 3.0), (10, 2.0, 2.0, 2.0)]
    assert Curve().points() == []


def test_bins_by_hand():
    """Four bins at most: steps 0..7 go two by two, each with its mean and range."""
    points = curve({step: float(step * step) for step in range(8)}, most=4).points()
    assert points == [
        (0, 0.5, 0.0, 1.0),
        (2, 6.5, 4.0, 9.0),
        (4, 20.5, 16.0, 25.0),
        (6, 42.5, 36.0, 49.0),
    ]


def test_a_bin_weighs_every_value_once():
    """Merged bins of different counts: the mean is of values, not of means."""
    points = curve({0: 0.0, 1: 0.0, 2: 0.0, 3: 8.0, 4: 1.0}, most=2).points()
    assert points == [(2, 2.0, 0.0, 8.0), (4, 1.0, 1.0, 1.0)]


def test_any_length_is_few_points_that_cover_it():
    values = {step: math.sin(step / 1e4) for step in range(10, 200_001, 10)}
    points = curve(values).points()
    assert 250 <= len(points) <= 500
    assert points[0][0] < 500 and points[-1][0] > 199_000
    for step, mean, low, high in points:
        assert low <= mean <= high and mean == pytest.approx(math.sin(step / 1e4), abs=0.03)


def test_memory_does_not_grow_with_the_length():
    tracemalloc.start()
    made = Curve()
    for step in range(50_000):
        made.add(step, 1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500_000


def test_what_is_no_number_is_left_out():
    values = {1: 1.0, 2: math.inf, 3: math.nan, 4: -math.inf}
    assert curve(values).points() == [(1, 1.0, 1.0, 1.0)]


def test_values_have_four_digits():
    assert curve({1: 1234.5678, 2: 0.000123456}).points() == [
        (1, 1235.0, 1235.0, 1235.0),
        (2, 0.0001235, 0.0001235, 0.0001235),
    ]
