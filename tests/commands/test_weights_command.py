"""`cocos weights import` and `cocos weights info`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import cocosnet
import pytest
import torch

GOLDENS = Path(__file__).parents[1] / "goldens"


@pytest.fixture
def released(desk) -> Path:
    """A folder of released files of a tiny DeepFashion network."""
    if not (GOLDENS / "deepfashion_net_G.pth").is_file():
        pytest.skip("no goldens")
    for name in ("Corr", "G"):
        shutil.copy(GOLDENS / f"deepfashion_net_{name}.pth", desk.folder / f"latest_net_{name}.pth")
    return desk.folder


def take(desk, *more: object, task: str = "deepfashion", output: str = "new/w.safetensors"):
    return desk.run("weights", "import", ".", "--task", task, "--output", output, *more)


def test_released_files_become_one_checkpoint(desk, released):
    told = take(desk, "--json")
    facts = json.loads(told.out)
    assert told.code == 0 and facts["condition"] == "deepfashion, 20 planes"
    assert facts["provenance"]["task"] == "deepfashion"
    assert len(facts["provenance"]["G_sha256"]) == 64
    model = cocosnet.load(released / "new/w.safetensors")
    theirs = cocosnet.load_released(released, "deepfashion")
    ours, expected = model.state_dict(), theirs.state_dict()
    assert ours.keys() == expected.keys()
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=0)
    info = desk.run("weights", "info", "new/w.safetensors", "--json")
    assert json.loads(info.out) == facts and not info.err


def test_info_is_a_table_of_whole_lines(desk):
    told = desk.run("weights", "info", desk.weights / "labels.safetensors")
    assert told.code == 0 and not told.err
    lines = {line.split()[0]: line for line in told.out.splitlines()}
    assert "labels, 14 planes" in lines["condition"]
    assert "'warp_upsample': 'bilinear'}" in lines["model"]


@pytest.mark.parametrize(
    ("more", "task", "code", "words"),
    [
        ([], "fashion", 2, "--task fashion: expected one of"),
        ([], "ade20k", 1, "weights of another task than ade20k"),
        ([], "celebahq-mask", 1, "weights of another task than celebahq-mask"),
        (["--epoch", "7"], "deepfashion", 1, "the folder holds latest_net_Corr.pth"),
    ],
)
def test_what_cannot_be_imported(desk, released, more, task, code, words):
    told = take(desk, *more, task=task)
    assert told.code == code and words in told.said[0] and len(told.said) <= 2
    assert not (released / "new").exists()


def test_folders_that_are_none(desk):
    for folder in ("nowhere", "."):
        told = desk.run("weights", "import", folder, "--task", "ade20k", "--output", "w")
        assert told.code == 1 and "latest_net_Corr.pth: no such file" in told.said[0]


def test_an_existing_file_stays(desk, released):
    desk.file("new/w.safetensors", b"mine")
    told = take(desk)
    assert told.code == 1 and "exists already" in told.said[0]
    assert (released / "new/w.safetensors").read_bytes() == b"mine"
    assert take(desk, "--overwrite").code == 0


@pytest.mark.parametrize("data", [b"", b"text", b"PK\x03\x04"])
def test_damaged_files_are_refused(desk, released, data):
    desk.file("latest_net_G.pth", data)
    told = take(desk)
    assert told.code == 1 and "latest_net_G.pth: not a state dict" in told.said[0]
    assert len(told.said) == 2 and not (released / "new").exists()


def test_a_truncated_file_is_refused(desk, released):
    whole = (released / "latest_net_Corr.pth").read_bytes()
    desk.file("latest_net_Corr.pth", whole[: len(whole) // 2])
    told = take(desk)
    assert told.code == 1 and "latest_net_Corr.pth" in told.said[0] and len(told.said) == 2


def test_keys_are_checked_strictly(desk, released):
    state = torch.load(released / "latest_net_G.pth", weights_only=True)
    key = next(key for key in state if key.startswith("conv_img"))
    state["extra.weight"] = state.pop(key)
    torch.save(state, released / "latest_net_G.pth")
    told = take(desk)
    assert told.code == 1 and "1 missing" in told.said[0] and "extra.weight" in told.said[0]


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_is_refused(desk, released):
    torch.save({"x": Trap(released / "sprung")}, released / "latest_net_Corr.pth")
    told = take(desk)
    assert told.code == 1 and "refused without running anything" in told.said[0]
    assert not (released / "sprung").exists()


def test_no_room_for_the_checkpoint(desk, released, small_disk):
    told = take(desk, output="disk/w.safetensors")
    assert told.code == 1 and "disk/w.safetensors: the output cannot be written" in told.said[0]
    assert list(small_disk.iterdir()) == []


def test_a_file_in_the_way_of_the_checkpoint(desk, released):
    desk.file("new", b"mine")
    told = take(desk)
    assert told.code == 1 and "cannot be written" in told.said[0]
