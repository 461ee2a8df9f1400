"""A training step's parts: rates, warm-up, averages, and what many processes need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cocosnet.weights import folded_state
from torch import nn
from training import RECIPES, TinyFeatures

from cocoscli.data.training import TrainingItem
from cocoscli.engine.training.loading import Loaded
from cocoscli.engine.training.trainer import Machine, Trainer, masks_given, new_model, rate
from cocoscli.recipe import Recipe, Schedule, read_recipe

CPU = torch.device("cpu")
CLASSES = 3


@pytest.fixture
def recipe_of(tmp_path: Path):
    def read(form: str, *changes: str) -> Recipe:
        path = tmp_path / f"{form}.toml"
        path.write_text(RECIPES[form])
        return read_recipe(str(path), changes).with_channels(CLASSES)

    return read


def trainer_of(recipe: Recipe, seed: int = 0) -> Trainer:
    machine = Machine(device=CPU, seed=seed)
    return Trainer(recipe, new_model(recipe, seed), TinyFeatures(), machine)


def loaded(*positions: int) -> Loaded:
    items = []
    for position in positions:
        rng = np.random.default_rng(position)
        photos = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
        ids = np.kron(rng.integers(0, CLASSES, (2, 1, 8, 8)), np.ones((8, 8))).astype(np.uint8)
        pseudo = position % 2 == 0
        items.append(TrainingItem(f"{position}.png", photos[0], ids[0], photos[1], ids[1], pseudo))
    return Loaded.of(items, positions)


def test_rate_is_constant_and_then_falls_to_nothing():
    schedule = Schedule(epochs=2, decay_epochs=4)
    rates = [rate(schedule, epoch) for epoch in (0, 1.9, 2, 3, 4, 6, 7)]
    assert rates == [1, 1, 1, 0.75, 0.5, 0, 0]
    assert rate(Schedule(epochs=2), 100) == 1


def test_the_optimisers_follow_the_rate(recipe_of):
    trainer = trainer_of(recipe_of("paper", "schedule.epochs=1", "schedule.decay_epochs=2"))
    trainer.advance([loaded(0, 1)], 2.0)
    rates = {n: o.param_groups[0]["lr"] for n, o in trainer.optimisers.items()}
    assert rates == pytest.approx({"generator": 0.5e-4, "discriminator": 2e-4})


def test_masks_are_given_until_the_warm_up_is_over(recipe_of):
    assert masks_given(Schedule(mask_epochs=0), 50)
    assert masks_given(Schedule(mask_epochs=2), 1.99)
    assert not masks_given(Schedule(mask_epochs=2), 2)
    trainer = trainer_of(recipe_of("released", "schedule.mask_epochs=1"))
    early, late = (trainer.batch(loaded(4, 5), epoch) for epoch in (0.5, 1.0))
    assert torch.equal(early.exemplar_input, early.exemplar_labels)
    assert (early.exemplar_input.sum(dim=1) == 1).all()
    assert late.exemplar_labels is None
    assert float(late.exemplar_input.std()) == pytest.approx(0.01, rel=0.05)


def test_noise_belongs_to_its_position_whatever_the_batch(recipe_of):
    trainer = trainer_of(recipe_of("released", "schedule.mask_epochs=1"))
    together = trainer.batch(loaded(4, 5), 2.0).exemplar_input
    apart = [trainer.batch(loaded(n), 2.0).exemplar_input[0] for n in (4, 5)]
    assert torch.equal(together, torch.stack(apart))
    assert not torch.equal(*apart)
    other = trainer_of(recipe_of("released", "schedule.mask_epochs=1"), seed=1)
    assert not torch.equal(other.batch(loaded(4), 2.0).exemplar_input[0], apart[0])


def test_the_average_by_hand_for_two_steps(recipe_of):
    trainer = trainer_of(recipe_of("paper", "schedule.ema=0.17"))
    expected = {k: v.clone() for k, v in folded_state(trainer.model).items()}
    for decay in (0.17, 0.17):  # 2/11 and 3/12 bound it from above
        trainer.advance([loaded(0, 1)], 0.0)
        for name, value in folded_state(trainer.model).items():
            kept = decay * expected[name] + (1 - decay) * value
            expected[name] = kept if value.is_floating_point() else value.clone()
    deployed = trainer.deployable().state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(deployed[name], value, rtol=1e-5, atol=1e-6)


def test_early_averages_forget_the_start_sooner(recipe_of):
    trainer = trainer_of(recipe_of("paper", "schedule.ema=0.999"))
    start = {k: v.clone() for k, v in folded_state(trainer.model).items()}
    trainer.advance([loaded(0, 1)], 0.0)
    now = folded_state(trainer.model)
    for name, value in trainer.average.items():
        if value.is_floating_point():
            expected = start[name] * 2 / 11 + now[name] * 9 / 11
            torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


def test_parts_add_up_to_the_batch(recipe_of):
    """The gradient of two halves is that of the whole, where no norm runs over the batch and all
    are pseudo pairs; spectral norm takes one more iteration for each part."""
    recipe = recipe_of("released")
    whole, parts = trainer_of(recipe), trainer_of(recipe)
    one = whole.advance([loaded(0, 2)], 0.0)
    two = parts.advance([loaded(0), loaded(2)], 0.0)
    assert one.keys() == two.keys()
    for name in ("domain", "reg"):
        assert two[name] == pytest.approx(one[name], rel=0.05)


def test_batch_norm_is_converted_for_many_devices(recipe_of):
    """The conversion alone: `Trainer` makes it on CUDA devices only, and SyncBatchNorm runs on
    nothing else."""
    model = new_model(recipe_of("paper"), 0)
    norms = {n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    keys = list(folded_state(model))
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    found = {n for n, m in converted.named_modules() if isinstance(m, nn.SyncBatchNorm)}
    assert found == norms and any("shared" in name for name in norms)
    assert list(folded_state(converted)) == keys


def test_a_discriminator_that_no_term_asks_is_not_trained(recipe_of):
    trainer = trainer_of(recipe_of("paper", "losses.adversarial=0.0", "losses.pixels=100.0"))
    judge = {k: v.clone() for k, v in trainer.discriminator.state_dict().items()}
    terms = trainer.advance([loaded(0, 1)], 0.0)
    assert "pixels" in terms and "discriminator_fake" not in terms
    assert all(torch.equal(judge[k], v) for k, v in trainer.discriminator.state_dict().items())


def test_where_no_term_looks_at_images_the_match_alone_is_trained(recipe_of):
    image = ("feat", "perc", "context", "adversarial", "discriminator_features")
    recipe = recipe_of("paper", *(f"losses.{name}=0.0" for name in image))
    trainer = trainer_of(recipe)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    judge = {k: v.clone() for k, v in trainer.discriminator.state_dict().items()}
    terms = trainer.advance([loaded(0, 1)], 0.0)
    assert {"domain", "reg"} <= set(terms) and not any("discriminator" in name for name in terms)
    after = trainer.model.state_dict()
    moved = {name.partition(".")[0] for name in after if not torch.equal(before[name], after[name])}
    assert moved == {"correspondence"}
    assert all(torch.equal(judge[k], v) for k, v in trainer.discriminator.state_dict().items())
    again = trainer_of(recipe)
    again.load_state(*trainer.state())
    assert trainer.advance([loaded(2, 3)], 0.0) == again.advance([loaded(2, 3)], 0.0)
