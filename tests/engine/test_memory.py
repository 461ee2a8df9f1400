"""The estimate of a run's memory goes the way that memory goes, and refuses what cannot fit."""

from __future__ import annotations

import json
import platform

import cocosnet
import pytest
import torch
from cocosnet.weights import build

from cocoscli.engine import memory, network
from cocoscli.engine.memory import (
    available_bytes,
    check_memory,
    estimate_bytes,
    give_back_large_blocks,
    largest_size,
)
from cocoscli.errors import CocosError

CPU = torch.device("cpu")
presets = cocosnet.presets


def network_of(config) -> cocosnet.CoCosNet:
    schema = cocosnet.ConditionSchema(kind="labels", channels=config.channels)
    return build(config, schema, spectral=False)


@pytest.fixture(scope="module")
def tiny() -> cocosnet.CoCosNet:
    return network_of(presets.paper(channels=14, width=4))


def room(monkeypatch, bytes: float) -> None:
    for module in (memory, network):
        monkeypatch.setattr(module, "available_bytes", lambda device: bytes)


MEASURED = [
    ("paper", 4, 64, 680), ("paper", 4, 256, 979), ("paper", 4, 512, 964),
    ("paper", 64, 256, 2090), ("paper", 64, 512, 2829),
    ("celebahq-mask", 16, 256, 1029), ("celebahq-mask", 16, 512, 1546),
    ("celebahq-mask", 16, 1024, 2713), ("celebahq-mask", 64, 128, 2189),
    ("celebahq-mask", 64, 256, 2683), ("celebahq-mask", 64, 512, 3697),
    ("celebahq-edge", 64, 256, 2510), ("celebahq-edge", 64, 512, 3522), ("ade20k", 64, 256, 3037),
]  # fmt: skip
"""Peaks in fp32 of processes that translate, in MB: preset, width, side."""


@pytest.mark.parametrize(("preset", "width", "side", "peak"), MEASURED)
def test_the_estimate_is_within_a_quarter_of_what_was_measured(preset, width, side, peak):
    config = (presets.paper(channels=14, width=width) if preset == "paper"
              else presets.released(preset, width=width))  # fmt: skip
    assert estimate_bytes(network_of(config), (side, side), 1) / 1e6 == pytest.approx(
        peak, rel=0.25
    )


def test_more_takes_more(tiny):
    base = estimate_bytes(tiny, (512, 512), 1)
    assert estimate_bytes(tiny, (1024, 512), 1) > base
    assert estimate_bytes(tiny, (512, 512), 2) > base
    assert estimate_bytes(network_of(presets.paper(channels=14, width=8)), (512, 512), 1) > base


def test_matching_is_no_matrix(tiny):
    """Past a few tiles, memory goes with the pixels and not with their square."""
    one, four, sixteen = (estimate_bytes(tiny, (n, n), 1) for n in (512, 1024, 2048))
    assert sixteen - four == pytest.approx(4 * (four - one))


def test_there_is_some_memory():
    assert 1e8 < available_bytes(CPU) < 1e14


def test_without_linuxs_tables_the_whole_machine_counts(monkeypatch):
    free = available_bytes(CPU)
    monkeypatch.setattr(memory, "_kilobytes", lambda table, name: None)
    assert available_bytes(CPU) >= free * 0.9


def test_the_largest_size_fits_and_the_next_does_not(tiny):
    there = estimate_bytes(tiny, (1024, 512), 1) + 1
    assert largest_size(tiny, (4096, 2048), there) == (1024, 512)
    assert largest_size(tiny, (4096, 2048), there - 2) == (992, 512)
    assert largest_size(tiny, (4096, 4096), 1e6) is None


def test_what_does_not_fit_is_said_with_what_would(tiny, monkeypatch):
    room(monkeypatch, estimate_bytes(tiny, (512, 512), 1) + 1)
    check_memory(tiny, (512, 512), 8, CPU)  # where a batch is computed one by one
    with pytest.raises(CocosError, match=r"2048x2048 pixels take about \d\.\d GB, and") as told:
        check_memory(tiny, (2048, 2048), 8, CPU)
    assert told.value.hint == "Give --size 512."
    with pytest.raises(CocosError, match="512x512 pixels, 8 at once") as told:
        check_memory(tiny, (512, 512), 8, torch.device("cuda"))
    assert told.value.hint == "Give --batch-size 1 or --size 512."


