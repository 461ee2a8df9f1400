"""Recipes: what they resolve to, what is refused and in which words."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from cocosnet import presets

from cocoscli.errors import CocosError, UsageError
from cocoscli.recipe import Data, Optimiser, Recipe, Schedule, difference, read_recipe, recipe_names
from cocoscli.recipe.files import LARGEST_FILE, parse_recipe

PAPER: dict[str, Any] = {"model": {"preset": "paper"}, "condition": {"kind": "edges"}}


def recipe(**tables: Any) -> Recipe:
    return parse_recipe({**PAPER, **tables}, "mine", "mine.toml")


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str | bytes, name: str = "mine.toml") -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


# What a recipe resolves to


def test_what_is_left_out_is_the_presets_and_the_papers_training():
    mine = recipe(condition={"kind": "edges", "channels": 1})
    assert (mine.name, mine.description, mine.preset) == ("mine", "", "paper")
    assert mine.model == presets.paper(1) and mine.losses == presets.paper_losses()
    assert (mine.condition.kind, mine.condition.size, mine.load) == ("edges", 256, 256)
    assert (mine.data, mine.optimiser, mine.schedule) == (Data(), Optimiser(), Schedule())
    adam = mine.optimiser
    assert (adam.lr, adam.lr_discriminator, adam.beta1, adam.beta2) == (1e-4, 4e-4, 0, 0.999)
    assert adam.eps == adam.eps_discriminator == 1e-8 and adam.clip == 0
    assert mine.schedule.decay_epochs == mine.schedule.ema == mine.schedule.mask_epochs == 0


@pytest.mark.parametrize("task", presets.TASKS)
def test_a_released_task_brings_its_network_and_its_losses(task):
    mine = recipe(
        model={"preset": task, "width": 16, "hidden": 32},
        condition={"kind": task, "channels": 7},
        losses={"context": 5, "context_layers": {"relu2_2": 1}},
    )
    assert mine.model == presets.released(task, channels=7, width=16, hidden=32)
    layers = {"relu2_2": 1.0, "relu3_2": 2.0, "relu4_2": 4.0, "relu5_2": 8.0}
    assert mine.losses == presets.released_losses(task, context=5.0, context_layers=layers)


def test_channels_may_be_left_to_the_data():
    mine = recipe()
    assert mine.channels is None
    for ask in (lambda: mine.model, lambda: mine.condition):
        with pytest.raises(
            CocosError, match=r"recipe mine: condition\.channels is left to the data"
        ):
            ask()
    filled = mine.with_channels(3, ["a", "b", "c"])
    assert filled.model.channels == filled.condition.channels == 3
    assert filled.condition.classes == ("a", "b", "c")
    assert filled.with_channels(3, ["x", "y", "z"]).condition.classes == ("a", "b", "c")
    with pytest.raises(CocosError, match="3 condition planes, but the data has 4"):
        filled.with_channels(4)
    with pytest.raises(CocosError, match="names for 2 planes, but the data has 3"):
        mine.with_channels(3, ["a", "b"])


@pytest.mark.parametrize("name", [*recipe_names(), None])
def test_what_a_recipe_resolves_to_reads_back_to_the_same(name):
    one = read_recipe(name) if name else recipe()
    again = parse_recipe(tomllib.loads(one.to_toml()), "other", "run.toml")
    assert again.to_dict() == one.to_dict() and again.name == one.name
    assert difference(one, again) == []
    assert (again.losses, again.data.exemplars, again.load) == (
        one.losses,
        one.data.exemplars,
        one.load,
    )
    if one.channels:
        assert (again.model, again.condition) == (one.model, one.condition)


def test_the_difference_of_two_names_every_key():
    a = recipe(data={"load": 300, "pseudo": ["crop"]})
    b = recipe(losses={"context_layers": {"relu1_2": 2}}, optimiser={"eps": 1e-3})
    assert difference(a, b) == [
        "data.load: 300 -> 256",
        "data.pseudo: ['crop'] -> ['warp', 'flip']",
        "optimiser.eps: 1e-08 -> 0.001",
        "losses.context_layers.relu1_2: nothing -> 2.0",
    ]
    assert difference(a, a) == []


# --set


def test_changes_are_made_together_and_in_order(write):
    mine = write('[model]\npreset = "paper"\n[condition]\nkind = "edges"\nchannels = 1\n')
    read = read_recipe(
        mine,
        ["condition.size=320", "data.load=352", "data.pseudo = ['crop']", "losses.context=1",
         "losses.context=5", "model.preset=deepfashion", "data.exemplars.first=0.2",
         "data.exemplars.last = 0.5"],
    )  # fmt: skip
    assert (read.condition.size, read.load, read.data.pseudo) == (320, 352, ("crop",))
    assert (read.losses.context, read.losses.warp_self) == (5, 100)
    assert (read.preset, read.model.form) == ("deepfashion", "released")
    assert (read.data.exemplars.first, read.data.exemplars.last) == (0.2, 0.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("losses.contxt=5", "losses.contxt: unknown key (did you mean losses.context?)"),
        ("data.exemplars.frst=1", "unknown key (did you mean data.exemplars.first?)"),
        ("lr=1", "lr: unknown key (did you mean optimiser.lr?)"),
        ("model.channels=3", "unknown key (did you mean condition.channels?)"),
        ("zzz=1", "zzz: unknown key."),
        ("losses.context='a'", "losses.context: should be a valid number, not 'a'"),
        ("model.width=2.5", "model.width: should be a valid integer, not 2.5"),
        ("model.width=0", "model: width is 0, expected a whole number"),
        ("model.preset=papr", "'deepfashion', not 'papr'"),
        ("model.exemplar_mask=true", "model: exemplar_mask belongs to the paper form"),
        ("losses.reg=-1", "losses: reg is -1.0, expected a number from 0 up"),
        ("losses.context_layers.relu9=1", "losses: feature layer 'relu9', expected one of"),
        ("schedule.batch_size=true", "should be a valid integer, not True"),
        ("schedule.mask_epochs=3", "mask_epochs needs a model that takes exemplar masks"),
        ("schedule.ema=1", "schedule.ema: should be less than 1, not 1"),
        ("optimiser.lr=nan", "optimiser.lr: should be a finite number"),
        ("optimiser.lr=0", "optimiser.lr: should be greater than 0"),
        ("data.flip=1", "data.flip: should be a valid boolean, not 1"),
        ("data=3", "data: should be a table, not 3"),
        ("data.load=100", "data.load is 100, expected at least condition.size, 128"),
        ("data.pseudo=['crop']", "data.pseudo has crop: expected a data.load above 128"),
        ("data.pseudo=[]", "data.pseudo: expected one or more of"),
        ("data.exemplars.first=0.6", "data.exemplars: first, last, any and pseudo sum to 1.6"),
        ("condition.size=100", "condition.size: should be a multiple of 32, not 100"),
        ("condition.channels=3", "condition: 14 classes for 3 channels"),
        ("=", "expected KEY=VALUE"),
        ("losses.context", "--set losses.context: expected KEY=VALUE"),
        ("a b=1", "expected KEY=VALUE"),
    ],
)
def test_a_change_that_cannot_be_is_a_usage_error(change, said):
    with pytest.raises(UsageError) as error:
        read_recipe("scenes", [change])
    assert said in error.value.message and error.value.message.startswith("--set")
    assert "\n" not in error.value.message and len(error.value.message) < 300


def test_several_faults_are_named_and_the_rest_counted():
    with pytest.raises(CocosError, match=r"mine.toml: a: unknown key; b: .*; and 2 more\."):
        recipe(a=1, b=2, c=3, d=4, e=5)


def test_no_epoch_at_all_is_no_training():
    assert recipe(schedule={"epochs": 0, "decay_epochs": 1}).schedule.decay_epochs == 1
    with pytest.raises(CocosError, match="schedule: epochs and decay_epochs are both 0"):
        recipe(schedule={"epochs": 0})


# Files


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "model: missing; condition: missing"),
        (b"model = 3", "model: should be a table, not 3"),
        (b"[model\n", "not a TOML file"),
        (b"a = " + b"[" * 100_000, "not a TOML file"),
        (b"\xff\xfe\x00", "not a readable recipe"),
        (b"\x00\x01", "not a TOML file"),
        (b"#" * (LARGEST_FILE + 1), "more than 1,000,000 bytes"),
        (b"[condition]\nkind = 'edges'\n[model]\npreset = 'paper'\nwdith = 1", "model.width?"),
    ],
)
def test_a_file_that_is_no_recipe(write, content, said):
    path = write(content)
    with pytest.raises(CocosError) as error:
        read_recipe(path)
    assert error.value.message.startswith(f"{path}: ") and said in error.value.message


def test_recipes_that_are_not_there(tmp_path):
    with pytest.raises(CocosError, match=r"scense: no such recipe\.") as error:
        read_recipe("scense")
    assert error.value.hint.startswith("Did you mean scenes? There are ")
    for name in (tmp_path / "none.toml", tmp_path, tmp_path / "a" / "b"):
        with pytest.raises(CocosError, match="no such recipe"):
            read_recipe(str(name))
