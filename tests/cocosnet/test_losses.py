"""Eq. 8-13 by hand, in the paper's form and in the release's."""

from __future__ import annotations

import math
from collections.abc import Callable

import byhand
import pytest
import torch
from byhand import array
from cocosnet import layers, losses
from cocosnet.config import FEATURE_LAYERS
from tiny import noise, saved_bytes
from torch import Tensor


def maps(*values: float) -> dict[str, Tensor]:
    """Features of a batch: sample i is values[i] everywhere, at every layer."""
    sizes = zip(FEATURE_LAYERS, (16, 8, 4, 2, 1), strict=True)
    return {name: torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 2, s, s) for name, s in sizes}


SUM = 1 / 32 + 1 / 16 + 1 / 8 + 1 / 4 + 1
"""Of Eq. 8's layer weights."""


# Eq. 8


def test_feat_is_the_mean_over_pseudo_pairs_in_the_paper():
    ours, photo = maps(1, 5, 2), maps(0, 0, -1)
    pseudo = torch.tensor([1.0, 0, 1])
    assert float(losses.feat("paper", ours, photo, pseudo)) == pytest.approx(SUM * (1 + 3) / 2)


def test_feat_is_divided_by_flags_and_batch_in_the_release():
    ours, photo = maps(1, 5, 2), maps(0, 0, -1)
    pseudo = torch.tensor([1.0, 0, 1])
    expected = SUM * (1 + 3) / (2 + 1e-5) / 3
    assert float(losses.feat("released", ours, photo, pseudo)) == pytest.approx(expected)


def test_feat_weighs_deep_layers_most():
    for name, weight in zip(FEATURE_LAYERS, (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1), strict=True):
        ours = maps(0.0) | {name: maps(1.0)[name]}
        assert float(losses.feat("paper", ours, maps(0.0), torch.ones(1))) == weight


@pytest.mark.parametrize("form", ["paper", "released"])
def test_without_pseudo_pairs_feat_is_zero(form):
    assert float(losses.feat(form, maps(1, 2), maps(0, 0), torch.zeros(2))) == 0


# Eq. 9, 10


def test_domain_is_the_mean_absolute_difference():
    a = torch.tensor([1.0, -2, 0, 4]).view(1, 2, 1, 2)
    assert float(losses.domain(a, torch.tensor([0.0, 1, 0, 2]).view(1, 2, 1, 2))) == 6 / 4


def test_perc_is_l1_in_the_paper_and_squares_in_the_release():
    a, b = torch.tensor([1.0, -2]).view(1, 1, 1, 2), torch.zeros(1, 1, 1, 2)
    assert float(losses.perc("paper", a, b)) == 1.5
    assert float(losses.perc("released", a, b)) == 2.5


# Eq. 11


