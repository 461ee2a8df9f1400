"""The forward pass of a training step and the terms that follow from it."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from cocosnet import CoCosNet, LossConfig, ModelConfig, presets, training
from cocosnet.config import FEATURE_LAYERS
from cocosnet.training import Batch, Pass, TrainingPass
from tiny import (
    CONFIGS,
    MASKED,
    MIXED,
    PAPER,
    PATCHED,
    critic,
    gap,
    masks,
    network,
    noise,
    photos,
    saved_bytes,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

PAPER_LOSSES = presets.paper_losses(mask=100.0)
RELEASED_LOSSES = presets.released_losses("celebahq-mask", warp_self=100.0)
COMMON = {"feat", "perc", "context", "domain", "reg", "adversarial", "mask"}


def features(image: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
    """Five random levels."""
    found, x = {}, image.float()
    for i, name in enumerate(FEATURE_LAYERS):
        x = F.avg_pool2d(x, 2) if i else x
        x = found[name] = F.relu(F.conv2d(x, noise(6, x.shape[1], 3, 3, seed=i) / 3, padding=1))
    return {name: found[name] for name in layers}


def batch(size: int = 2, height: int = 64, width: int = 96, **changes: Tensor | None) -> Batch:
    given = masks(size, height, width, seed=1)
    whole = Batch(
        input=masks(size, height, width),
        photo=photos(size, height, width),
        exemplar=photos(size, height, width, seed=1),
        exemplar_input=given,
        exemplar_labels=given,
        pseudo=(torch.arange(size) % 2 == 0).float(),
    )
    return dataclasses.replace(whole, **changes)


def loss_of(config: ModelConfig) -> LossConfig:
    return PAPER_LOSSES if config.form == "paper" else RELEASED_LOSSES


def judge(config: ModelConfig) -> nn.Module:
    return critic(presets.discriminator(config).channels)


def step(
    model: CoCosNet, given: Batch, checkpoint: bool = False, half: bool = False
) -> tuple[Pass, dict[str, Tensor]]:
    """Forward and backward of the generator's half of a step."""
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=half)
    with parametrize.cached(), autocast:
        passed = TrainingPass(model, checkpoint=checkpoint)(given)
        config = loss_of(model.config)
        critic = judge(model.config)
        terms = training.generator_terms(config, passed, given, critic, features)
        torch.stack([*training.weighted(config, terms).values()]).sum().backward()
    return passed, terms


@pytest.fixture(params=CONFIGS, ids=str)
def config(request) -> ModelConfig:
    return CONFIGS[request.param]


# What it is given


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("photo", photos(2, 64, 64), r"photo .*\(2, 3, 64, 64\), expected \(2, 3, 64, 96\)"),
        ("exemplar_labels", masks(2, 64, 96, channels=2), "exemplar_labels"),
        ("pseudo", torch.zeros(3), r"pseudo .*expected \(2,\)"),
        ("input", masks(2, 40, 96), "multiples of 32"),
    ],
)
def test_shapes_that_do_not_fit_are_named(name, value, says):
    with pytest.raises(ValueError, match=says):
        batch(**{name: value})


def test_the_photo_comes_with_as_much_condition_as_an_exemplar():
    warm = batch()
    assert warm.photo_input is warm.input
    noisy = batch(exemplar_input=0.01 * noise(2, 3, 64, 96), exemplar_labels=None)
    assert noisy.photo_input is noisy.exemplar_input
    assert batch(exemplar_input=None).photo_input is None


@pytest.mark.parametrize("condition", [None, masks(2, 64, 96, seed=5)], ids=["without", "with"])
def test_in_warm_up_the_exemplars_adaptor_sees_the_photos_mask(condition):
    model = network(MASKED)
    given = batch(exemplar_input=condition)
    adapt = model.correspondence.adapt_exemplar
    with torch.no_grad():
        passed = TrainingPass(model)(given)
        mask = None if condition is None else given.input
        assert gap(passed.adapted_photo, adapt(given.photo, mask)) < 1e-6
        other = given.input if condition is None else None
        assert gap(passed.adapted_photo, adapt(given.photo, other)) > 1e-3


