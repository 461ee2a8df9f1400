from __future__ import annotations

import math

import byhand
import numpy as np
import pytest
import torch
from byhand import array
from cocosnet import flow, matching, tiles
from cocosnet.descriptors import Side, correlation, describe
from tiny import gap, noise, saved_bytes
from torch import Tensor

TEMPERATURE = 0.05


def grid(*columns: tuple[float, ...]) -> Tensor:
    """One row of positions with these channels: (1,C,1,W)."""
    return torch.tensor(columns, dtype=torch.float32).t()[None, :, None, :]


def dense(query: Tensor, key: Tensor, kernel: int, norm: str = "channel") -> Tensor:
    """The whole correlation matrix of sides whose batch may be 1."""
    batch = max(len(query), len(key))
    sides = (x.expand(batch, -1, -1, -1) for x in (query, key))
    return correlation(*sides, kernel, norm)


# Eq. 3


def test_correlation_of_three_descriptors_by_hand():
    query = grid((2, 0, 1))  # centred (1, -1, 0)
    key = grid((3, 1, 2), (0, 2, 1), (1, 1, 4), (3, 0, 0))
    expected = [1, -1, 0, 3 / math.sqrt(2 * 6)]  # (2, -1, -1) . (1, -1, 0) = 3
    assert correlation(query, key)[0, 0].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kernel", [1, 3])
def test_correlation_equals_the_loops_by_hand(kernel):
    query, key = noise(1, 4, 3, 2), noise(1, 4, 2, 5, seed=1)
    ours = correlation(query, key, kernel)
    expected = byhand.eq3(array(query)[0], array(key)[0], kernel)
    assert ours.shape == (1, 6, 10)
    assert np.abs(array(ours)[0] - expected).max() < 1e-6


def test_correlation_ignores_an_offset_and_a_scale_of_a_descriptor():
    query, key = noise(1, 5, 2, 3), noise(1, 5, 2, 3, seed=1)
    assert gap(correlation(query, key), correlation(3 * query + 7, key)) < 1e-5


def test_spatial_norm_takes_off_each_channels_mean_over_positions():
    # channel means (2, 1): centred (-1, 1), (1, -1); in the key (0, 2): (1, 0), (-1, 0)
    query, key = grid((1, 2), (3, 0)), grid((1, 2), (-1, 2))
    s = 1 / math.sqrt(2)
    expected = [[-s, s], [s, -s]]
    assert np.allclose(array(correlation(query, key, norm="spatial"))[0], expected)


def test_spatial_norm_belongs_to_single_cells():
    with pytest.raises(ValueError, match="kernel 1"):
        describe(noise(1, 2, 3, 3), 3, "spatial")


# Eq. 4 and 12


def test_warp_of_one_position_by_hand():
    query, key = grid((2, 0, 1)), grid((3, 1, 2), (1, 1, 4), (0, 2, 1))  # M = 1, 0, -1
    values = grid((10,), (20,), (40,))
    e = math.e
    expected = (10 * e + 20 + 40 / e) / (e + 1 + 1 / e)
    ours = matching.warp(describe(query), describe(key), values, temperature=1.0)
    assert ours.shape == (1, 1, 1, 1)
    assert float(ours) == pytest.approx(expected, rel=1e-6)


def test_the_temperature_divides_the_correlation():
    query, key = grid((2, 0, 1)), grid((3, 1, 2), (1, 1, 4))  # M = 1, 0
    values = grid((0,), (1,))
    ours = matching.warp(describe(query), describe(key), values, temperature=0.5)
    assert float(ours) == pytest.approx(1 / (math.exp(2) + 1), rel=1e-5)


@pytest.mark.parametrize("kernel", [1, 3])
def test_there_and_back_equals_the_loops_by_hand(kernel):
    query, key, values = noise(1, 4, 3, 2), noise(1, 4, 2, 5, seed=1), noise(1, 2, 2, 5, seed=2)
    m = byhand.eq3(array(query)[0], array(key)[0], kernel)
    sides = describe(query, kernel), describe(key, kernel)
    there = byhand.eq4(m, array(values)[0].reshape(2, -1), TEMPERATURE)
    ours = matching.warp(*sides, values, TEMPERATURE)
    assert ours.shape == (1, 2, 3, 2)
    assert np.abs(array(ours)[0].reshape(2, -1) - there).max() < 1e-5
    back = matching.warp(*sides[::-1], ours, TEMPERATURE)
    expected = byhand.eq12(m, there, TEMPERATURE)
    assert back.shape == (1, 2, 2, 5)
    assert np.abs(array(back)[0].reshape(2, -1) - expected).max() < 1e-5