def test_context_of_orthogonal_vectors_by_hand():
    # Mean over exemplar positions 0, unit vectors: cosines of x0 = (1, -1), of x1 = (0, 0).
    y = torch.tensor([[1.0, 0], [-1, 0]]).t().view(1, 2, 1, 2)
    x = torch.tensor([[2.0, 0], [0, 3]]).t().view(1, 2, 1, 2)
    h = 0.5
    first = 1 / (1 + math.exp((0 - 2 / 1e-5) / h))  # d = (0, 2): the nearest takes all
    second = 1 / 2  # d = (1, 1)
    expected = -math.log((first + second) / 2)
    assert float(losses.contextual("paper", x, y, h)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("form", ["paper", "released"])
def test_context_equals_the_loops_by_hand(form):
    x, y = noise(2, 5, 3, 4).relu(), noise(2, 5, 3, 4, seed=1).relu() + 0.1
    pairs = zip(array(x), array(y), strict=True)
    expected = sum(byhand.eq11(a, b, form, 0.1) for a, b in pairs) / 2
    assert float(losses.contextual(form, x, y, 0.1)) == pytest.approx(expected, rel=1e-4)


def test_context_takes_the_maximum_over_the_exemplar_and_the_mean_over_the_output():
    x, y = noise(1, 5, 2, 2), noise(1, 5, 3, 4, seed=1)
    expected = byhand.eq11(array(x)[0], array(y)[0], "paper", 0.5)
    assert float(losses.contextual("paper", x, y, 0.5)) == pytest.approx(expected, rel=1e-4)


def test_context_sums_weighted_layers_and_pools_shallow_ones():
    sizes = {"relu2_2": 8, "relu3_2": 4, "relu4_2": 2}
    ours, theirs = ({n: noise(1, 4, s, s, seed=k) for n, s in sizes.items()} for k in (0, 1))
    weights = {"relu2_2": 1.0, "relu3_2": 2.0, "relu4_2": 4.0}
    expected = 0.0
    for (name, weight), pool in zip(weights.items(), (4, 2, 1), strict=True):
        a, b = (torch.nn.functional.avg_pool2d(m[name], pool) for m in (ours, theirs))
        expected += weight * byhand.eq11(array(a)[0], array(b)[0], "paper", 0.1)
    value = losses.context("paper", ours, theirs, weights, 0.1)
    assert float(value) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("form", ["paper", "released"])
def test_context_in_blocks_keeps_no_matrix_and_has_the_same_gradient(form, monkeypatch):
    x, y = noise(2, 4, 16, 16).requires_grad_(), noise(2, 4, 16, 16, seed=1)
    pairs = 2 * 256 * 256
    results = []
    for block in (2**22, pairs // 16):
        monkeypatch.setattr(layers, "BLOCK_ELEMENTS", block)
        with saved_bytes() as sizes:
            value = losses.contextual(form, x, y, 0.1)
        results.append((sum(sizes), value, torch.autograd.grad(value, x)[0]))
    (plain, a, da), (blocks, b, db) = results
    assert plain > 4 * pairs
    assert blocks < 4 * pairs / 4
    assert torch.allclose(a, b, rtol=1e-6)
    assert torch.allclose(da, db, rtol=1e-4, atol=1e-6 * float(da.abs().max()))


@pytest.mark.parametrize("form", ["paper", "released"])
def test_context_of_flat_and_equal_maps_has_a_finite_gradient(form):
    for x in (torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2), noise(1, 3, 2, 2)):
        leaf = x.clone().requires_grad_()
        value = losses.contextual(form, leaf, x, 0.1)
        assert value.isfinite()
        assert torch.autograd.grad(value, leaf)[0].isfinite().all()


# Eq. 12


def test_reg_is_the_mean_absolute_difference():
    assert float(losses.reg(torch.full((2, 3, 4, 4), 0.5), torch.zeros(2, 3, 4, 4))) == 0.5


# Eq. 13


def judged(*verdicts: list[float]) -> list[list[Tensor]]:
    """Two scales; every layer but the last holds 9, which no hinge may see."""
    return [[torch.full((1, 1, 2, 2), 9.0), torch.tensor(v).view(1, 1, 1, -1)] for v in verdicts]


def test_hinges_are_means_over_the_scales_whatever_their_sizes():
    fake = judged([0.5, -3.0], [2.0])
    assert float(losses.discriminator_fake(fake)) == ((1.5 + 0) / 2 + 3) / 2
    assert float(losses.discriminator_real(fake)) == ((0.5 + 4) / 2 + 0) / 2
    assert float(losses.adversarial(fake)) == -(-1.25 + 2) / 2


def test_discriminator_features_sum_layers_without_the_verdict():
    def outputs(a: float, b: float, verdict: float) -> list[Tensor]:
        return [torch.full((1, 2, 2, 2), a), torch.full((1, 1, 1, 1), b), torch.tensor(verdict)]

    fake = [outputs(1, 2, 100), outputs(0, 0, 100)]
    real = [outputs(0, 0, 0), outputs(4, -1, 0)]
    assert float(losses.discriminator_features(fake, real)) == ((1 + 2) + (4 + 1)) / 2


# The release's other terms


def test_mask_skips_unknown_and_classes_that_the_exemplar_lacks():
    # classes of four pixels: 0 unknown, 1, 2 (absent from the exemplar), 1
    labels = torch.eye(3)[[0, 1, 2, 1]].t().view(1, 3, 1, 4)
    exemplar = torch.eye(3)[[0, 1, 1, 0]].t().view(1, 3, 1, 4)
    warped = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.75, 0.25]])
    warped = torch.cat([warped, torch.zeros(4, 1)], dim=1).t().view(1, 3, 1, 4)
    expected = -(math.log(0.5) + math.log(0.25)) / 2
    assert float(losses.mask(warped, labels, exemplar)) == pytest.approx(expected)
    expected = -(math.log(0.9) + math.log(0.5) + math.log(0.25)) / 3
    assert float(losses.mask(warped, labels, exemplar, background=True)) == pytest.approx(expected)