def test_where_nothing_fits_no_size_is_offered(tiny, monkeypatch):
    room(monkeypatch, 1e6)
    with pytest.raises(CocosError) as told:
        check_memory(tiny, (64, 64), 1, CPU)
    assert "--size" not in told.value.hint


# The commands.


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_translate_refuses_a_grid_that_cannot_fit(desk, monkeypatch, more):
    desk.fill()
    room(monkeypatch, 1e9)
    told = desk.translate("--size", "4096", *more)
    assert told.code == 1 and not told.out and len(told.said) == 2
    assert told.said[0].startswith("error: 4096x4096 pixels take about")
    offered = told.said[1].removeprefix("Give --size ").removesuffix(".")
    assert desk.translate("--size", offered, "--dry-run").code == 0
    assert not (desk.folder / "out").exists()


def test_edit_refuses_it_too(desk, monkeypatch):
    desk.photo("a.jpg"), desk.mask("a.png")
    room(monkeypatch, 1e9)
    weights = desk.weights / "labels.safetensors"
    fixed = ("--mask", "a.png", "--edited", "a.png", "--weights", weights, "--size", "4096")
    told = desk.run("edit", "a.jpg", *fixed)
    assert told.code == 1 and told.said[0].startswith("error: 4096x4096 pixels take about")


def test_correspond_counts_no_generator(desk, monkeypatch):
    desk.fill()
    model = cocosnet.load(desk.weights / "labels.safetensors")
    drawn, matched = (estimate_bytes(model, (1024, 1024), 1, draws=d) for d in (True, False))
    assert matched < drawn
    room(monkeypatch, (matched + drawn) / 2)
    assert desk.translate("--size", "1024").said[0].startswith("error: 1024x1024 pixels take about")
    told = desk.correspond("--size", "1024", "--dry-run", "--json")
    assert json.loads(told.out)["memory_mb"] == round(matched / 1e6)
    told = desk.correspond("--size", "4096")
    assert told.code == 1 and told.said[0].startswith("error: 4096x4096 pixels take about")
    offered = told.said[1].removeprefix("Give --size ").removesuffix(".")
    assert desk.correspond("--size", offered, "--dry-run").code == 0


def test_inputs_of_their_own_size_fail_alone(desk, monkeypatch):
    desk.mask("masks/small.png")
    desk.mask("masks/large.png", size=(2000, 2000))
    desk.photo()
    room(monkeypatch, 1e9)
    told = desk.translate("--size", "original")
    assert told.code == 3 and desk.statuses() == {"small.png": "done", "large.png": "failed"}
    assert "out of memory at this size" in desk.manifest()["large.png"]["error"]


def test_an_exemplar_of_its_own_size_costs_its_items(desk, monkeypatch):
    desk.mask("masks/a.png")
    desk.photo(size=(2000, 2000))
    room(monkeypatch, 1e9)
    assert desk.translate("--size", "original").code == 3
    assert desk.manifest()["a.png"]["error"].startswith("e.png: out of memory at this size")


def test_weights_info_says_the_memory_of_a_size(desk, monkeypatch):
    from cocoscli.engine import models

    weights = desk.weights / "labels.safetensors"
    monkeypatch.setattr(models, "available_bytes", lambda device: 1.2e9)
    facts = json.loads(desk.run("weights", "info", weights, "--size", "1024x512", "--json").out)
    assert facts["memory_mb"] > facts["memory_mb_by_side"]["256"] and facts["free_mb"] == 1200
    width, height = map(int, facts["largest_size"].split("x"))
    assert width > 1024 and abs(width - 2 * height) <= 32
    monkeypatch.setattr(models, "available_bytes", lambda device: 1e6)
    told = desk.run("weights", "info", weights, "--size", "64", "--json")
    assert json.loads(told.out)["largest_size"] is None
    told = desk.run("weights", "info", weights, "--size", "original")
    assert told.code == 2 and "--size original" in told.said[0]


def test_large_blocks_go_back_where_the_library_can():
    assert give_back_large_blocks() == (platform.libc_ver()[0] == "glibc")
