"""Smooth maps: fitted in spite of wrong matches, followed and turned around."""

from __future__ import annotations

import numpy as np

from cocoscli.data.smooth_maps import affine, cells, inverted, mapped, sampled, smoothed

GRID = (24, 20)
TURN = np.array([[0.9, -0.2, 11.0], [0.25, 1.1, -4.0]])


def bent() -> np.ndarray:
    """A map that turns, scales and bends."""
    places = cells(GRID)
    return affine(TURN, places) + 3 * np.sin(places / 25)


def test_most_matches_decide():
    true = bent() - cells(GRID)
    draw = np.random.default_rng(0)
    moves = true + draw.normal(0, 1, true.shape)
    wrong = draw.random(GRID) < 0.3
    moves[wrong] = draw.uniform(-40, 40, (wrong.sum(), 2))
    found = smoothed(moves, np.ones(GRID), tolerance=12)
    assert np.abs(found - true)[2:-2, 2:-2].max() < 2.5
    assert np.abs(found - true).mean() < 0.6


def test_untrusted_matches_do_not_count():
    true = bent() - cells(GRID)
    moves, trust = true.copy(), np.ones(GRID)
    moves[:12], trust[:12] = moves[:12] + 9, 0
    assert np.abs(smoothed(moves, trust, 12) - true)[14:].max() < 0.5


def test_there_and_back():
    x, y = np.meshgrid(np.linspace(-10, 90, 30), np.linspace(-10, 100, 40))
    places = np.stack([x, y], axis=-1)
    assert np.abs(inverted(bent(), mapped(bent(), places)) - places).max() < 0.05


def test_a_straight_map_goes_on_beyond_its_grid():
    straight = affine(TURN, cells(GRID))
    far = np.array([[[-300.0, 500.0]]])
    assert np.allclose(mapped(straight, far), affine(TURN, far))


def test_cells_keep_their_values():
    values = np.random.default_rng(1).random((*GRID, 3))
    assert np.allclose(sampled(values, cells(GRID)), values, atol=1e-5)
