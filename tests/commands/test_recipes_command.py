"""`cocos recipes`, and that what is shipped says what it should."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from cocosnet import presets

from cocoscli.app import app
from cocoscli.data.conditions import CONDITIONS
from cocoscli.data.layouts import LAYOUTS
from cocoscli.recipe import read_recipe, recipe_folder, recipe_names

NAMES = recipe_names()
RELEASED = [name for name in NAMES if name.endswith("-released")]
FULL = ("ade20k", "ade20k-outdoor", "celebahq-mask", "celebahq-edge", "deepfashion", "flickr")


def test_the_list_is_a_table_with_a_line_a_recipe(desk):
    told = desk.run("recipes")
    assert told.code == 0 and not told.err
    heading, *lines = told.out.splitlines()
    assert heading.split() == ["name", "preset", "condition", "size", "what"]
    assert [line.split()[0] for line in lines] == NAMES
    assert next(line for line in lines if line.startswith("scenes ")).split()[:4] == [
        "scenes", "celebahq-mask", "labels", "128",
    ]  # fmt: skip


def test_the_list_for_machines(desk):
    rows = json.loads(desk.run("recipes", "--json").out)
    assert [row["name"] for row in rows] == NAMES
    assert {*rows[0]} == {"name", "preset", "condition", "size", "what"} and rows[0]["size"] == 256


def test_one_is_printed_as_it_is_and_reads_back(desk):
    told = desk.run("recipes", "ade20k")
    assert told.code == 0 and not told.err
    assert told.out == (recipe_folder() / "ade20k.toml").read_text()
    desk.file("mine.toml", told.out)
    assert desk.run("recipes", "mine.toml").out == told.out
    resolved = json.loads(desk.run("recipes", "mine.toml", "--json").out)
    assert resolved["name"] == "mine" and resolved["losses"]["mask"] == 100
    assert resolved["model"]["hidden"] == 128 and resolved["optimiser"]["beta2"] == 0.999


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("ade20", "ade20: no such recipe", "Did you mean ade20k? There are ade20k, "),
        ("zzz", "zzz: no such recipe", "There are ade20k, "),
        ("mine.toml", "mine.toml: no such recipe", "There are ade20k, "),
    ],
)
def test_an_unknown_name_is_told_the_nearest(desk, name, said, hint):
    told = desk.run("recipes", name)
    assert told.code == 1 and not told.out
    assert said in told.said[0] and told.said[1].startswith(hint)


# What is shipped


def commands(name: str) -> list[list[str]]:
    """The commands in the comment that opens a recipe, each as its words."""
    text = (recipe_folder() / f"{name}.toml").read_text()
    opening = "\n".join(re.findall(r"^# ?(.*)$", text.split("description")[0], re.M))
    lines = re.sub(r"\\\n *", "", opening).splitlines()
    mine = (line.strip() for line in lines if line.strip().startswith("cocos "))
    return [shlex.split(line.split("    ")[0])[1:] for line in mine]


def option(words: list[str], name: str) -> str | None:
    return words[words.index(name) + 1] if name in words else None


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_that_open_a_recipe_are_right(name):
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    given = commands(name)
    assert [words[0] for words in given][:3] == ["prepare", "train", "translate"]
    prepare, train, translate = given[:3]
    for words in given:
        if words[0] in known:
            flags = {flag for each in known[words[0]].params for flag in each.opts}
            assert {word for word in words if word.startswith("--")} <= flags
    assert option(train, "--recipe") == name
    assert option(train, "--data") == f"{option(prepare, '--output')}/train-*.tar"
    assert option(translate, "--weights") == f"{option(train, '--output')}/weights.safetensors"
    kind = option(prepare, "--kind")
    for words in (prepare, translate):
        layout = LAYOUTS[option(words, "--layout") or "labels"]
        made = layout.making(kind) if kind and words is prepare else layout
        assert made.kind in (read_recipe(name).sees.kind, "chains")


@pytest.mark.parametrize("name", NAMES)
def test_conditions_and_networks_fit(name):
    recipe = read_recipe(name)
    condition = CONDITIONS[recipe.condition.kind]
    assert condition.channels in (None, recipe.condition.channels)
    assert recipe.description and "\n" not in recipe.description
    if condition.classes:
        assert recipe.condition.classes in ((), condition.classes)
    takes_masks = recipe.model.exemplar_mask or recipe.model.mask_mix
    if recipe.losses.mask:
        assert condition.is_labels
    elif condition.is_labels:
        assert not takes_masks


@pytest.mark.parametrize("name", FULL)
def test_the_papers_recipes_are_the_papers(name):
    recipe = read_recipe(name)
    masks = name == "ade20k"
    assert recipe.model == presets.paper(recipe.condition.channels, exemplar_mask=masks)
    assert recipe.losses == presets.paper_losses(mask=100.0 if masks else 0.0)
    assert (recipe.load, recipe.condition.size, recipe.data.flip) == (256, 256, False)
    assert recipe.optimiser == type(recipe.optimiser)()
    schedule = recipe.schedule
    assert schedule.epochs == {"ade20k": 100, "deepfashion": 100}.get(name, 60)
    assert (schedule.batch_size, schedule.decay_epochs, schedule.ema) == (32, 0, 0)
    assert schedule.mask_epochs == (80 if masks else 0)
    assert recipe.data.exemplars.pseudo == 0.3


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_recipes_are_the_releases(name):
    recipe = read_recipe(name)
    task = "ade20k" if "outdoor" in name else name.removesuffix("-released")
    assert recipe.preset == task and recipe.model == presets.released(task)
    assert recipe.losses == presets.released_losses(task)
    assert (recipe.load, recipe.condition.size) == (286, 256)
    assert recipe.data.flip == (task != "deepfashion")
    adam = recipe.optimiser
    assert (adam.beta1, adam.beta2, adam.eps, adam.eps_discriminator) == (0, 0.9, 1e-3, 1e-8)
    epochs = {"ade20k": 100, "deepfashion": 50}.get(task, 30)
    assert recipe.schedule.epochs == recipe.schedule.decay_epochs == epochs


def test_every_dataset_of_the_paper_is_there():
    assert {*FULL} <= {*NAMES} and {f"{name}-released" for name in FULL[:5]} == {*RELEASED}
    assert all(Path(name).name == name for name in NAMES)
