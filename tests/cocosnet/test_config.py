from __future__ import annotations

import dataclasses
import json

import cocosnet
import pytest
from cocosnet import CoCosNet, ConditionSchema, ModelConfig, presets
from tiny import PAPER


def test_the_paper_preset_is_table_5():
    config = presets.paper(channels=151)
    assert (config.form, config.width, config.hidden) == ("paper", 64, 128)
    assert (config.adaptor_kernel, config.match_kernel, config.temperature) == (4, 1, 0.01)
    assert (config.match_norm, config.norm) == ("channel", "position")
    assert not (config.mask_mix or config.exemplar_mask or config.warp_patch)
    assert not config.needs_exemplar_input


def test_style_encoders_are_twice_the_width_unless_told():
    assert presets.paper(channels=1, width=16).hidden == 32
    assert presets.paper(channels=1, width=16, hidden=128).hidden == 128


@pytest.mark.parametrize(
    ("task", "channels", "kernel", "mix", "patch", "upsample"),
    [
        ("ade20k", 151, 3, True, False, "nearest"),
        ("celebahq-mask", 19, 4, True, False, "bilinear"),
        ("celebahq-edge", 15, 4, True, False, "bilinear"),
        ("deepfashion", 20, 4, False, True, "bilinear"),
    ],
)
def test_released_presets(task, channels, kernel, mix, patch, upsample):
    config = presets.released(task)
    assert (config.form, config.width, config.hidden) == ("released", 64, 128)
    assert (config.match_kernel, config.temperature, config.norm) == (3, 0.01, "position")
    assert (config.channels, config.adaptor_kernel) == (channels, kernel)
    assert (config.mask_mix, config.needs_exemplar_input) == (mix, mix)
    assert (config.warp_patch, config.warp_upsample) == (patch, upsample)


def test_tasks_are_the_four_released_ones():
    assert set(presets.TASKS) == {"ade20k", "celebahq-mask", "celebahq-edge", "deepfashion"}


def test_an_unknown_task_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match=r"'cats'.*ade20k.*deepfashion"):
        presets.released("cats")


def test_discriminators_see_the_image_alone_in_the_paper_and_the_condition_in_the_release():
    paper = presets.discriminator(presets.paper(channels=9, width=8))
    assert (paper.channels, paper.width, paper.spectral_ends) == (0, 8, True)
    released = presets.discriminator(presets.released("ade20k", width=8))
    assert (released.channels, released.width, released.spectral_ends) == (151, 8, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"form": "draft"},
        {"channels": 0},
        {"channels": 2.5},
        {"width": 1},
        {"width": -4},
        {"hidden": 0},
        {"adaptor_kernel": 5},
        {"match_kernel": 2},
        {"match_norm": "batch"},
        {"norm": "channel"},
        {"warp_upsample": "bicubic"},
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
    ],
)
def test_a_field_out_of_range_is_named_with_its_value(changes):
    ((name, value),) = changes.items()
    with pytest.raises(ValueError, match=name) as error:
        ModelConfig(**{"form": "paper", "channels": 3, **changes})
    assert str(value) in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"form": "paper", "mask_mix": True},
        {"form": "paper", "warp_patch": True},
        {"form": "released", "exemplar_mask": True},
        {"form": "released", "match_norm": "spatial", "match_kernel": 3},
    ],
)
def test_contradictions_are_refused(fields):
    with pytest.raises(ValueError):
        ModelConfig(channels=3, **fields)


def test_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PAPER.width = 3


@pytest.mark.parametrize("task", [*presets.TASKS, None])
def test_configs_survive_json(task):
    config = presets.released(task, width=8) if task else presets.paper(7, norm="batch")
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_and_missing_settings_are_all_named():
    with pytest.raises(ValueError, match="dropout, layers"):
        ModelConfig.from_dict({**PAPER.to_dict(), "layers": 3, "dropout": 0.5})
    with pytest.raises(ValueError, match="channels, form"):
        ModelConfig.from_dict({"width": 4})


def test_fields_that_older_checkpoints_lack_take_their_defaults():
    config = ModelConfig.from_dict({"form": "paper", "channels": 5})
    assert config == ModelConfig(form="paper", channels=5)


def test_condition_schemas_survive_json():
    schema = ConditionSchema(kind="labels", channels=2, classes=("sky", "sea"), size=512)
    assert ConditionSchema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_a_model_has_its_condition_and_refuses_one_of_other_planes():
    assert CoCosNet(PAPER).condition == ConditionSchema(kind="labels", channels=3)
    with pytest.raises(ValueError, match=r"5.*3"):
        CoCosNet(PAPER, ConditionSchema(kind="edges", channels=5))


def test_the_public_names():
    for name in cocosnet.__all__:
        assert hasattr(cocosnet, name)
