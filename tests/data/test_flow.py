"""Matches of cells as displacements of pixels, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from cocosnet.flow import centres

from cocoscli.data.flow import dense_displacement, displacement_at, nearest_cells


def test_cells_are_centred_between_their_pixels():
    places = centres((2, 3)).numpy()
    assert places.shape == (2, 3, 2)
    assert places[1, 2].tolist() == [9.5, 5.5] and places[0, 0].tolist() == [1.5, 1.5]


@pytest.mark.parametrize(
    ("x", "cell"), [(-0.5, 0), (0, 0), (3.49, 0), (3.5, 1), (7, 1), (8, 2), (11.4, 2), (99, 2)]
)
def test_a_pixel_lies_in_the_cell_that_covers_it(x, cell):
    assert nearest_cells(np.array([x, 0.0]), (1, 3)).tolist() == [cell, 0]


def test_matches_in_place_move_nothing():
    assert np.abs(dense_displacement(centres((4, 5)).numpy(), (20, 16))).max() == 0


def test_between_cells_that_agree_it_is_bilinear():
    flow = centres((2, 2)).numpy() + np.array([[[0, 0], [4, 0]], [[0, 4], [4, 4]]], np.float32)
    points = np.array([[1.5, 1.5], [3.5, 1.5], [2.5, 1.5], [1.5, 4.5], [3.5, 3.5]])
    expected = [[0, 0], [2, 0], [1, 0], [0, 3], [2, 2]]
    assert np.allclose(displacement_at(flow, points), expected)


def test_beyond_the_outer_centres_it_is_that_of_the_border():
    flow = centres((1, 2)).numpy() + np.array([[[0, 0], [4, 0]]], np.float32)
    assert np.allclose(displacement_at(flow, np.array([[-0.5, 0], [7.5, 3.5]])), [[0, 0], [4, 0]])


def test_cells_that_disagree_are_not_mixed():
    flow = centres((1, 2)).numpy() + np.array([[[0, 0], [100, 0]]], np.float32)
    found = displacement_at(flow, np.array([[3.4, 1.5], [3.6, 1.5]]))
    assert found.tolist() == [[0, 0], [100, 0]]


def test_agreement_ends_at_two_cells():
    for move, agrees in ((8.0, True), (8.1, False)):
        flow = centres((1, 2)).numpy() + np.array([[[0, 0], [move, 0]]], np.float32)
        [[x, _]] = displacement_at(flow, np.array([[2.5, 1.5]]))
        assert bool(x > 0) == agrees


def test_dense_is_what_points_at_pixels_give():
    generator = np.random.default_rng(0)
    flow = (generator.random((5, 7, 2)) * 60).astype(np.float32)
    dense = dense_displacement(flow, (26, 18))  # the last cells are covered in part
    assert dense.shape == (18, 26, 2) and dense.dtype == np.float32
    for x, y in ((0, 0), (25, 17), (13, 4)):
        assert np.array_equal(dense[y, x], displacement_at(flow, np.array([x, y], float)))
