"""The judge by hand: classes numbered anew, groups, sums by class."""

from __future__ import annotations

import numpy as np
import torch

from cocoscli.engine.evaluation.items import Pair
from cocoscli.engine.evaluation.judge import ClassSums, Maps, groups

CPU = torch.device("cpu")


def pair(k: int = 0, labels: list | None = None, exemplar: list | None = None) -> Pair:
    maps = [None if ids is None else np.array(ids, np.uint8) for ids in (labels, exemplar)]
    image = np.zeros((2, 2, 3), np.uint8)
    return Pair(k, (2, 2), image, image, None, None, None, maps[0], maps[1])


def test_classes_are_numbered_anew_with_background_first():
    found = Maps.of([pair(0, [[7, 7], [255, 2]], [[7, 7], [7, 9]])], 255, CPU)
    assert found.ids == [0, 2, 7, 9]
    assert found.labels.tolist() == [[[2, 2], [4, 1]]]  # 4: no class
    assert found.exemplar_labels is not None
    assert found.exemplar_labels.tolist() == [[[2, 2], [2, 3]]]


def test_background_that_is_ignored_counts_nowhere():
    found = Maps.of([pair(0, [[0, 0], [1, 1]])], 0, CPU)
    assert found.labels.tolist() == [[[2, 2], [1, 1]]] and found.exemplar_labels is None


def test_label_transfer_of_what_stays_in_its_place():
    blocks = np.kron([[1, 2], [3, 4]], np.ones((4, 4), int)).tolist()
    half = np.kron([[1, 2], [4, 3]], np.ones((4, 4), int)).tolist()
    same = Maps.of([pair(0, blocks, blocks)], 255, CPU).unmoved()
    assert same["label_accuracy"].tolist() == [1] and same["label_miou"].tolist() == [1]
    moved = Maps.of([pair(0, blocks, half)], 255, CPU).unmoved()
    assert moved["label_accuracy"].tolist() == [0.5] and moved["label_miou"].tolist() == [0.5]


def test_pairs_are_computed_together_where_the_same_is_known():
    labelled = [[1, 1], [1, 1]]
    pairs = [pair(0, labelled), pair(1), pair(2, labelled)]
    assert [[p.k for p in group] for group in groups(pairs)] == [[0, 2], [1]]


def test_a_class_is_the_mean_of_the_results_that_have_it():
    sums = ClassSums()
    sums.add("style_colour", torch.tensor([[0.5, 1.0], [1.0, 0.0]]),
             torch.tensor([[3, 1], [2, 0]]), [4, 9])  # fmt: skip
    sums.add("style_colour", torch.tensor([[0.0]]), torch.tensor([[5]]), [9])
    assert sums.means() == {
        4: {"style_colour": 0.75, "images": 2}, 9: {"style_colour": 0.5, "images": 2},
    }  # fmt: skip
