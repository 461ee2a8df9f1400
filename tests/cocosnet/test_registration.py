"""Registration: neighbours decide together where cells lie."""

from __future__ import annotations

import pytest
import torch
from cocosnet.descriptors import describe
from cocosnet.registration import correlations, evened, features_of, register
from tiny import noise
from torch.nn import functional as F

GRID = 24


def smooth(seed: int, channels: int = 8) -> torch.Tensor:
    """Features (1,h,w,C) that change slowly over a grid a little larger than `GRID`."""
    coarse = noise(1, channels, 12, 12, seed=seed)
    large = F.interpolate(coarse, (GRID + 8, GRID + 8), mode="bicubic")
    return large.permute(0, 2, 3, 1)


def cut(features: torch.Tensor, dx: int, dy: int) -> torch.Tensor:
    return features[:, 4 + dy : 4 + dy + GRID, 4 + dx : 4 + dx + GRID].contiguous()


def test_a_shift_is_found():
    features = smooth(0)
    found = register(cut(features, 0, 0), cut(features, -2, 1), reach=4, spread=1.0)
    inside = found.moves[0, 6:-6, 6:-6]
    assert (inside - torch.tensor([8.0, -4.0])).abs().max() < 1.0
    assert found.cycle_error[0, 6:-6, 6:-6].max() < 2
    assert found.agreement[0, 6:-6, 6:-6].min() > 0.9


def test_neighbours_outvote_what_one_cell_sees():
    """Noise on the features misleads cells alone, not neighbourhoods."""
    features = smooth(1)
    ours, theirs = cut(features, 0, 0), cut(features, 1, 0)
    theirs = theirs + 0.7 * noise(*theirs.shape, seed=2)
    wrong = {}
    for spread in (0.2, 2.0):
        moves = register(ours, theirs, reach=4, spread=spread).moves[0, 6:-6, 6:-6]
        wrong[spread] = ((moves - torch.tensor([-4.0, 0.0])).norm(dim=-1) > 3).float().mean()
    assert wrong[2.0] < 0.1 < wrong[0.2]


def test_correlations_by_hand():
    first, second = torch.zeros(1, 3, 3, 2), torch.zeros(1, 3, 3, 2)
    first[0, 1, 1] = torch.tensor([1.0, 0.0])
    second[0, 0, 2] = torch.tensor([0.6, 0.8])
    found = correlations(first, second, reach=1)
    assert found[0, 0, 2, 1, 1] == pytest.approx(0.6)  # one up, one to the right
    assert found[0, 1, 1, 1, 1] == 0
    assert found[0, 0, 0, 0, 0] == -1  # beyond the border


def test_even_features_have_no_strongest_direction():
    """What is ten times as strong in one direction counts little more there."""
    values = noise(1, 16, 16, 4, seed=3) * torch.tensor([10.0, 1.0, 1.0, 1.0])
    ours, theirs = evened(values, noise(1, 16, 16, 4, seed=4))
    assert torch.allclose(ours.norm(dim=-1), torch.ones(1, 16, 16))
    spread = torch.cat([ours.flatten(0, 2), theirs.flatten(0, 2)]).std(dim=0)
    assert spread.max() / spread.min() < 3


def test_features_without_their_padding():
    x = noise(1, 5, 6, 7, seed=5)
    for kernel in (1, 3):
        found = features_of(describe(x, kernel))
        assert found.shape == (1, 6, 7, 5)
    constant = x.permute(0, 2, 3, 1) - found
    assert constant.std() < 1e-6  # up to what is the same everywhere


def test_one_source_serves_a_batch():
    features = smooth(6)
    both = torch.cat([cut(features, 1, 0), cut(features, 0, 2)])
    found = register(cut(features, 0, 0), both, reach=3, spread=1.0)
    alone = register(cut(features, 0, 0), both[1:], reach=3, spread=1.0)
    assert found.moves.shape == (2, GRID, GRID, 2)
    assert (found.moves[1] - alone.moves[0]).abs().max() < 1e-2
