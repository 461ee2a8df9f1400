"""Exact search against brute force, ties and exclusions included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cocoscli.data.search import Picked, top_k
from cocoscli.errors import CocosError


def directions(count: int, width: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def brute_force(queries, database, k, allowed=None):
    """The definition, in float64: by falling score, then by rising row."""
    scores = (queries.astype(np.float64) @ database.astype(np.float64).T).astype(np.float32)
    indices = np.full((len(queries), k), -1, np.int32)
    best = np.full((len(queries), k), -np.inf, np.float32)
    for q, row in enumerate(scores):
        order = np.argsort(-row, kind="stable")
        order = order[allowed[q][order]][:k] if allowed is not None else order[:k]
        indices[q, : len(order)], best[q, : len(order)] = order, row[order]
    return indices, best


def assert_found(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], atol=2e-7)
    assert (found[0].dtype, found[1].dtype) == (np.int32, np.float32)


@pytest.mark.parametrize("blocks", [(1, 1), (7, 3), (64, 50), (512, 1024)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_equals_brute_force(blocks, dtype):
    queries, database = (directions(n, 48, n).astype(dtype) for n in (60, 210))
    found = top_k(queries, database, 4, blocks=blocks)
    assert_found(found, brute_force(queries, database, 4))


def test_picked_rows_ask_as_their_copy_does():
    database, rows = directions(210, 48), np.array([3, 77, 5, 209])
    found = top_k(Picked(database, rows), database, 4, exclude=rows, blocks=(3, 50))
    copied = top_k(database[rows], database, 4, exclude=rows)
    for ours, theirs in zip(found, copied, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_blocks_do_not_change_a_bit():
    """Scores that float32 sums would only order by chance: rows a few bits apart."""
    base = directions(1, 128)
    noise = directions(3000, 128, 1) * np.float32(3e-7)
    database = np.concatenate([base + noise, base.repeat(40, 0)])
    results = [
        top_k(database[:20], database, 9, blocks=b) for b in ((20, 4000), (3, 77), (1, 1024))
    ]
    for indices, scores in results[1:]:
        np.testing.assert_array_equal(indices, results[0][0])
        np.testing.assert_array_equal(scores.view(np.int32), results[0][1].view(np.int32))


@pytest.mark.parametrize("precision", ["highest", "medium"])
def test_coarse_products_are_only_a_screen(precision, monkeypatch):
    monkeypatch.setattr("torch.get_float32_matmul_precision", lambda: precision)
    rows = directions(400, 16)
    assert_found(top_k(rows, rows, 3, blocks=(50, 60)), brute_force(rows, rows, 3))


@pytest.mark.parametrize("scale", [1e-6, 0.3, 1.0, 1.009, 7e4])
def test_any_length_of_rows(scale):
    queries, database = (directions(n, 32, n) for n in (20, 90))
    indices, scores = top_k(queries * np.float32(scale), database, 3)
    expected = brute_force(queries, database, 3)
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_allclose(scores, expected[1] * scale, rtol=1e-5)


def test_negative_and_zero_scores_fall():
    database = np.array([[-1], [0], [0.5], [-0.0], [-0.25]], np.float32)
    indices, scores = top_k(np.ones((1, 1), np.float32), database, 5)
    assert indices.tolist() == [[2, 1, 3, 4, 0]]
    assert scores.tolist() == [[0.5, 0, 0, -0.25, -1]]


def test_all_zero_rows_are_found_too():
    zeros = np.zeros((3, 4), np.float32)
    assert top_k(zeros, zeros, 2, exclude=np.arange(3))[0].tolist() == [[1, 2], [0, 2], [0, 1]]


@pytest.mark.parametrize("blocks", [(512, 1024), (2, 5)])
def test_ties_go_to_the_lower_row(blocks):
    one = directions(1, 300)
    indices, scores = top_k(one, one.repeat(64, 0), 7, blocks=blocks)
    assert indices.tolist() == [list(range(7))]
    assert np.unique(scores).size == 1
    np.testing.assert_allclose(scores, 1, atol=1e-6)


@pytest.mark.parametrize("blocks", [(512, 1024), (9, 4)])
def test_itself_and_its_copies_are_never_found(blocks):
    rows = directions(12, 8).repeat(3, 0)  # three copies of each
    codes = np.arange(12).repeat(3)
    every = np.arange(36)
    allowed = every[:, None] != every
    found = top_k(rows, rows, 2, exclude=every, blocks=blocks)
    assert_found(found, brute_force(rows, rows, 2, allowed))
    assert (codes[found[0]] == codes[:, None]).all()  # the two copies
    allowed = codes[:, None] != codes
    found = top_k(rows, rows, 5, exclude=every, codes=(codes, codes), blocks=blocks)
    assert_found(found, brute_force(rows, rows, 5, allowed))


def test_negative_codes_exclude_nothing():
    rows = directions(4, 8)
    none = np.full(4, -1)
    assert top_k(rows, rows, 1, exclude=none, codes=(none, none))[0].tolist() == [
        [0],
        [1],
        [2],
        [3],
    ]


def test_only_the_given_rows_are_searched():
    rows = directions(40, 8)
    subset = np.array([31, 4, 18, 25, 9])
    allowed = np.isin(np.arange(40), subset)[None].repeat(40, 0) & ~np.eye(40, dtype=bool)
    for blocks in ((512, 1024), (3, 2)):
        found = top_k(rows, rows, 3, rows=subset, exclude=np.arange(40), blocks=blocks)
        assert_found(found, brute_force(rows, rows, 3, allowed))


def test_too_few_rows_are_padded():
    rows = directions(3, 8)
    indices, scores = top_k(rows, rows, 5, exclude=np.arange(3))
    assert (indices[:, 2:] == -1).all() and (scores[:, 2:] == -np.inf).all()
    assert (np.sort(indices[:, :2]) == [[1, 2], [0, 2], [0, 1]]).all()


def test_a_dataset_of_one_image_has_no_exemplar():
    one = directions(1, 8)
    indices, scores = top_k(one, one, 2, exclude=np.zeros(1, int))
    assert indices.tolist() == [[-1, -1]] and scores.tolist() == [[-np.inf] * 2]


def test_no_queries_or_no_rows():
    rows, none = directions(3, 8), np.zeros((0, 8), np.float32)
    assert top_k(none, rows, 2)[0].shape == (0, 2)
    assert (top_k(rows, none, 2)[0] == -1).all()
    assert (top_k(rows, rows, 2, rows=np.zeros(0, int))[0] == -1).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_named(value):
    rows = directions(30, 8)
    rows[17, 3] = value
    with pytest.raises(CocosError, match="row 17 is not finite"):
        top_k(rows[:5], rows, 2, blocks=(4, 4))
    found = top_k(rows[:5], rows, 2, rows=np.arange(17))[0]
    assert (found < 17).all()


@pytest.mark.parametrize(("k", "width"), [(0, 8), (1, 7)])
def test_shapes_that_do_not_fit(k, width):
    with pytest.raises(ValueError, match="database"):
        top_k(directions(3, 8), directions(3, width), k)


def test_mapped_files_and_progress(tmp_path):
    rows = directions(50, 8)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    told: list[int] = []
    found = top_k(mapped, mapped, 2, blocks=(20, 30), progress=told.append)
    assert_found(found, brute_force(rows, rows, 2))
    assert told == [20, 20, 10]


def test_threads_are_as_before_also_after_a_fault():
    rows, threads = directions(50, 8), torch.get_num_threads()

    def stop(done: int) -> None:
        raise RuntimeError("stop")

    top_k(rows, rows, 2, blocks=(5, 30))
    with pytest.raises(RuntimeError, match="stop"):
        top_k(rows, rows, 2, blocks=(5, 30), progress=stop)
    assert torch.get_num_threads() == threads


@pytest.mark.slow
def test_20000_rows():
    rows = directions(20_000, 128)
    every = np.arange(len(rows))
    indices, _ = top_k(rows, rows, 5, exclude=every)
    sample = every[::100]
    expected = brute_force(rows[sample], rows, 5, every != sample[:, None])
    np.testing.assert_array_equal(indices[sample], expected[0])
