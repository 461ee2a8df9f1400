"""The estimate of a training's memory goes the way that memory goes."""

from __future__ import annotations

import pytest
import torch

from cocoscli.engine.training import memory as training_memory
from cocoscli.engine.training.distributed import Processes
from cocoscli.engine.training.memory import check_memory, training_bytes
from cocoscli.engine.training.trainer import Machine
from cocoscli.errors import CocosError
from cocoscli.recipe import read_recipe

SMALL = ("model.width=4", "schedule.batch_size=4")


def needed(*changes: str, **machine: object) -> float:
    recipe = read_recipe("scenes", (*SMALL, "schedule.ema=0.0", *changes))
    return training_bytes(recipe, Machine(device=torch.device("cpu"), **machine))


@pytest.mark.parametrize(
    "change",
    ["schedule.batch_size=8", "condition.size=160", "model.width=8", "schedule.ema=0.9"],
)
def test_more_takes_more(change):
    assert needed(change) > needed()


@pytest.mark.parametrize(
    "machine",
    [{"parts": 2}, {"recompute": True}, {"precision": "bf16"}, {"processes": Processes(0, 2)}],
)
def test_what_saves_memory_counts(machine):
    assert needed(**machine) < needed()


def test_what_does_not_fit_is_said_with_what_would(monkeypatch):
    monkeypatch.setattr(training_memory, "available_bytes", lambda device: 1e6)
    recipe = read_recipe("scenes", SMALL)
    with pytest.raises(CocosError, match=r"takes about 2\.\d GB, this machine has 0\.0 GB") as told:
        check_memory(recipe, Machine(device=torch.device("cpu")))
    for way in ("--accumulate", "--recompute", "--set schedule.batch_size=2"):
        assert way in told.value.hint
