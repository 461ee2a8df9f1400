"""The benchmark of matches against exact truth."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from cocosnet import CoCosNet, ConditionSchema, flow, presets, save

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/known_warps.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("known_warps", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_warped_photo_shows_what_the_exemplar_has_at_the_match(script):
    """A picture of its own coordinates: what is seen at a place says where it comes from."""
    side = 64
    at = torch.from_numpy(script.places(2 * side)).float()
    photo = torch.cat([at, torch.zeros(len(at), 1)], dim=1).t().view(1, 3, 2 * side, 2 * side)
    for make in (script.affine, script.thin_plate):
        warp = make(np.random.default_rng(0))
        seen = script.warped(photo, warp, side)[0, :2].flatten(1).t()
        true = torch.from_numpy(warp(script.places(side))).float()
        inside = ((true > 0.05) & (true < 0.95)).all(dim=1)
        assert inside.float().mean() > 0.5
        assert (seen - true)[inside].abs().max() < 0.005
        assert (true - torch.from_numpy(script.places(side)).float()).abs().max() > 0.02


def test_truth_that_is_found_scores_fully_and_a_grid_that_stays_by_its_distance(
    script, monkeypatch
):
    side = 64
    truth = flow.centres((16, 16)) + torch.tensor([8.0, 0.0])
    truth[0, 0] = torch.nan
    pair = script.Pair(*[torch.zeros(1, 1, 1, 1)] * 3, truth)
    monkeypatch.setattr(script, "sides", lambda *_: {"ours": (truth.nan_to_num(), None)})
    monkeypatch.setattr(script, "found", lambda query, _: query)
    report = script.measure(None, None, iter([("shift", pair)]), side)["shift"]
    assert report["ours"] == {
        "epe": 0.0, "median": 0.0, "pck@0.05": 1.0, "pck@0.1": 1.0, "cells": 255
    }  # fmt: skip
    assert report["unmoved"]["epe"] == 8.0
    assert report["unmoved"]["pck@0.05"] == 0.0  # 3.2 px


@pytest.mark.shared
def test_scenes_are_measured(tmp_path, shared):
    classes = ConditionSchema(kind="labels", channels=14, size=64)
    model = CoCosNet(presets.paper(channels=14, width=4), classes).initialise()
    save(model, tmp_path / "w.safetensors")
    features = shared / "weights/vgg16-imagenet-fp16.safetensors"
    command = [sys.executable, SCRIPT, "scenes", "--count", "2", "--weights"]
    command += [tmp_path / "w.safetensors", "--features", features]
    done = subprocess.run(command, capture_output=True, check=True)
    report = json.loads(done.stdout)["scenes"]
    assert set(report) == {"condition to photo", "photo to photo", "VGG, photo to photo", "unmoved"}
    assert len({row["cells"] for row in report.values()}) == 1
