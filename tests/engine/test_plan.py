"""From options to work."""

from __future__ import annotations

import pytest

from cocoscli.engine.plan import PairOptions, plan_pairs
from cocoscli.errors import CocosError, UsageError


def plan(desk, **more: object):
    given = {"inputs": str(desk.folder / "masks"), "exemplar": str(desk.folder / "photos"),
             "weights": desk.weights / "labels.safetensors"}  # fmt: skip
    return plan_pairs(PairOptions(**{**given, **more}))  # type: ignore[arg-type]


def test_what_decides_the_results_is_recorded(desk):
    desk.fill()
    base = plan(desk).settings
    assert base == plan(desk, batch_size=7).settings
    desk.fill(0, 3)
    changes = {"size": "96", "seed": 1, "precision": "bf16", "pairs": "all", "ignore_label": None}
    for name, value in changes.items():
        assert plan(desk, **{name: value}).settings != base, name
    other = plan(desk, exemplar=str(desk.folder / "photos/e0.png")).settings
    assert other != plan(desk, exemplar=str(desk.folder / "photos/e1.png")).settings


def test_the_weights_own_size_and_layout_are_taken(desk):
    desk.fill()
    found = plan(desk)
    assert found.reader.size == (64, 64) and found.reader.conditions.layout.name == "labels"
    assert found.defaults == [] and found.record["torch"]


def test_cheap_checks_come_first(desk):
    desk.fill()
    nowhere = desk.folder / "nowhere"
    for wrong in ({"exemplar": None}, {"device": "gpu"}, {"size": "big"}, {"layout": "none"}):
        with pytest.raises(UsageError):
            plan(desk, weights=nowhere, **wrong)
    with pytest.raises(CocosError, match="no such exemplar"):
        plan(desk, weights=nowhere, exemplar=str(nowhere))
