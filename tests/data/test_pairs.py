"""Which exemplar an input gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cocoscli.data.filelist import FileList
from cocoscli.data.pairs import All, Cycle, Nearest, Random, label_grid, name_index, read_pairs


def test_cycle_and_all():
    assert [Cycle(5, 2).pair(k)[1] for k in range(5)] == [0, 1, 0, 1, 0]
    assert [All(2, 3).pair(k) for k in range(6)] == [(i, j) for i in range(2) for j in range(3)]
    assert len(Cycle(5, 2)) == 5 and len(All(2, 3)) == 6


def test_random_is_drawn_by_seed_and_name():
    names = [f"{n}.png" for n in range(200)]

    def drawn(order: list[str], seed: int = 0) -> dict[str, int | None]:
        pairs = Random(FileList(order), 7, seed)
        return {name: pairs.pair(k)[1] for k, name in enumerate(order)}

    assert drawn(names) == drawn(names[::-1]) != drawn(names, 1)
    counts = np.bincount([j for j in drawn(names).values() if j is not None], minlength=7)
    assert counts.min() > 10


def test_nearest_is_the_best_agreement_and_the_first_of_equals():
    maps = np.stack([label_grid(np.full((40, 60), n)) for n in (1, 2, 2, 3)])
    pairs = Nearest(9, maps)
    assert pairs.choose(np.full((100, 10), 2)) == 1
    labels = np.full((64, 64), 3)
    labels[:20] = 2
    assert pairs.choose(labels) == 3 and pairs.pair(4) == (4, None)


@pytest.mark.parametrize("shape", [(1, 1), (31, 33), (32, 32), (500, 7)])
def test_label_grids_of_any_size(shape):
    grid = label_grid(np.full(shape, 300, np.uint16))
    assert grid.shape == (32, 32) and (grid == 300).all()


def test_pairs_are_kept_in_their_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.csv").write_text('"b,1.png",x.jpg\nin/a.png,ex/y.jpg\n')
    inputs = name_index(FileList(["a.png", "b,1.png"]), tmp_path / "in")
    exemplars = name_index(FileList(["x.jpg", "y.jpg"]), tmp_path / "ex")
    pairs = read_pairs(Path("p.csv"), inputs, exemplars)
    assert [pairs.pair(k) for k in range(len(pairs))] == [(1, 0), (0, 1)] and pairs.many
