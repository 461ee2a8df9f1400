from __future__ import annotations

import numpy as np
import pytest

from cocoscli.metrics.bootstrap import paired_difference


def test_a_constant_difference_is_sure():
    values = np.random.default_rng(0).random(50)
    found = paired_difference(values + 0.25, values)
    assert found is not None and found.pairs == 50
    assert found[:3] == pytest.approx((0.25, 0.25, 0.25))


def test_noise_of_mean_zero_has_an_interval_around_zero():
    rng = np.random.default_rng(1)
    gaps = rng.standard_normal(400)
    found = paired_difference(gaps - gaps.mean(), np.zeros(400))
    assert found is not None and found.low < 0 < found.high
    # 1.96 standard errors to each side
    assert found.high - found.low == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_pairs_without_a_figure_do_not_count_and_the_seed_decides():
    one, other = np.array([1.0, np.nan, 3.0, 9.0]), np.array([0.0, 1.0, np.nan, 1.0])
    found = paired_difference(one, other, seed=5)
    assert found == paired_difference(one, other, seed=5)
    assert found is not None and found.pairs == 2 and found.mean == 4.5
    assert paired_difference(one[:1], other[:1]) is None
