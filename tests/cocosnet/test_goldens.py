"""Our numbers against those of the released code.

tests/goldens holds two tasks' tiny weights, tensors and losses: width 4, 64x64, seeded random
weights, made by running the released code in eval mode. The data folder holds all four, and every
key and shape of the full-size checkpoints.
"""

from __future__ import annotations

import importlib.util
import json
import runpy
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import released_names
import torch
from cocosnet import CoCosNet, presets
from cocosnet.layers import fold_spectral_norm
from safetensors.torch import load_file, save_file
from tiny import masks, photos

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "goldens"
SCRIPT = ROOT / "benchmarks" / "goldens.py"
PREFIXES = {
    "ade20k": "ade20k",
    "celebahq": "celebahq-mask",
    "celebahqedge": "celebahq-edge",
    "deepfashion": "deepfashion",
}
COMMON = {"adapted_exemplar", "adapted_input", "theta", "phi", "correlation", "warp", "output"}
COMMON |= {f"disc_{scale}_{layer}" for scale in range(2) for layer in range(5)}


@pytest.fixture(scope="module")
def goldens() -> ModuleType:
    spec = importlib.util.spec_from_file_location("goldens_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def report(goldens) -> dict[str, dict[str, float]]:
    if not (FOLDER / "meta.json").is_file():
        pytest.skip("source archives carry no golden files")
    return goldens.compare(FOLDER)


def check(tensors: dict[str, float], extra: set[str]) -> None:
    assert set(tensors) == COMMON | extra
    assert {name: d for name, d in tensors.items() if not d < 1e-4} == {}


def test_labels_agree_tensor_by_tensor(report):
    check(report["ade20k"], {"warp_mask"})


def test_poses_agree_tensor_by_tensor(report):
    check(report["deepfashion"], {"warp_cycle"})


@pytest.mark.shared
def test_all_four_tasks_agree_tensor_by_tensor(shared, goldens):
    report = goldens.compare(shared / "released" / "tiny")
    assert set(report) == set(PREFIXES)
    for tensors in report.values():
        check(tensors, set(tensors) & {"warp_mask", "warp_cycle"})
    assert sum("warp_mask" in t for t in report.values()) > 0
    assert sum("warp_cycle" in t for t in report.values()) > 0


TERMS = {"domain", "adversarial", "discriminator_features", "feat", "perc", "context"}
TERMS |= {"fake", "real", "G", "Corr"}
EXTRA = {
    "ade20k": {"mask"},
    "celebahq": {"mask", "reg"},
    "celebahqedge": {"reg"},
    "deepfashion": {"warp_self"},
}


def check_losses(report: dict[str, dict[str, float]], tasks: set[str]) -> None:
    """Terms to 1e-4, gradient norms of generator and correspondence to 1e-3."""
    assert set(report) == tasks
    for task, parts in report.items():
        assert set(parts) == TERMS | EXTRA[task]
        limits = {name: 1e-3 if name in ("G", "Corr") else 1e-4 for name in parts}
        assert {name: d for name, d in parts.items() if not d < limits[name]} == {}


@pytest.mark.usefixtures("report")
def test_losses_and_gradients_agree(goldens):
    check_losses(goldens.compare_losses(FOLDER), {"ade20k", "deepfashion"})


@pytest.mark.shared
def test_losses_and_gradients_of_all_four_tasks_agree(shared, goldens):
    check_losses(goldens.compare_losses(shared / "released" / "tiny"), set(PREFIXES))


@pytest.mark.usefixtures("report")
@pytest.mark.parametrize("part", ["fm", "D_real", "Corr"])
def test_the_script_exits_1_where_a_loss_is_off(tmp_path, goldens, monkeypatch, part):
    folder = shutil.copytree(FOLDER, tmp_path / "goldens")
    path = folder / "training" / "losses.json"
    tasks = {"deepfashion": json.loads(path.read_text())["deepfashion"]}
    for group in ("generator", "discriminator", "grad_norm_of_the_sum"):
        if part in tasks["deepfashion"][group]:
            tasks["deepfashion"][group][part] *= 1.002
    path.write_text(json.dumps(tasks))
    monkeypatch.setattr(sys, "argv", ["goldens.py", str(folder), "--training"])
    assert goldens.main() == 1
    monkeypatch.setattr(sys, "argv", ["goldens.py", str(folder), "--training", "--limit", "0.01"])
    assert goldens.main() == 0


def perturbed(folder: Path, name: str) -> Path:
    """The deepfashion goldens with one value of one tensor off by a thousandth of its range."""
    for path in FOLDER.glob("deepfashion_*"):
        shutil.copy(path, folder)
    options = json.loads((FOLDER / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({"deepfashion": options["deepfashion"]}))
    tensors = load_file(folder / "deepfashion_io.safetensors")
    if name:
        flat = tensors[name].flatten()
        flat[7] += 1e-3 * flat.abs().max()
        tensors[name] = flat.view(tensors[name].shape)
    save_file(tensors, folder / "deepfashion_io.safetensors")
    return folder


@pytest.mark.usefixtures("report")
@pytest.mark.parametrize("name", ["theta", "warp_cycle", "output", "disc_1_4"])
def test_a_thousandth_off_is_noticed(tmp_path, goldens, monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", ["goldens.py", str(perturbed(tmp_path, name))])
    assert goldens.main() == 1
    found = json.loads(capsys.readouterr().out)["tensors"]["deepfashion"]
    assert [key for key, difference in found.items() if difference > 1e-4] == [name]


@pytest.mark.usefixtures("report")
@pytest.mark.parametrize(
    ("name", "options", "code"),
    [("", [], 0), ("warp", [], 1), ("warp", ["--limit", "0.01"], 0), ("", ["--limit", "1e-9"], 1)],
)
def test_the_script_exits_1_past_the_limit(tmp_path, monkeypatch, name, options, code):
    monkeypatch.setattr(sys, "argv", ["goldens.py", str(perturbed(tmp_path, name)), *options])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert end.value.code == code


@pytest.mark.usefixtures("report")
def test_a_folder_without_tensors_is_not_agreement(tmp_path, goldens, monkeypatch):
    shutil.copy(FOLDER / "meta.json", tmp_path)
    monkeypatch.setattr(sys, "argv", ["goldens.py", str(tmp_path)])
    assert goldens.main() == 1


@pytest.mark.shared
@pytest.mark.parametrize("prefix", PREFIXES)
def test_full_size_layouts_are_the_releases(shared, prefix):
    theirs = json.loads((shared / "released" / "keys.json").read_text())[prefix]
    ours = released_names.full_size(PREFIXES[prefix])
    unused = {key for key in theirs["net_D"] if ".dec." in key}
    assert unused
    theirs["net_D"] = {k: v for k, v in theirs["net_D"].items() if k not in unused}
    assert ours == theirs


@pytest.mark.slow
def test_a_full_size_network_translates_at_256_pixels():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = CoCosNet(presets.released("celebahq-edge"))
    fold_spectral_norm(model)
    x, z = (masks(1, 256, 256, channels=15, seed=s) for s in (0, 1))
    with torch.inference_mode():
        out = model(x, photos(1, 256, 256), z)
    torch.set_num_threads(threads)
    assert out.image.shape == out.warped.shape == (1, 3, 256, 256)
    assert out.match.flow.shape == (1, 64, 64, 2)
    assert out.image.isfinite().all()
    assert out.image.std() > 1e-3
    assert out.warped.abs().max() <= 1 + 1e-5