def test_mask_without_a_valid_pixel_is_zero_and_of_nothing_warped_is_finite():
    labels = torch.eye(2)[[1, 1]].t().view(1, 2, 1, 2)
    unknown = torch.eye(2)[[0, 0]].t().view(1, 2, 1, 2)
    assert float(losses.mask(torch.zeros(1, 2, 1, 2), labels, unknown)) == 0
    value = losses.mask(torch.zeros(1, 2, 1, 2), labels, labels)
    assert float(value) == pytest.approx(-math.log(1e-10))


@pytest.mark.parametrize("term", [losses.warp_self, losses.pixels])
def test_warp_self_and_pixels_take_pseudo_pairs_alone(term):
    ours, photo = torch.tensor([1.0, 7]).view(2, 1, 1, 1), torch.zeros(2, 1, 1, 1)
    pseudo = torch.tensor([1.0, 0])
    assert float(term("paper", ours, photo, pseudo)) == 1
    assert float(term("released", ours, photo, pseudo)) == pytest.approx(1 / (1 + 1e-5) / 2)


# Over several processes


def mean_over_processes(
    term: Callable[..., Tensor], batches: list[tuple[Tensor, ...]]
) -> tuple[Tensor, Tensor]:
    """Value and gradient for the first tensor, each averaged as DistributedDataParallel does.

    The processes' counts are gathered in a first round and summed in a second.
    """
    counts: list[Tensor] = []

    def gather(count: Tensor) -> Tensor:
        counts.append(count)
        return count

    for batch in batches:
        term(*batch, gather)
    whole = torch.stack(counts).sum(dim=0)
    values, gradients = [], []
    for first, *rest in batches:
        leaf = first.clone().requires_grad_()
        value = term(leaf, *rest, lambda count: whole)
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value, leaf)[0] / len(batches))
    return torch.stack(values).mean(), torch.cat(gradients)


FLAGS = [
    pytest.param([1.0, 1, 0, 0, 1, 0], id="uneven"),
    pytest.param([1.0, 0, 1, 0, 0, 0], id="one process has none"),
    pytest.param([0.0] * 6, id="none at all"),
]


@pytest.mark.parametrize("form", ["paper", "released"])
@pytest.mark.parametrize("flags", FLAGS)
def test_pseudo_pairs_of_two_processes_count_as_one_batch(form, flags):
    def term(warped, photo, pseudo, total=losses.one_process):
        return losses.warp_self(form, warped, photo, pseudo, total)

    inputs = noise(6, 3, 4, 4), noise(6, 3, 4, 4, seed=1), torch.tensor(flags)
    leaf = inputs[0].clone().requires_grad_()
    value = term(leaf, *inputs[1:])
    halves = list(zip(*(x.split(3) for x in inputs), strict=True))
    ours, gradient = mean_over_processes(term, halves)
    assert float(ours) == pytest.approx(float(value.detach()), abs=1e-7)
    assert torch.allclose(gradient, torch.autograd.grad(value, leaf)[0], atol=1e-8)
    alone = torch.stack([term(*half) for half in halves]).mean()
    if 0 < flags[3:].count(1) < flags[:3].count(1):
        assert abs(float(alone) - float(value.detach())) > 1e-3  # so the whole count matters


