"""Which weights are taken where none are given."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cocosnet
import pytest
import torch

from cocoscli.engine import models
from cocoscli.engine.models import bundled_weights, load_weights, newest_weights, numbered_runs
from cocoscli.engine.plan import PairOptions, plan_pairs
from cocoscli.recipe import read_recipe


@pytest.fixture
def runs(desk, monkeypatch):
    """A function that puts weights of the desk into ./runs/NNN."""
    monkeypatch.chdir(desk.folder)

    def put(number: str, name: str = "labels"):
        folder = desk.folder / "runs" / number
        folder.mkdir(parents=True)
        if name:
            shutil.copy(desk.weights / f"{name}.safetensors", folder / "weights.safetensors")
        return folder

    return put


def test_runs_are_counted_by_number(runs):
    for number in ("9", "010", "002", "mine"):
        runs(number, "")
    assert [run.name for run in numbered_runs()] == ["002", "9", "010"]


def test_the_newest_run_that_fits(runs):
    assert newest_weights("labels", 14) is None
    runs("000"), runs("001"), runs("002", "edges"), runs("003", "")
    (runs("004") / "weights.safetensors").write_bytes(b"half a file")
    assert str(newest_weights("labels", 14)) == "runs/001/weights.safetensors"
    assert str(newest_weights("edges", None)) == "runs/002/weights.safetensors"
    assert newest_weights("labels", 19) is None
    assert newest_weights(None, None) is None


def test_translate_takes_it_for_a_layout_and_says_so(desk, runs):
    desk.fill()
    runs("000")
    options = {"inputs": "masks", "exemplar": "photos"}
    plan = plan_pairs(PairOptions(**options, layout="labels"))
    assert plan.weights.name == "runs/000/weights.safetensors"
    assert ("weights", "runs/000/weights.safetensors", "--weights") in plan.defaults
    assert plan_pairs(PairOptions(**options)).weights.name == plan.weights.name  # they are masks
    photos = plan_pairs(PairOptions(inputs="photos", exemplar="photos"))
    assert photos.weights.name.endswith("weights/faces.safetensors")


def test_bundled_weights_are_told_by_their_condition(desk, tmp_path, monkeypatch):
    folder = tmp_path / "package"
    (folder / "weights").mkdir(parents=True)
    monkeypatch.setattr(models.resources, "files", lambda name: folder)
    assert bundled_weights("labels", 14) is None
    shutil.copy(desk.weights / "labels.safetensors", folder / "weights/scenes.safetensors")
    assert bundled_weights("labels", 14) == folder / "weights/scenes.safetensors"
    assert bundled_weights("labels", None) == folder / "weights/scenes.safetensors"
    assert bundled_weights("labels", 19) is None and bundled_weights("edges", 1) is None


def test_bundled_weights_have_names(desk, monkeypatch):
    monkeypatch.chdir(desk.folder)
    (desk.folder / "faces").mkdir()
    assert load_weights(Path("faces"), torch.device("cpu")).shown == "faces (bundled)"
    told = desk.run("weights", "info", "faces", "--json")
    assert told.code == 0 and json.loads(told.out)["condition"] == "edges, 1 planes"
    desk.fill(1, 1)
    told = desk.translate("--weights", "faces2", "--dry-run")
    assert told.code == 1 and "faces2" in told.err and "bundled are faces, scenes" in told.err
    shutil.copy(desk.weights / "labels.safetensors", desk.folder / "scenes")  # a file comes first
    own = load_weights(Path("scenes"), torch.device("cpu"))
    assert own.model.config.width == 4 and own.shown == "scenes"


@pytest.mark.parametrize(
    ("name", "kind", "channels"), [("scenes", "labels", 14), ("faces", "edges", 1)]
)
def test_what_is_bundled_is_small_whole_and_says_where_it_comes_from(name, kind, channels):
    path = bundled_weights(kind, channels)
    assert path is not None and path.name == f"{name}.safetensors"
    assert path.stat().st_size <= 25_000_000
    header = cocosnet.read_header(path)
    assert header.config == read_recipe(name).with_channels(channels).model
    assert header.provenance["recipe"] == name and header.provenance["steps"] > 0
    assert not header.config.needs_exemplar_input  # exemplars need no masks
    card = path.with_suffix(".md").read_text("utf-8")
    for word in ("Data", "Training", "Measured", "Limits", str(header.provenance["steps"])):
        assert word in card
