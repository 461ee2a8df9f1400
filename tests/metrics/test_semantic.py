"""Class means and the figures made of them, by hand: features are given, no network is needed."""

from __future__ import annotations

import cocosnet.features
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cocoscli.metrics.semantic import (
    COLOUR,
    CONTENT,
    LAYERS,
    TEXTURE,
    ClassFeatures,
    class_areas,
    class_means,
    describe,
    semantic_consistency,
    style_relevance,
)


def features(areas: list[float], **means: list[list[float]]) -> ClassFeatures:
    """One image's: a class mean a class in each layer named; the other layers like the first."""
    first = next(iter(means.values()))
    return ClassFeatures(
        torch.tensor([areas]), {name: torch.tensor([means.get(name, first)]) for name in LAYERS}
    )


def by_definition(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Upsample, then average over each class's pixels."""
    whole = F.interpolate(values, labels.shape[-2:], mode="nearest")
    means = torch.zeros(len(values), classes, values.shape[1])
    for b, ids in enumerate(labels):
        for k in range(classes):
            if (ids == k).any():
                means[b, k] = whole[b][:, ids == k].mean(dim=1)
    return means


def test_areas_count_pixels_and_leave_out_ids_beyond_the_classes():
    labels = torch.tensor([[[0, 0, 2], [2, 2, 255]], [[1, 1, 1], [1, 1, 1]]], dtype=torch.uint8)
    assert class_areas(labels, 3).tolist() == [[2, 0, 3], [0, 6, 0]]


def test_the_mean_colour_of_each_half():
    image = torch.tensor([[[[1.0, 1, 3, 5]], [[0, 0, 2, 2]]]])  # two channels, one row
    labels = torch.tensor([[[0, 0, 2, 2]]])
    assert class_means(image, labels, 3).tolist() == [[[1, 0], [0, 0], [4, 2]]]


def test_a_cell_counts_as_often_as_the_class_has_pixels_of_it():
    values = torch.tensor([[[[0.0, 8.0]]]])  # two cells under four pixels
    labels = torch.tensor([[[0, 1, 1, 1]]])
    assert class_means(values, labels, 2).flatten().tolist() == pytest.approx([0, 16 / 3])


@pytest.mark.parametrize(("size", "grid"), [((8, 8), (8, 8)), ((8, 16), (2, 4)), ((9, 10), (2, 3))])
def test_means_are_those_of_upsampled_features(size, grid):
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(2, 5, *grid, generator=rng)
    labels = torch.randint(0, 5, (2, *size), generator=rng)  # the fifth id is beyond the classes
    expected = by_definition(values, labels, 4)
    assert torch.allclose(class_means(values, labels, 4), expected, atol=1e-6)


def test_a_sample_is_the_same_in_every_batch():
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(3, 16, 8, 8, generator=rng)
    labels = torch.randint(0, 4, (3, 32, 32), generator=rng)
    alone = [class_means(values[i : i + 1], labels[i : i + 1], 4) for i in range(3)]
    assert torch.equal(class_means(values, labels, 4), torch.cat(alone))


def test_consistency_weighs_each_class_by_its_area():
    same, across = [1.0, 0.0], [0.0, 1.0]
    output = features([30, 10, 0], relu3_2=[same, same, same])
    photo = features([30, 10, 0], relu3_2=[same, across, across])  # cosines 1, 0 and no weight
    assert semantic_consistency(output, photo).item() == pytest.approx(0.75)


def test_consistency_is_the_mean_of_its_three_layers_alone():
    same, across = [[1.0, 0.0]], [[0.0, 1.0]]
    output = features([1], **{name: same for name in LAYERS})
    photo = features([1], **{name: across for name in LAYERS} | {CONTENT[0]: same})
    assert semantic_consistency(output, photo).item() == pytest.approx(1 / 3)


def test_consistency_counts_background():
    output = features([3, 1], relu3_2=[[1.0, 0.0], [1.0, 0.0]])
    photo = features([3, 1], relu3_2=[[0.0, 1.0], [1.0, 0.0]])
    assert semantic_consistency(output, photo).item() == pytest.approx(0.25)


def test_an_image_without_labels_has_no_consistency():
    nothing = features([0.0], relu3_2=[[0.0]])
    assert semantic_consistency(nothing, nothing).isnan().all()


def test_style_takes_shared_classes_above_background_by_the_outputs_areas():
    same, across = [1.0, 0.0], [0.0, 1.0]
    output = features([50, 30, 10, 10, 0], **{COLOUR: [same] * 5, TEXTURE: [same] * 5})
    exemplar = features(
        [10, 1, 80, 0, 9],  # classes 1 and 2 are shared
        **{
            COLOUR: [across, same, across, across, across],
            TEXTURE: [across, across, same, across, across],
        },
    )
    style = style_relevance(output, exemplar)
    assert style.colour.item() == pytest.approx(30 / 40)
    assert style.texture.item() == pytest.approx(10 / 40)


def test_a_pair_that_shares_only_background_has_no_style():
    output = features([5, 5, 0], relu1_2=[[1.0]] * 3)
    exemplar = features([5, 0, 5], relu1_2=[[1.0]] * 3)
    style = style_relevance(output, exemplar)
    assert style.colour.isnan().all() and style.texture.isnan().all()


def test_an_image_is_wholly_like_itself_and_less_like_another_colour():
    vgg = cocosnet.features.random_features(16)
    red = torch.tensor([1.0, -1, -1]).view(1, 3, 1, 1).expand(2, 3, 32, 48)
    labels = torch.arange(48).div(16, rounding_mode="floor").expand(2, 32, 48)
    own, blue = (describe(vgg, x, labels, 3) for x in (red, red.flip(1)))
    assert tuple(own.means[CONTENT[2]].shape) == (2, 3, 512)
    for measure in (semantic_consistency, lambda a, b: style_relevance(a, b).colour):
        assert torch.allclose(measure(own, own), torch.ones(2), atol=1e-5)
        assert (measure(own, blue) < 0.99).all()
