from __future__ import annotations

import numpy as np
import torch

from cocoscli.metrics.baselines import class_colours, colour_transfer


def test_each_class_takes_the_exemplars_mean_colour_of_it():
    exemplar = torch.tensor([1.0, 3, -1, -1]).view(1, 1, 1, 4).expand(1, 3, 1, 4)
    exemplar_labels = torch.tensor([[[0, 0, 1, 1]]])
    # 0 -> 2, 1 -> -1; class 2 is absent and 255 no class: the global mean, 0.5
    labels = torch.tensor([[[1, 0], [2, 255]]])
    found = class_colours(labels, exemplar, exemplar_labels, 3)
    assert tuple(found.shape) == (1, 3, 2, 2)
    assert found[0, 1].tolist() == [[-1, 2], [0.5, 0.5]]


def test_each_pair_has_its_own_colours():
    exemplar = torch.stack([torch.full((3, 2, 2), -1.0), torch.full((3, 2, 2), 1.0)])
    labels = torch.zeros(2, 3, 5, dtype=torch.uint8)
    found = class_colours(labels, exemplar, torch.zeros(2, 2, 2), 1)
    assert torch.equal(found, exemplar[:, :, :1, :1].expand(2, 3, 3, 5))


def test_a_photo_takes_the_exemplars_colours():
    rng = np.random.default_rng(0)
    photo = rng.integers(90, 130, (16, 16, 3), dtype=np.uint8)
    exemplar = np.full((8, 8, 3), (200, 40, 30), np.uint8)
    found = colour_transfer(photo, exemplar)
    assert found.shape == photo.shape and found.dtype == np.uint8
    assert np.abs(found.astype(int) - (200, 40, 30)).max() <= 1  # no spread: the one colour
    assert np.abs(colour_transfer(photo, photo).astype(int) - photo).max() <= 1


def test_colours_beyond_srgb_are_cut_without_a_word(recwarn):
    photo = np.array([[[255, 255, 0], [0, 0, 255]]], np.uint8)
    colour_transfer(photo, np.array([[[0, 0, 255], [10, 0, 40]]], np.uint8))
    assert not recwarn.list