# Streamed = dense


@pytest.fixture(params=[(1, 1), (2, 100), (16, 2**22)], ids=["rows", "few", "all"])
def blocks(request, monkeypatch):
    """How many correlations are held at once: two key rows against one row, a few, all."""
    rows, elements = request.param
    monkeypatch.setattr(tiles, "STRIP_ROWS", rows)
    monkeypatch.setattr(tiles, "TILE_ELEMENTS", elements)


SHAPES = [
    pytest.param((2, 6, 5, 4), (2, 6, 3, 7), id="grids differ"),
    pytest.param((1, 6, 4, 4), (1, 6, 4, 4), id="square"),
    pytest.param((3, 6, 4, 5), (1, 6, 5, 3), id="one key for a batch"),
    pytest.param((1, 6, 4, 5), (3, 6, 5, 3), id="one query for a batch"),
    pytest.param((1, 6, 1, 5), (1, 6, 3, 1), id="single rows"),
]


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("query", "key"), SHAPES)
@pytest.mark.parametrize(
    ("kernel", "norm"), [(1, "channel"), (1, "spatial"), (3, "channel")], ids=str
)
def test_streamed_warp_equals_the_dense_one(query, key, kernel, norm):
    q, k = noise(*query) + 3, noise(*key, seed=1) * 2 - 1
    values = noise(len(k), 2, *key[2:], seed=2)
    weights = torch.softmax(dense(q, k, kernel, norm) / TEMPERATURE, dim=-1)
    expected = weights @ values.flatten(2).transpose(1, 2)
    ours = matching.warp(describe(q, kernel, norm), describe(k, kernel, norm), values, TEMPERATURE)
    assert gap(ours.flatten(2).transpose(1, 2), expected.expand(len(ours), -1, -1)) < 2e-5


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("query", "key"), SHAPES)
@pytest.mark.parametrize("kernel", [1, 3])
def test_streamed_statistics_equal_the_dense_ones(query, key, kernel):
    q, k = noise(*query), noise(*key, seed=1)
    m = dense(q, k, kernel)
    p = torch.softmax(m / TEMPERATURE, dim=-1)
    stats = matching.statistics(describe(q, kernel), describe(k, kernel), TEMPERATURE)
    assert torch.equal(stats.best.flatten(1), m.argmax(dim=2))
    assert torch.equal(stats.best_back.flatten(1), m.argmax(dim=1))
    assert stats.best.shape[1:] == query[2:]
    assert stats.best_back.shape[1:] == key[2:]
    assert gap(stats.maximum.flatten(1), m.amax(dim=2)) < 1e-5
    entropy = torch.special.entr(p).sum(dim=2)
    assert gap(stats.entropy.flatten(1), entropy) < 1e-4


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("kernel", [1, 3])
def test_gradients_flow_through_the_streamed_warp(kernel):
    shapes = ((2, 4, 3, 5), (1, 4, 4, 3), (1, 2, 4, 3))
    leaves = [noise(*s, seed=i).requires_grad_() for i, s in enumerate(shapes)]
    q, k, values = leaves
    target = noise(2, 2, 3, 5, seed=9)
    ours = matching.warp(describe(q, kernel), describe(k, kernel), values, TEMPERATURE)
    gradients = torch.autograd.grad((ours * target).sum(), leaves)
    p = torch.softmax(dense(q, k, kernel) / TEMPERATURE, dim=-1)
    plain = (p @ values.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (3, 5))
    expected = torch.autograd.grad((plain * target).sum(), leaves)
    for a, b in zip(gradients, expected, strict=True):
        assert b.abs().max() > 0.1
        assert gap(a, b) < 1e-4 * float(b.abs().max())


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_gradient_keeps_no_matrix(kernel):
    pairs = 4 * (24 * 16) ** 2
    q, k = (noise(1, 6, 24, 16, seed=i).requires_grad_() for i in range(2))
    values = noise(1, 2, 24, 16, seed=2)
    with saved_bytes() as sizes:
        matching.warp(describe(q, kernel), describe(k, kernel), values, TEMPERATURE)
    assert 0 < sum(sizes) < pairs / 4