# The pass


def test_in_evaluation_the_pass_is_the_models_own(config):
    model, given = network(config), batch()
    with torch.no_grad():
        ours = TrainingPass(model)(given)
        theirs = model(given.input, given.exemplar, given.exemplar_input)
        adapted = model.correspondence.adapt_input(given.input)
    assert gap(ours.image, theirs.image) < 1e-5
    assert gap(ours.match.warped, theirs.warped) < 1e-5
    assert gap(ours.adapted_input, adapted) < 1e-6


@pytest.mark.parametrize("checkpoint", [False, True])
def test_both_branches_pass_the_papers_batch_norm_once_as_one_batch(checkpoint):
    model, given = network(PAPER).train(), batch()
    seen = []
    norm = model.correspondence.shared.blocks[0].norm_0
    norm.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    step(model, given, checkpoint)
    assert seen == [4]
    assert int(norm.num_batches_tracked) == 1


@pytest.mark.parametrize("size", [1, 2])
def test_every_parameter_gets_a_gradient_and_the_discriminator_none(config, size):
    model, given = network(config).train(), batch(size)
    critic = judge(config)
    with parametrize.cached():
        passed = TrainingPass(model)(given)
        terms = training.generator_terms(loss_of(config), passed, given, critic, features)
        torch.stack([*terms.values()]).sum().backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # Biases before a norm over positions change nothing; they are reached all the same.
    assert [n for n in missing if model.get_parameter(n).grad is None] == []
    assert len(missing) < 20
    assert all(p.grad is None and p.requires_grad for p in critic.parameters())


# The terms


def test_terms_are_those_with_a_weight(config):
    given, losses = batch(), loss_of(config)
    with torch.no_grad():
        passed = TrainingPass(network(config))(given)
        names = COMMON | ({"warp_self", "discriminator_features"} if losses.warp_self else set())
        terms = training.generator_terms(losses, passed, given, judge(config), features)
        assert set(terms) == names
        for name in sorted(names):
            less = dataclasses.replace(losses, **{name: 0.0})
            fewer = training.generator_terms(less, passed, given, judge(config), features)
            assert set(fewer) == names - {name}
            assert all(torch.equal(fewer[n], terms[n]) for n in fewer)


@torch.no_grad()
def papers_terms(given, **changes):
    """The pass of a batch in the paper's form, and its terms under changed losses."""
    passed = TrainingPass(network(PAPER))(given)
    losses = dataclasses.replace(PAPER_LOSSES, **changes)
    return passed, training.generator_terms(losses, passed, given, judge(PAPER), features)


def test_pixels_are_those_of_the_result():
    given = batch()
    passed, terms = papers_terms(given, pixels=1.0)
    each = (passed.image - given.photo).abs().mean(dim=(1, 2, 3))
    expected = (each * given.pseudo).sum() / given.pseudo.sum()
    assert float(terms["pixels"]) == pytest.approx(float(expected), rel=1e-5)


def test_without_true_masks_there_is_no_mask_term():
    _, terms = papers_terms(batch(exemplar_labels=None))
    assert set(terms) == COMMON - {"mask"}


def test_background_counts_in_the_mask_term_where_it_is_a_class():
    given = batch()
    passed, terms = papers_terms(given, mask_background=True)
    with torch.no_grad():
        warped = passed.match.warp(F.interpolate(given.exemplar_labels, scale_factor=1 / 4))
        ours = F.interpolate(given.input, scale_factor=1 / 4)
        expected = (ours * -(warped + 1e-10).log()).sum() / ours.sum()
    assert float(terms["mask"]) == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("config", [PAPER, MIXED, PATCHED], ids=["paper", "mask_mix", "patches"])
