"""The reference protocol: its published baseline rows, and a network through the whole script."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import cocosnet
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "reference_run.py"
BASELINES = {
    "class colours": {"semantic_consistency": 0.610, "style_colour": 0.961, "style_texture": 0.864},
    "the exemplar, unmoved": {
        "semantic_consistency": 0.815,
        "style_colour": 0.954,
        "style_texture": 0.950,
        "label_accuracy": 0.549,
        "label_miou": 0.341,
    },
}


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *args: object) -> dict:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, args)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    return json.loads(capsys.readouterr().out)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_baselines_are_those_of_the_reference_run(shared, monkeypatch, capsys):
    vgg = shared / "weights" / "vgg16-imagenet-fp16.safetensors"
    found = run(monkeypatch, capsys, shared / "data" / "celebamask_mini", "--features", vgg)
    assert found["pairs"] == 100
    for row, columns in BASELINES.items():
        assert found["rows"][row] == pytest.approx(columns, abs=1e-3), row


def test_a_network_is_measured_and_shown(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    for i in range(12):
        for folder, pixels in (
            ("images", rng.integers(0, 256, (80, 80, 3), dtype=np.uint8)),
            ("masks", np.kron(rng.integers(0, 4, (4, 4)), np.ones((20, 20))).astype(np.uint8)),
        ):
            path = tmp_path / folder / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)
    (tmp_path / "val.txt").write_text("\n".join(map(str, range(12))))
    config = cocosnet.presets.released("celebahq-mask", channels=19, width=4, hidden=8)
    schema = cocosnet.ConditionSchema(kind="labels", channels=19, size=64)
    weights, features, panels = (tmp_path / n for n in ("w.safetensors", "v.safetensors", "p.jpg"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cocosnet.save(cocosnet.CoCosNet(config, schema), weights)
    save_file(cocosnet.features.random_features(16).state_dict(), features)
    given = ("--weights", weights, "--features", features, "--size", 64, "--load", 70)
    found = run(monkeypatch, capsys, tmp_path, *given, "--panels", panels)
    assert found["pairs"] == 12
    network = found["rows"]["network"]
    assert set(network) == {
        *("semantic_consistency", "style_colour", "style_texture", "label_accuracy"),
        *("label_miou", "cycle_l1", "l1_own_exemplar", "l1_other_exemplar"),
    }
    assert all(0 <= value <= 2 for value in network.values())
    with Image.open(panels) as sheet:
        assert sheet.size == (5 * 68 + 4, 8 * 68 + 4)