def test_patches_far_from_zero_keep_their_precision():
    q, k = noise(1, 8, 4, 4) + 30, noise(1, 8, 4, 4, seed=1) + 30
    exact = correlation(q.double(), k.double(), 3)
    values = torch.eye(16).view(1, 16, 4, 4)
    ours = matching.warp(describe(q, 3), describe(k, 3), values, 1.0)
    expected = torch.softmax(exact, dim=-1).transpose(1, 2).unflatten(2, (4, 4))
    assert gap(ours.double(), expected) < 1e-5


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("kernel", [1, 3])
def test_sharp_matches_and_their_gradients_equal_the_dense_ones(kernel):
    """At 0.01 most weights are negligible, and rows' maxima rise and fall from tile to tile."""
    leaves = [noise(*s, seed=i).double().requires_grad_() for i, s in enumerate([(1, 8, 6, 5)] * 2)]
    values, target = noise(1, 3, 6, 5, seed=2), noise(1, 3, 6, 5, seed=3)
    p = torch.softmax(dense(*leaves, kernel) / 0.01, dim=-1)
    plain = (p @ values.double().flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (6, 5))
    expected = torch.autograd.grad((plain * target).sum(), leaves)
    ours = matching.warp(*(describe(x, kernel) for x in leaves), values, 0.01)
    gradients = torch.autograd.grad((ours * target).sum(), leaves)
    assert gap(ours.double(), plain) < 1e-4
    for a, b in zip(gradients, expected, strict=True):
        assert gap(a, b) < 1e-4 * float(b.abs().max())


def test_a_second_gradient_is_refused_and_not_wrong():
    q = noise(1, 4, 3, 3).requires_grad_()
    ours = matching.warp(describe(q), describe(noise(1, 4, 3, 3, seed=1)), noise(1, 1, 3, 3), 0.1)
    (first,) = torch.autograd.grad(ours.square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


# Degenerate maps


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e4])
def test_constant_features_match_everything_alike(kernel, value):
    """For patches, away from the zeros around a map: there a patch is not constant."""
    query = torch.full((1, 7, 3, 3), value)
    key = noise(1, 7, 3, 4)
    values = noise(1, 2, 3, 4, seed=1)
    sides = describe(query, kernel), describe(key, kernel)
    ours = matching.warp(*sides, values, 0.01)[..., 1, 1]
    assert gap(ours, values.mean(dim=(2, 3))) < 1e-4
    stats = matching.statistics(*sides, 0.01)
    assert abs(float(flow.confidence(stats.entropy, 12)[0, 1, 1])) < 1e-5


@pytest.mark.parametrize("kernel", [1, 3])
def test_empty_maps_give_no_nan_and_no_confidence(kernel):
    sides = [describe(torch.zeros(1, 5, 2, 3), kernel) for _ in range(2)]
    values = noise(1, 1, 2, 3)
    assert gap(matching.warp(*sides, values, 0.01), values.mean().expand(1, 1, 2, 3)) < 1e-6
    stats = matching.statistics(*sides, 0.01)
    assert flow.confidence(stats.entropy, 6).abs().max() < 1e-6


