from __future__ import annotations

from math import isnan, nan

import torch

from cocoscli.metrics.summary import Mean


def test_pairs_without_a_figure_are_left_out_and_counted():
    assert Mean.of(torch.tensor([1.0, nan, 2.0])) == (1.5, 2, 1)


def test_nothing_measured_is_no_figure():
    mean = Mean.of(torch.tensor([nan]))
    assert isnan(mean.value) and mean[1:] == (0, 1)
