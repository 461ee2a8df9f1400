"""Label transfer, cycle error, copy score and PCK by hand."""

from __future__ import annotations

from math import nan

import pytest
import torch
from cocosnet import ExemplarBank, Match, presets
from cocosnet.descriptors import describe
from torch import Tensor
from torch.nn.functional import one_hot

from cocoscli.metrics.correspondence import (
    VOID,
    box_extent,
    compare_labels,
    copy_score,
    cycle_error,
    label_transfer,
    pck,
    top_class,
    unmoved_transfer,
)


def ids(*rows: list[int]) -> Tensor:
    return torch.tensor([list(rows)])


def planes(labels: Tensor, classes: int) -> Tensor:
    return one_hot(labels, classes).permute(0, 3, 1, 2).float()


def sure_match(order: list[int], colours: Tensor) -> Match:
    """Query cell i of a 2x2 grid is bound to key cell order[i]; features are unit vectors."""
    key = torch.eye(4).view(1, 4, 2, 2)
    query = torch.eye(4)[:, order].view(1, 4, 2, 2)
    sides = [describe(x) for x in (query, key)]
    return Match(sides[0], ExemplarBank(sides[1], colours), presets.paper(channels=3))


def test_the_largest_plane_names_the_class_and_equals_go_to_the_lower():
    cells = torch.tensor([[0.2, 0.8, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]).t()
    assert top_class(cells.view(1, 3, 1, 3)).tolist() == [[[1, 0, VOID]]]


def test_accuracy_and_iou_of_known_masks():
    truth = ids([0, 0, 1, 1], [0, 0, 2, 3])
    warped = ids([0, 1, 1, 1], [0, 0, 2, 2])
    # 0: 3 of 4; 1: 2 of 3; 2: 1 of 2; 3 is not in the exemplar
    found = compare_labels(warped, ids([0, 1], [2, 2]), truth, 4)
    assert found.accuracy.item() == pytest.approx(6 / 8)
    assert found.miou.item() == pytest.approx((3 / 4 + 2 / 3 + 1 / 2) / 3)


def test_a_class_that_the_warp_loses_counts_as_nought():
    found = compare_labels(ids([1, 1]), ids([1, 2]), ids([1, 2]), 3)
    assert found.miou.item() == pytest.approx((1 / 2 + 0) / 2)


def test_background_counts_where_either_has_it():
    # The exemplar has no background; the truth has: 0 of 2. Class 1: 2 of 4.
    found = compare_labels(ids([1, 1, 1, 1]), ids([1, 1]), ids([0, 0, 1, 1]), 2)
    assert found.miou.item() == pytest.approx((0 + 1 / 2) / 2)


def test_cells_without_a_label_are_no_errors():
    found = compare_labels(ids([0, 1, 1]), ids([0, 1]), ids([0, VOID, 1]), 2)
    assert (found.accuracy.item(), found.miou.item()) == (1, 1)
    nothing = compare_labels(ids([0]), ids([0]), ids([VOID]), 2)
    assert nothing.accuracy.isnan() and nothing.miou.isnan()


def test_a_warped_cell_without_a_label_is_an_error():
    found = compare_labels(ids([VOID, 1]), ids([0, 1]), ids([0, 1]), 2)
    assert found.accuracy.item() == 0.5
    assert found.miou.item() == 0.5


def test_pairs_are_measured_one_by_one():
    truth, warped = torch.cat([ids([0, 1]), ids([0, 1])]), torch.cat([ids([0, 1]), ids([1, 0])])
    found = compare_labels(warped, truth, truth, 2)
    assert found.accuracy.tolist() == [1, 0]
    assert found.miou.tolist() == [1, 0]


def test_a_match_that_knows_the_way_carries_the_mask():
    exemplar_mask = ids([0, 1], [2, 0])
    match = sure_match([3, 2, 1, 0], torch.zeros(1, 3, 2, 2))
    there = planes(exemplar_mask, 3)
    right = label_transfer(match, there, planes(ids([0, 2], [1, 0]), 3))
    assert (right.accuracy.item(), right.miou.item()) == (1, 1)
    wrong = label_transfer(match, there, there)  # the corners agree
    assert wrong.accuracy.item() == 0.5
    assert wrong.miou.item() == pytest.approx(1 / 3)


def test_a_cell_has_the_label_of_its_first_pixel():
    mask = ids(*[[0, 1, 1, 0] if row % 2 else [1, 0, 0, 1] for row in range(4)])
    match = sure_match([0, 1, 2, 3], torch.zeros(1, 3, 2, 2))
    found = label_transfer(match, planes(ids([1, 0], [1, 0]), 2), planes(mask, 2))
    assert found.accuracy.item() == 1  # on average a cell is half of 1, half of 0
    assert unmoved_transfer(planes(mask, 2), planes(mask, 2)).accuracy.item() == 1


def test_a_permutation_comes_back_and_a_collapse_does_not():
    exemplar = torch.tensor([1.0, -1, -1, -1]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    assert cycle_error(sure_match([2, 0, 3, 1], exemplar), exemplar).item() < 1e-4
    # All four cells look alike to the match: everything becomes the mean, -0.5.
    alike = describe(torch.ones(1, 4, 2, 2))
    match = Match(alike, ExemplarBank(alike, exemplar), presets.paper(channels=3))
    assert cycle_error(match, exemplar).item() == pytest.approx((1.5 + 3 * 0.5) / 4)


def test_the_copy_score_is_far_below_0_for_a_copy():
    exemplar, other = torch.full((1, 3, 2, 2), 0.5), torch.full((1, 3, 2, 2), -0.5)
    assert copy_score(exemplar, exemplar, other).item() == pytest.approx(-1)
    assert copy_score(torch.zeros(1, 3, 2, 2), exemplar, other).item() == pytest.approx(0)
    assert copy_score(other, exemplar, other).item() == pytest.approx(1)


def test_pck_counts_the_bound_and_leaves_unknown_points_out():
    truth = torch.tensor([[[10.0, 10], [50, 50], [nan, nan]], [[0, 0], [nan, nan], [nan, nan]]])
    found = torch.tensor([[[13.0, 14], [50, 61], [0, 0]], [[100, 0], [0, 0], [0, 0]]])
    # Errors 5 and 11 of the first image, 100 of the second, where 0.1 * 100 allows 10.
    images, pooled = pck(found, truth, torch.tensor([100.0, 100]), 0.1)
    assert images.tolist() == [0.5, 0]
    assert pooled.item() == pytest.approx(1 / 3)
    assert pck(found, truth, torch.tensor([50.0, 100]), 0.1).images.tolist() == [0.5, 0]
    assert pck(found, truth, torch.tensor([49.0, 100]), 0.1).images.tolist() == [0, 0]


def test_a_point_that_was_not_found_is_wrong_and_an_image_without_points_has_no_figure():
    truth = torch.tensor([[[1.0, 1], [2, 2]], [[nan, nan], [nan, nan]]])
    found = torch.tensor([[[1.0, 1], [nan, nan]], [[0, 0], [0, 0]]])
    images, pooled = pck(found, truth, torch.tensor([10.0, 10]), 0.1)
    assert images[0].item() == 0.5 and images[1].isnan()
    assert pooled.item() == 0.5


def test_the_box_of_points_has_its_longer_side():
    points = torch.tensor([[[10.0, 5], [40, 10], [nan, nan]], [[0, 0], [3, 9], [1, 1]]])
    assert box_extent(points).tolist() == [30, 9]