@pytest.mark.parametrize("kernel", [1, 3])
def test_gradients_of_constant_features_are_finite(kernel):
    query = torch.full((1, 5, 3, 3), 0.5, requires_grad=True)
    key = noise(1, 5, 3, 3).requires_grad_()
    ours = matching.warp(describe(query, kernel), describe(key, kernel), noise(1, 1, 3, 3), 0.01)
    for gradient in torch.autograd.grad(ours.square().sum(), (query, key)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("kernel", [1, 3])
def test_nan_stays_within_its_sample_and_crashes_nothing(kernel):
    query, key = noise(2, 4, 3, 3), noise(2, 4, 3, 3, seed=1)
    query[0, :, 1, 1] = torch.nan
    sides = describe(query, kernel), describe(key, kernel)
    warped = matching.warp(*sides, noise(2, 1, 3, 3, seed=2), TEMPERATURE)
    assert warped[1].isfinite().all()
    assert warped[0].isnan().any()
    stats = matching.statistics(*sides, TEMPERATURE)
    for best in (stats.best, stats.best_back):
        assert best.min() >= 0 and best.max() < 9
    assert flow.cycle_error(stats).shape == (2, 3, 3)


# Flow, confidence, cycle


def test_flow_is_in_pixels_with_cell_i_centred_at_4i_and_a_half_more_than_1():
    # flat 0, 5 and 4 on a grid 3 wide: cells (x, y) = (0, 0), (2, 1), (1, 1)
    best = torch.tensor([[[0, 5, 4]]])
    assert flow.positions(best, 3)[0, 0].tolist() == [[1.5, 1.5], [9.5, 5.5], [5.5, 5.5]]


def test_confidence_is_one_for_a_sure_match_and_zero_for_none():
    entropy = torch.tensor([0, math.log(2), math.log(4)])
    assert flow.confidence(entropy, 4).tolist() == pytest.approx([1, 0.5, 0], abs=1e-6)


def test_entropy_of_a_match_among_two_by_hand():
    stats = matching.statistics(
        describe(grid((2, 0, 1))), describe(grid((3, 1, 2), (1, 1, 4))), 1.0
    )  # M = 1, 0
    p = math.e / (math.e + 1)
    expected = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert float(stats.entropy) == pytest.approx(expected, rel=1e-5)
    assert float(stats.maximum) == pytest.approx(1)


@pytest.mark.parametrize("kernel", [1, 3])
def test_identical_maps_match_themselves_surely_and_come_back(kernel):
    x = describe(noise(1, 32, 4, 6), kernel)
    stats = matching.statistics(x, x, 0.01)
    found = flow.positions(stats.best, 6)[0]
    assert found[2, 5].tolist() == [21.5, 9.5]
    assert torch.equal(stats.best[0].flatten(), torch.arange(24))
    assert flow.cycle_error(stats).abs().max() == 0
    assert flow.confidence(stats.entropy, 24).min() > 0.99


def test_a_permutation_of_cells_is_found_and_undone():
    x = noise(1, 32, 4, 6)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    key = x.flatten(2)[:, :, order].view(1, 32, 3, 8)
    stats = matching.statistics(describe(x), describe(key), 0.01)
    assert torch.equal(order[stats.best.flatten()], torch.arange(24))
    assert flow.cycle_error(stats).abs().max() == 0


def test_cycle_error_is_the_distance_to_where_the_way_back_ends():
    # A query grid 3 wide and 2 high against one key cell, whose own best match is query cell 4.
    stats = matching.Statistics(
        best=torch.zeros(1, 2, 3, dtype=torch.long),
        maximum=torch.ones(1, 2, 3),
        entropy=torch.zeros(1, 2, 3),
        mean=torch.zeros(1, 2, 3, 2),
        covariance=torch.zeros(1, 2, 3, 3),
        best_back=torch.tensor([[[4]]]),
    )
    diagonal = 4 * math.sqrt(2)
    expected = [diagonal, 4, diagonal, 4, 0, 4]
    assert flow.cycle_error(stats).flatten().tolist() == pytest.approx(expected)


# Grids and patches


def test_to_grid_averages_and_leaves_what_fits():
    x = torch.arange(32.0).view(1, 1, 4, 8)
    assert matching.to_grid(x, (1, 2)).flatten().tolist() == [13.5, 17.5]
    assert matching.to_grid(x, (4, 8)) is x


def test_patches_hold_every_pixel_of_a_cell_and_come_back():
    x = noise(2, 3, 8, 12)
    patches = matching.to_patches(x)
    assert patches.shape == (2, 48, 2, 3)
    assert sorted(patches[0, :, 1, 2].tolist()) == sorted(x[0, :, 4:, 8:].flatten().tolist())
    assert torch.equal(matching.from_patches(patches), x)


@pytest.mark.parametrize("kernel", [1, 3])
def test_sides_of_samples_stack_to_the_side_of_the_batch(kernel):
    whole = describe(noise(3, 4, 2, 3), kernel)
    stacked = Side.stack([whole.take(i) for i in range(3)])
    assert whole.grid == (2, 3)
    assert whole.kernel == kernel
    for a, b in zip(stacked, whole, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.parametrize("kernel", [1, 3])
def test_half_precision_features_are_matched_in_single(kernel):
    x = noise(1, 8, 3, 3).bfloat16()
    side, single = describe(x, kernel), describe(x.float(), kernel)
    for a, b in zip(side, single, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = matching.warp(side, side, x.float(), TEMPERATURE)
    assert torch.equal(inside, matching.warp(single, single, x.float(), TEMPERATURE))
