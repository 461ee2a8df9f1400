"""The Frechet distance, by hand: equal covariances, equal sets, shifted sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from cocoscli.metrics.frechet import Moments, frechet_distance


def moments(features: Tensor, batch: int = 7) -> Moments:
    found = Moments(features.shape[1])
    for part in features.split(batch):
        found.add(part)
    return found


@pytest.fixture
def features() -> Tensor:
    return torch.randn(40, 6, generator=torch.Generator().manual_seed(0))


def test_moments_are_those_of_numpy(features):
    found = moments(features)
    assert found.mean == pytest.approx(features.double().mean(dim=0).numpy())
    assert found.covariance == pytest.approx(np.cov(features.double().numpy(), rowvar=False))


def test_equal_sets_have_no_distance(features):
    assert frechet_distance(moments(features), moments(features)) == pytest.approx(0, abs=1e-6)


def test_a_shifted_copy_is_as_far_as_its_mean(features):
    shift = torch.tensor([3.0, 0, 0, 4, 0, 0])
    found = frechet_distance(moments(features), moments(features + shift))
    assert found == pytest.approx(25, rel=1e-5)


def test_deviations_of_one_dimension():
    one, other = torch.tensor([[-1.0], [1.0]]), torch.tensor([[-3.0], [3.0]])
    # sqrt(2) and 3 sqrt(2): (s1 - s2)^2
    assert frechet_distance(moments(one), moments(other)) == pytest.approx(8)


def test_fewer_images_than_channels_still_have_a_distance():
    wide = torch.randn(3, 50, generator=torch.Generator().manual_seed(1))
    assert frechet_distance(moments(wide), moments(wide)) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(moments(wide), moments(wide + 1)) == pytest.approx(50, rel=1e-4)


def test_batches_and_order_do_not_count(features):
    other = features.flip(0)[:20] * 2
    found = frechet_distance(moments(features), moments(other))
    again = frechet_distance(moments(features.flip(0), batch=1), moments(other.flip(0), batch=20))
    assert again == pytest.approx(found, rel=1e-6)
