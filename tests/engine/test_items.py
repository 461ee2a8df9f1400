"""The reading side: sizes, padding, exemplars."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cocoscli.data.layouts import LAYOUTS
from cocoscli.engine.items import (
    ConditionReader,
    Exemplars,
    find_exemplars,
    matched_size,
    multiple,
    pad,
    parse_size,
)
from cocoscli.errors import BadInput, CocosError, UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [("256", (256, 256)), ("512x384", (512, 384)), ("512X384", (512, 384)), ("original", None)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "64x", "63", "16385", "1e3", "64x64x64", "²", "6 4"])
def test_sizes_that_are_none(text):
    with pytest.raises(UsageError, match="expected a side"):
        parse_size(text)


def test_multiples():
    assert [multiple(n, up=True) for n in (1, 64, 65, 96, 97)] == [64, 64, 96, 96, 128]
    assert [multiple(n, up=False) for n in (1, 79, 80, 96, 111, 112)] == [64, 64, 96, 96, 96, 128]


@pytest.mark.parametrize(
    ("size", "cells", "matched"),
    [
        ((512, 512), None, None),
        ((512, 512), 64, (256, 256)),
        ((512, 512), 128, None),
        ((512, 512), 127, None),  # rounded, it is what is rendered
        ((100, 80), 25, None),
        ((1000, 500), 64, (256, 128)),
        ((500, 1001), 64, (128, 256)),
        ((1000, 40), 64, (256, 64)),
        ((150, 90), 20, (96, 64)),
    ],
)
def test_what_is_matched_smaller(size, cells, matched):
    assert matched_size(size, cells) == matched


def test_padding_repeats_the_edges():
    array = np.arange(2 * 65 * 70).reshape(2, 65, 70)
    padded = pad(array)
    assert padded.shape == (2, 96, 96)
    assert np.array_equal(padded[:, :65, :70], array)
    assert (padded[:, 65:, :70] == array[:, -1:]).all()
    assert (padded[:, :65, 70:] == array[:, :, -1:]).all()


def exemplars(folder, size=None) -> Exemplars:
    root, names = find_exemplars(str(folder), LAYOUTS["labels"])
    reader = ConditionReader(LAYOUTS["labels"], 14)
    return Exemplars(
        root=root, names=names, reader=reader, given=None, size=size, with_condition=False
    )


@pytest.mark.parametrize(
    ("own", "asked", "found"),
    [((1, 1), None, (64, 64)), ((100, 70), None, (96, 64)), ((64, 64), None, (64, 64)),
     ((300, 20), (65, 97), (64, 96)), ((300, 20), (128, 96), (128, 96))],
)  # fmt: skip
def test_exemplars_have_a_size_that_networks_take(tmp_path, own, asked, found):
    Image.new("RGB", own).save(tmp_path / "e.png")
    photo = exemplars(tmp_path, asked).read(0).photo
    assert photo.shape == (*found[::-1], 3) and photo.dtype == np.uint8


def test_exemplars_are_walked_and_others_passed_over(tmp_path):
    for name in ("b/e.jpg", "a.PNG", "note.txt", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_exemplars(str(tmp_path), LAYOUTS["labels"]) == (tmp_path, ("a.PNG", "b/e.jpg"))
    assert find_exemplars(str(tmp_path / "a.PNG"), LAYOUTS["labels"]) == (tmp_path, ("a.PNG",))
    with pytest.raises(BadInput, match=r"a\.PNG: the file is empty"):
        exemplars(tmp_path).read(0)


def test_no_exemplars(tmp_path):
    with pytest.raises(CocosError, match="no photos"):
        find_exemplars(str(tmp_path), LAYOUTS["labels"])
    with pytest.raises(CocosError, match="no such exemplar"):
        find_exemplars(str(tmp_path / "none"), LAYOUTS["labels"])
