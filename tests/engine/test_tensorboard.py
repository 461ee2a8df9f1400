"""Curves and panels for TensorBoard."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from cocoscli.engine.training.tensorboard import FOLDER, mirrored
from cocoscli.errors import CocosError

EVENTS = [
    {"event": "step", "step": 3, "terms": {"context": 2.5}},
    {"event": "validation", "step": 3, "figures": {"cycle": 0.25}, "preview": "p.jpg"},
]


def test_events_pass_and_are_written(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "p.jpg")
    assert list(mirrored(iter(EVENTS), tmp_path)) == EVENTS
    found = reader.EventAccumulator(str(tmp_path / FOLDER)).Reload()
    assert [(e.step, e.value) for e in found.Scalars("terms/context")] == [(3, 2.5)]
    assert [(e.step, e.value) for e in found.Scalars("figures/cycle")] == [(3, 0.25)]
    assert found.Images("panels")[0].width == 8


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(CocosError, match=r"cocos\[train\]"):
        mirrored(iter(EVENTS), tmp_path)