def test_terms_of_the_match_follow_from_its_matrix(config):
    """Eq. 4 and 12 dense, at 1/4: reg, mask, domain and warp_self."""
    given, model = batch(), network(config)
    with torch.no_grad():
        passed = TrainingPass(model)(given)
        losses = dataclasses.replace(loss_of(config), warp_self=1.0)
        terms = training.generator_terms(losses, passed, given, judge(config), features)
        side = passed.match.query.grid
        identity = torch.eye(side[0] * side[1]).unflatten(1, side)[None].expand(2, -1, -1, -1)
        there = passed.match.warp(identity).flatten(2)  # (B, n, N)
        back = passed.match.warp_back(identity).flatten(2)  # (B, N, n)
        colours = F.avg_pool2d(given.exemplar, 4)
        if config.warp_patch:
            colours = F.pixel_unshuffle(given.exemplar, 4)
        returned = colours.flatten(2) @ there @ back
        assert float(terms["reg"]) == pytest.approx(
            float((returned - colours.flatten(2)).abs().mean()), rel=1e-4
        )
        theirs = F.interpolate(given.exemplar_labels, scale_factor=1 / 4).flatten(2)
        ours = F.interpolate(given.input, scale_factor=1 / 4).flatten(2)
        warped = theirs @ there
        picked = (ours[:, 1:] * -(warped[:, 1:] + 1e-10).log()).sum() / ours[:, 1:].sum()
        assert float(terms["mask"]) == pytest.approx(float(picked), rel=1e-3)
        first = (passed.match.warped[0] - given.photo[0]).abs().mean()
        expected = first if config.form == "paper" else first / (1 + 1e-5) / 2
        assert float(terms["warp_self"]) == pytest.approx(float(expected), rel=1e-4)
        adapted = (passed.adapted_input - passed.adapted_photo).abs().mean()
        assert float(terms["domain"]) == pytest.approx(float(adapted), rel=1e-4)


