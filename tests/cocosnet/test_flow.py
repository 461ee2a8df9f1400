from __future__ import annotations

import math

import pytest
import torch
from cocosnet import flow, matching
from cocosnet.descriptors import Side, correlation, describe
from tiny import gap, noise
from torch import Tensor

TEMPERATURE = 0.05


def smooth(height: int, width: int, centre: tuple[float, float]) -> Tensor:
    """A peak at (x, y) cells, as two channels on a circle: correlations fall off smoothly."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    angle = 0.3 * torch.hypot(x - centre[0], y - centre[1])
    return torch.stack([angle.cos(), angle.sin(), torch.zeros_like(angle)])[None]


def side(features: Tensor) -> Side:
    """Unit vectors as they are."""
    return Side(features.permute(0, 2, 3, 1).contiguous(), None, None)


@pytest.mark.parametrize("kernel", [1, 3])
def test_mean_and_covariance_are_those_of_the_dense_softmax(kernel):
    query, key = noise(2, 4, 3, 5), noise(2, 4, 4, 6, seed=1)
    stats = matching.statistics(describe(query, kernel), describe(key, kernel), TEMPERATURE)
    p = torch.softmax(correlation(query, key, kernel) / TEMPERATURE, dim=-1)
    at = flow.cells(torch.arange(24), 6).float()
    mean = p @ at
    apart = at - mean[:, :, None]
    covariance = torch.einsum("bin,bind,bine->bide", p, apart, apart)
    assert gap(stats.mean.flatten(1, 2), mean) < 1e-5
    upper = covariance[:, :, [0, 0, 1], [0, 1, 1]]
    assert gap(stats.covariance.flatten(1, 2), upper) < 1e-4


def test_mutual_matches_usage_and_the_way_back_by_hand():
    # query cells 0, 1, 2 against key cells 0, 1: both 0 and 1 match key 0, which prefers 1
    stats = matching.Statistics(
        best=torch.tensor([[[0, 0, 1]]]),
        maximum=torch.ones(1, 1, 3),
        entropy=torch.zeros(1, 1, 3),
        mean=torch.zeros(1, 1, 3, 2),
        covariance=torch.zeros(1, 1, 3, 3),
        best_back=torch.tensor([[[1, 2]]]),
    )
    assert flow.mutual(stats).tolist() == [[[False, True, True]]]
    assert flow.usage(stats).tolist() == [[[2, 1]]]
    assert flow.cycle_error(stats).tolist() == [[[4.0, 0.0, 0.0]]]


@pytest.mark.parametrize("kernel", [1, 3])
def test_correlation_at_positions_equals_the_dense_matrix(kernel):
    query, key = noise(2, 4, 3, 5), noise(1, 4, 4, 6, seed=1)
    index = torch.randint(24, (2, 3, 5), generator=torch.Generator().manual_seed(0))
    ours = flow.correlation_at(describe(query, kernel), describe(key, kernel), flow.cells(index, 6))
    dense = correlation(query, key.expand(2, -1, -1, -1), kernel)
    expected = torch.gather(dense, 2, index.flatten(1)[:, :, None])[:, :, 0]
    assert gap(ours.flatten(1), expected) < 1e-5


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.3, -0.2), (-0.45, 0.4)])
def test_a_refined_match_lies_at_the_top_between_cells(offset):
    centre = (4 + offset[0], 3 + offset[1])
    query = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    sides = side(query), side(smooth(7, 9, centre))
    best = matching.statistics(*sides, 0.01).best
    assert best.item() == 3 * 9 + 4
    x, y = flow.refined(*sides, best)[0, 0, 0].tolist()
    assert x == pytest.approx(4 * centre[0] + 1.5, abs=0.1)
    assert y == pytest.approx(4 * centre[1] + 1.5, abs=0.1)


def test_a_refined_match_stays_at_the_border():
    sides = side(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)), side(smooth(5, 5, (-0.4, 4.4)))
    best = torch.tensor([[[20]]])  # the cell (0, 4)
    assert flow.refined(*sides, best)[0, 0, 0].tolist() == [1.5, 17.5]


def test_a_flat_correlation_has_no_top():
    sides = side(torch.ones(1, 1, 1, 1)), side(torch.ones(1, 1, 3, 3))
    assert flow.refined(*sides, torch.tensor([[[4]]]))[0, 0, 0].tolist() == [5.5, 5.5]


def pixel_grid(height: int, width: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x, y], dim=-1).float()


def test_between_cells_a_shift_stays_exact():
    shift = torch.tensor([5.0, -2.0])
    found = flow.displacement_at(flow.centres((3, 4))[None] + shift, pixel_grid(12, 16))
    assert gap(found[0], shift.expand(12, 16, 2)) < 1e-5


def test_between_cells_a_scaling_is_interpolated():
    inside = pixel_grid(16, 16)[2:14, 2:14]
    found = flow.displacement_at(flow.centres((4, 4))[None] * 1.2, inside)
    assert gap(found[0], inside * 0.2) < 1e-4


def test_between_cells_the_two_sides_of_a_jump_are_not_mixed():
    own = flow.centres((2, 4))[None]
    far = torch.tensor([100.0, 0.0])
    jump = torch.where(torch.arange(4)[None, None, :, None] < 2, own, own + far)
    moved = flow.displacement_at(jump, pixel_grid(8, 16))[0, :, :, 0]
    assert gap(moved[:, :8], torch.zeros(8, 8)) < 1e-5
    assert gap(moved[:, 8:], torch.full((8, 8), 100.0)) < 1e-4


def test_at_the_cells_and_beyond_the_border_displacements_are_the_cells_own():
    some = noise(2, 3, 4, 2) * 9
    own = flow.centres((3, 4))
    assert gap(flow.displacement_at(some, own) + own, some) < 1e-5
    outside = torch.tensor([[-50.0, -50.0], [99.0, 99.0]])
    corners = (some - own)[:, [0, -1], [0, -1]]
    assert gap(flow.displacement_at(some, outside), corners) < 1e-5


def test_confidence_of_a_thousand_alike_is_zero():
    assert float(flow.confidence(torch.tensor(math.log(1000)), 1000)) == pytest.approx(0, abs=1e-6)
