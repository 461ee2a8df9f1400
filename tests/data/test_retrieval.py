"""Who may be whose exemplar: splits, copies, identities, chance; what leaks."""

from __future__ import annotations

import numpy as np
import pytest

from cocoscli.data.retrieval import Retrieval, allowed_rows, codes_of, draw, in_groups, leaks
from cocoscli.data.search import top_k


@pytest.mark.parametrize(
    ("query", "split", "expected"),
    [
        ("photo", "train", False),
        ("photo", "val", True),
        ("photo", "test", True),
        ("identity+photo", "test", True),
        ("generated", "val", False),
        ("layout", "val", False),
        ("identity+layout", "val", False),
        ("random", "test", False),
    ],
)
def test_only_a_test_photos_own_features_leak(query, split, expected):
    assert leaks(query, split) is expected
    found = np.zeros((1, 1), np.int32), np.zeros((1, 1), np.float32)
    assert Retrieval.of(found, query, split).leaking is expected


def test_a_retrieval_is_checked():
    indices, scores = np.zeros((2, 3), np.int32), np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="'colour': expected one of photo, generated"):
        Retrieval(indices, scores, "identity+colour", False)
    with pytest.raises(ValueError, match=r"\(2, 3\), scores \(1, 3\)"):
        Retrieval(indices, scores[:1], "layout", False)


def test_rows_that_a_split_may_be_given():
    splits = np.array(["val", "train", "test", "train"])
    assert allowed_rows(splits, "train").tolist() == [1, 3]
    assert allowed_rows(splits, "val").tolist() == [1, 3]
    assert allowed_rows(splits, "val", ("train", "val")).tolist() == [0, 1, 3]
    assert allowed_rows(np.array(["val", "test", "val"]), "val").tolist() == [0, 2]
    with pytest.raises(ValueError, match="training exemplars only"):
        allowed_rows(splits, "train", ("train", "val"))


def test_validation_queries_take_training_exemplars():
    rows = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]  # 0 and 1 look alike, 2 and 3 do
    splits = np.array(["train", "val", "train", "val"])
    queries = np.array([1, 3])
    allowed = allowed_rows(splits, "val")
    indices, _ = top_k(rows[queries], rows, 1, rows=allowed, exclude=queries)
    assert indices.tolist() == [[0], [2]]


def test_codes_are_those_of_the_text():
    codes = codes_of(["a", None, "b", "a", ""])
    assert codes.dtype == np.int64
    assert codes[0] == codes[3] == codes_of(["a"])[0]
    assert codes[1] == -1 and (np.delete(codes, 1) >= 0).all()
    assert len(set(codes.tolist())) == 4
    assert codes_of(["\udcff.jpg"])[0] >= 0  # a name that is not UTF-8
    assert codes_of([]).shape == (0,)


# By chance


def test_a_draw_is_distinct_allowed_and_not_itself():
    rows = np.arange(0, 40, 2)
    keys = [f"{i}.jpg" for i in range(40)]
    codes = np.arange(40) // 4  # 0-3 are copies, 4-7, ...
    indices, scores = draw(keys, rows, 6, 3, exclude=np.arange(40), codes=(codes, codes))
    for q, row in enumerate(indices):
        assert len(set(row.tolist())) == 6 and set(row.tolist()) <= set(rows.tolist())
        assert q not in row and not (codes[row] == codes[q]).any()
    assert (scores == 0).all()


def test_a_draw_depends_on_seed_and_key_alone():
    rows = np.arange(100)
    keys = [f"{i}.jpg" for i in range(30)]
    first, _ = draw(keys, rows, 3, 0)
    np.testing.assert_array_equal(draw(keys[::-1], rows, 3, 0)[0][::-1], first)
    np.testing.assert_array_equal(draw(keys[7:8], rows, 3, 0)[0], first[7:8])
    assert (draw(keys, rows, 3, 1)[0] != first).any()


def test_every_row_is_drawn_about_as_often():
    indices, _ = draw([str(i) for i in range(2000)], np.arange(10), 3, 0)
    for column in indices.T:
        counts = np.bincount(column, minlength=10)
        assert counts.min() > 150 and counts.max() < 250


@pytest.mark.parametrize(("rows", "expected"), [([], []), ([0], []), ([0, 5], [5])])
def test_a_draw_from_too_few_is_padded(rows, expected):
    indices, scores = draw(["a"], np.array(rows, int), 3, 0, exclude=np.array([0]))
    assert indices.tolist() == [expected + [-1] * (3 - len(expected))]
    assert np.isfinite(scores).sum() == len(expected)


def test_the_last_allowed_row_is_always_found():
    """All but one are copies of the query: few draws would miss the one."""
    codes = np.zeros(500, int)
    codes[321] = 1
    indices, _ = draw(["a", "b"], np.arange(500), 1, 0, codes=(np.zeros(2, int), codes))
    assert indices.tolist() == [[321], [321]]


def test_no_keys():
    assert draw([], np.arange(3), 2, 0)[0].shape == (0, 2)


# Identities


def test_exemplars_of_ones_own_group():
    groups = codes_of(["ann", "bob", "ann", None, "ann", "carl", "bob", None])
    every = np.arange(8)
    rows = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    by_features, _ = in_groups(
        lambda q, r: top_k(rows[q], rows, 2, rows=r, exclude=q), (groups, groups), 2
    )
    by_chance, scores = in_groups(
        lambda q, r: draw([str(i) for i in q], r, 2, 0, exclude=q), (groups, groups), 2
    )
    for indices in (by_features, by_chance):
        assert [set(row.tolist()) - {-1} for row in indices] == [
            *({2, 4}, {6}, {0, 4}, set(), {0, 2}, set(), {1}, set())
        ]
        assert not (indices == every[:, None]).any()
    assert rows[0] @ rows[by_features[0, 0]] >= rows[0] @ rows[by_features[0, 1]]
    assert scores[3].tolist() == [-np.inf, -np.inf]


def test_groups_of_other_queries_among_allowed_rows():
    database = codes_of(["ann", "bob", "ann", "bob", "ann"])
    queries = codes_of(["bob", "dora", "ann"])
    called: list[tuple[list[int], list[int]]] = []

    def search(q, r):
        called.append((q.tolist(), r.tolist()))
        return draw([str(i) for i in q], r, 1, 0)

    indices, _ = in_groups(search, (queries, database), 1, rows=np.array([4, 3]))
    assert indices.tolist() == [[3], [-1], [4]]
    assert sorted(called) == [([0], [3]), ([2], [4])]