@pytest.mark.parametrize("config", [PAPER, PATCHED], ids=["paper", "released"])
def test_known_points_pull_both_matches_to_them(config):
    """The gradient of the term alone makes matches of condition and of photo better."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(4.0, 60, 8)] * 2, indexing="xy"), dim=-1)
    points = torch.cat([grid, grid.flip(1)], dim=-1).flatten(0, 1)[None].expand(2, -1, -1)
    points = torch.cat([points, torch.full((2, 3, 4), torch.nan)], dim=1)
    given, model = batch(width=64, points=points), network(config).train()
    only = LossConfig(
        form="paper", feat=0, perc=0, context=0, context_layers={}, domain=0, adversarial=0,
        points=1.0,
    )  # fmt: skip
    optimiser = torch.optim.Adam(model.correspondence.parameters(), 1e-3)
    values = []
    for _ in range(6):
        with parametrize.cached():
            passed = TrainingPass(model)(given)
            terms = training.generator_terms(only, passed, given, judge(config), features)
            optimiser.zero_grad()
            terms["points"].backward()
        values.append(float(terms["points"].detach()))
        optimiser.step()
    assert set(terms) == {"points"} and passed.photo_match is not None
    assert values[-1] < 0.8 * values[0]


def test_without_points_photos_are_not_matched():
    passed, terms = papers_terms(batch(), points=1.0)
    assert passed.photo_match is None and "points" not in terms


def test_points_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"points has shape \(2, 5, 2\), expected \(2, N, 4\)"):
        batch(points=torch.zeros(2, 5, 2))


def test_real_images_are_looked_at_without_a_gradient():
    called = []

    def watched(image: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        called.append((image, layers, torch.is_grad_enabled()))
        return features(image, layers)

    given = batch()
    passed = TrainingPass(network(PAPER))(given)
    training.generator_terms(PAPER_LOSSES, passed, given, judge(PAPER), watched)
    assert [with_gradient for *_, with_gradient in called] == [True, False, False]
    assert called[0][0] is passed.image
    assert called[1][:2] == (given.photo, FEATURE_LAYERS)
    assert called[2][:2] == (given.exemplar, FEATURE_LAYERS[1:])


def test_the_discriminators_terms_train_it_alone(config):
    given, critic = batch(), judge(config)
    image = photos(2, 64, 96, seed=4).requires_grad_()
    terms = training.discriminator_terms(image, given, critic)
    for name, shown, sign in (("fake", image, 1), ("real", given.photo, -1)):
        verdicts = [scale[-1] for scale in critic(shown, given.input)]
        expected = sum(F.relu(1 + sign * v).mean() for v in verdicts) / 2
        assert float(terms[name].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    (terms["fake"] + terms["real"]).backward()
    assert image.grad is None
    assert all(p.grad is not None for p in critic.parameters())


def test_a_cache_that_would_leave_the_discriminator_untrained_is_refused():
    given, critic, model = batch(), judge(PAPER).train(), network(PAPER).train()
    with parametrize.cached():
        passed = TrainingPass(model)(given)
        training.generator_terms(PAPER_LOSSES, passed, given, critic, features)
        with pytest.raises(RuntimeError, match="cached"):
            training.discriminator_terms(passed.image, given, critic)
    with parametrize.cached():
        terms = training.discriminator_terms(passed.image, given, critic)
        (terms["fake"] + terms["real"]).backward()
    assert all(p.grad is not None for p in critic.parameters())


def test_weights_multiply_and_both_shares_of_the_hinge_weigh_the_same():
    losses = presets.paper_losses(adversarial=3.0, reg=2.0)
    terms = dict.fromkeys(("reg", "adversarial", "fake", "real"), torch.tensor(5.0))
    expected = {"reg": 10.0, "adversarial": 15.0, "fake": 15.0, "real": 15.0}
    assert {n: float(v) for n, v in training.weighted(losses, terms).items()} == expected


# Recomputed activations


def test_recomputed_activations_give_the_same_step_from_less_memory(config):
    kept, results = [], []
    for checkpoint in (False, True):
        model = network(config).train()
        with parametrize.cached(), saved_bytes() as sizes:
            TrainingPass(model, checkpoint=checkpoint)(batch())
        kept.append(sum(sizes))
        model = network(config).train()
        step(model, batch(), checkpoint)
        gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
        results.append((gradients, dict(model.named_buffers())))
    assert kept[1] < 0.75 * kept[0]
    (plain, buffers), (recomputed, others) = results
    assert gap(plain, recomputed) <= 1e-6 * float(plain.abs().max())
    assert all(torch.equal(buffers[name], others[name]) for name in buffers)


def test_spectral_norm_takes_one_power_iteration_a_step():
    model = network(PAPER).train()
    once = copy.deepcopy(model)
    step(model, batch(), checkpoint=True)
    for child in once.modules():
        if parametrize.is_parametrized(child, "weight"):
            _ = child.weight
    theirs = dict(once.named_buffers())
    norms = {n: b for n, b in model.named_buffers() if n.endswith(("._u", "._v"))}
    assert norms
    assert all(torch.equal(b, theirs[name]) for name, b in norms.items())


def test_recomputing_with_other_weights_is_refused():
    model = network(PAPER).train()
    with pytest.raises(RuntimeError, match="cached"):
        TrainingPass(model, checkpoint=True)(batch())
    with torch.no_grad():
        TrainingPass(model, checkpoint=True)(batch())


def test_blocks_with_batch_norm_are_not_recomputed():
    model = network(presets.paper(3, width=2, norm="batch")).train()
    step(model, batch(), checkpoint=True)
    counts = {int(m.num_batches_tracked) for m in model.modules() if isinstance(m, nn.BatchNorm2d)}
    assert counts == {1}


# Half precision


@pytest.mark.parametrize("checkpoint", [False, True])
def test_bfloat16_steps_come_near_single_ones(config, checkpoint):
    results = [step(network(config).train(), batch(), checkpoint, half) for half in (False, True)]
    (_, single), (passed, terms) = results
    assert passed.image.dtype == torch.float32
    assert set(terms) == set(single)
    for name, value in terms.items():
        assert value.dtype == torch.float32
        expected = float(single[name].detach())
        assert float(value.detach()) == pytest.approx(expected, rel=0.1, abs=0.05), name
