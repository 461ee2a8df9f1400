from __future__ import annotations

from math import isnan, nan

import numpy as np
import torch

from cocoscli.metrics.summary import Mean, worst_end


def test_pairs_without_a_figure_are_left_out_and_counted():
    assert Mean.of(torch.tensor([1.0, nan, 2.0])) == (1.5, 2, 1)


def test_nothing_measured_is_no_figure():
    mean = Mean.of(torch.tensor([nan]))
    assert isnan(mean.value) and mean[1:] == (0, 1)


def test_the_worst_end_depends_on_what_is_better():
    values = np.array([*range(101), nan])
    assert worst_end(values, "higher") == 5 and worst_end(values, "lower") == 95
    assert isnan(worst_end(np.array([nan]), "higher"))
