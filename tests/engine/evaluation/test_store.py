"""Features kept between runs: found again, the oldest forgotten, a bad file done without."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from cocoscli.engine.evaluation import store as module
from cocoscli.engine.evaluation.store import FeatureStore, default_path, mark_of

MARKS = [mark_of("net", np.full((2, 2), n, np.uint8)) for n in range(4)]


def counted(asked: list[int]):
    """Arrays of the numbers that are asked for, which are noted."""

    def compute(new: list[int]) -> list[np.ndarray]:
        asked.extend(new)
        return [np.full((2, 3), n, np.float64) for n in new]

    return compute


def test_what_was_computed_is_found_by_the_next_run(tmp_path):
    path, asked = tmp_path / "a" / "features.sqlite", []
    first = FeatureStore(path)
    found = first.recall(MARKS[:3], counted(asked))
    assert [a.tolist() for a in found] == [[n] * 6 for n in range(3)]
    first.recall([MARKS[1]], counted(asked))
    assert asked == [0, 1, 2]
    first.save()
    second = FeatureStore(path).recall([MARKS[3], MARKS[1]], counted(asked))
    assert asked == [0, 1, 2, 0]
    assert second[1].dtype == np.float32 and second[1].tolist() == [1] * 6


def test_marks_tell_networks_shapes_and_pixels_apart():
    image = np.arange(12, dtype=np.uint8)
    others = [("net", image.reshape(3, 4)), ("net", image.astype(np.uint16)), ("ne", "t", image),
              ("other", image), ("net", image[::-1])]  # fmt: skip
    marks = {mark_of("net", image), *(mark_of(*parts) for parts in others)}
    assert len(marks) == 6


def test_the_oldest_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 2)
    path, asked = tmp_path / "f.sqlite", []
    store = FeatureStore(path)
    for mark in MARKS:
        store.recall([mark], counted(asked))
        store.save()
    with sqlite3.connect(path) as file:
        kept = {row[0] for row in file.execute("SELECT mark FROM features")}
    assert kept == set(MARKS[2:])


@pytest.mark.parametrize("spoil", [lambda p: p.write_bytes(b"no database" * 99), Path.mkdir])
def test_a_file_that_cannot_be_used_is_done_without(tmp_path, spoil):
    path, asked = tmp_path / "f.sqlite", []
    spoil(path)
    store = FeatureStore(path)
    assert store.recall(MARKS[:2], counted(asked))[1].tolist() == [1] * 6
    store.save()
    assert asked == [0, 1]


def test_it_lies_in_the_users_cache(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert default_path() == Path("/caches/cocos/features.sqlite")
