"""What held-out samples say, and the warnings that follow."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import torch
from PIL import Image
from training import RECIPES

from cocoscli.data.training import TrainingItem
from cocoscli.engine.tensors import to_uint8
from cocoscli.engine.training.trainer import new_model
from cocoscli.engine.training.validation import COPYING, HeldOut, Judge, _sheet, warnings
from cocoscli.recipe import read_recipe

CPU = torch.device("cpu")
FINE = {"confidence": 0.9, "copy_score": 0.0}


@pytest.fixture
def model(tmp_path):
    (tmp_path / "r.toml").write_text(RECIPES["paper"])
    return new_model(read_recipe(str(tmp_path / "r.toml")).with_channels(3), 0).eval()


def item(seed: int, pseudo: bool = False) -> TrainingItem:
    rng = np.random.default_rng(seed)
    photo, exemplar = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    ids = np.kron(rng.integers(0, 3, (1, 8, 8)), np.ones((8, 8))).astype(np.uint8)
    return TrainingItem(str(seed), photo, ids, photo if pseudo else exemplar, ids, pseudo)


def judge(count: int = 5) -> Judge:
    items = [item(n) for n in range(count)]
    return Judge(CPU, "fp32", HeldOut(items, [item(n, pseudo=True) for n in range(count)]))


def copying(model):
    """The network, its results replaced by the exemplars."""
    forward = model.forward

    def copied(given, exemplar, exemplar_input=None):
        return dataclasses.replace(forward(given, exemplar, exemplar_input), image=exemplar)

    model.forward = copied
    return model


def test_a_perfect_copier_is_found_out(model):
    figures = judge().figures(copying(model))
    assert figures["copy_score"] < COPYING
    assert figures["reconstruction"] == pytest.approx(0, abs=1e-6)
    assert any("copy their exemplars" in text for text in warnings(figures, {}, 1.0))


def test_a_network_that_knows_nothing_is_no_copier(model):
    figures = judge().figures(model)
    assert set(figures) == {
        "reconstruction", "confidence", "cycle_pixels", "cycle", "copy_score",
        "label_accuracy", "label_miou",
    }  # fmt: skip
    assert abs(figures["copy_score"]) < 0.1
    assert not any("copy" in text for text in warnings(figures, {}, 1.0))


def test_panels_are_a_row_a_sample(model):
    with Image.open(io.BytesIO(judge(3).panels(model))) as sheet:
        assert sheet.size == (5 * 64 + 4 * 4, 3 * 64 + 2 * 4)


def test_a_sheet_by_hand():
    black, grey = np.zeros((2, 3, 3), np.uint8), np.full((2, 3, 3), 9, np.uint8)
    sheet = _sheet([[black, grey], [grey, black]])
    assert sheet.shape == (8, 10, 3)
    assert (sheet[:2, :3] == 0).all() and (sheet[:2, 7:] == 9).all()
    assert (sheet[2:6] == 255).all() and (sheet[:, 3:7] == 255).all()


def test_pixels():
    image = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).expand(3, 1, 5)
    assert to_uint8(image[None])[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(
    ("figures", "terms", "said"),
    [
        ({"confidence": 0.05}, {}, "matches are unsure (confidence 0.05)"),
        ({"copy_score": -0.5}, {}, "results copy their exemplars pixel by pixel (copy score -0.50"),
        ({}, {"discriminator_real": 0.01, "discriminator_fake": 0.0}, "discriminator has won"),
    ],
)
def test_what_goes_wrong_is_said_with_a_remedy(figures, terms, said):
    (text,) = warnings(FINE | figures, terms, 1.0)
    assert said in text and text.endswith(".") and ":" in text


def test_nothing_is_said_where_all_is_well():
    terms = {"discriminator_real": 0.9, "discriminator_fake": 0.8}
    assert list(warnings(FINE, terms, 1.0)) == []
    assert list(warnings({}, {}, 1.0)) == []
    assert list(warnings(FINE, {k: 10 * v for k, v in terms.items()}, 10.0)) == []