def test_valid_pixels_of_two_processes_count_as_one_batch():
    ids = torch.tensor([[0, 0, 0, 1], [1, 2, 1, 2]])
    labels = torch.eye(3)[ids].permute(0, 2, 1).unsqueeze(2)
    warped = noise(2, 3, 1, 4).softmax(dim=1)
    leaf = warped.clone().requires_grad_()
    value = losses.mask(leaf, labels, labels)
    halves = list(zip(*(x.split(1) for x in (warped, labels, labels)), strict=True))
    ours, gradient = mean_over_processes(losses.mask, halves)
    assert float(ours) == pytest.approx(float(value.detach()), rel=1e-6)
    assert torch.allclose(gradient, torch.autograd.grad(value, leaf)[0])
    alone = torch.stack([losses.mask(*half) for half in halves]).mean()
    assert abs(float(alone) - float(value.detach())) > 1e-3


# Points that are known in both images


def test_points_count_the_weight_that_their_matches_get():
    uniform = lambda planes: planes.mean(dim=(2, 3), keepdim=True).expand(-1, -1, 4, 5)  # noqa: E731
    here = torch.tensor([[[1.0, 2.0], [4.0, 0.0]]])
    there = torch.tensor([[[2.0, 1.0], [2.0, 2.0]]])  # on a grid of 3 x 3
    value = losses.points(uniform, (here, (4, 5)), (there, (3, 3)))
    assert float(value) == pytest.approx(math.log(9))


def test_points_that_are_matched_exactly_cost_nothing():
    places = torch.tensor([[[0.0, 0.0], [2.0, 3.0]]])
    assert float(losses.points(lambda planes: planes, (places, (4, 3)), (places, (4, 3)))) == 0
    wrong = torch.tensor([[[0.0, 0.0], [2.0, 2.0]]])
    value = losses.points(lambda planes: planes, (places, (4, 3)), (wrong, (4, 3)))
    assert float(value) == pytest.approx(-math.log(1e-10) / 2)


def test_places_between_cells_are_shared():
    seen = []
    places = torch.tensor([[[0.25, 1.5]]])
    losses.points(lambda p: seen.append(p) or p, (places, (3, 3)), (places, (3, 3)))
    expected = torch.tensor([[0, 0, 0], [0.375, 0.125, 0], [0.375, 0.125, 0]])
    assert torch.allclose(seen[0][0, 0], expected)


def test_unknown_points_do_not_count():
    nan = math.nan
    here = torch.tensor([[[0.0, 0.0], [nan, nan]], [[1.0, 1.0], [0.0, 1.0]]])
    there = torch.tensor([[[0.0, 0.0], [1.0, 1.0]], [[1.0, nan], [nan, nan]]])
    assert float(losses.points(lambda p: p, (here, (2, 2)), (there, (2, 2)))) == 0
    none = torch.full((2, 3, 2), nan)
    assert float(losses.points(lambda p: p, (none, (2, 2)), (none, (2, 2)))) == 0


# Precision


def test_half_precision_is_summed_in_single():
    a, b = noise(2, 3, 4, 4).bfloat16(), noise(2, 3, 4, 4, seed=1).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for form in ("paper", "released"):
            for term in (
                lambda x, y, form=form: losses.contextual(form, x, y, 0.1),
                lambda x, y, form=form: losses.perc(form, x, y),
                lambda x, y, form=form: losses.warp_self(form, x, y, torch.ones(2)),
                losses.domain,
            ):
                assert torch.equal(term(a, b), term(a.float(), b.float()))
                assert term(a, b).dtype == torch.float32
