"""Matching at a smaller size than is rendered: what is read again, and where colours come from."""

from __future__ import annotations

from typing import Any

import cocosnet
import numpy as np
import pytest
import torch
from cocosnet.descriptors import Side
from PIL import Image

from cocoscli.data.conditions import CONDITIONS
from cocoscli.engine.network import Network
from cocoscli.engine.plan import PairOptions, plan_pairs
from cocoscli.engine.translate import Rendering, Translation


def prepared(desk: Any, weights: str = "labels", **more: Any) -> Translation:
    inputs = "photos" if weights == "edges" else "masks"
    options = {"inputs": str(desk.folder / inputs), "exemplar": str(desk.folder / "photos")}
    plan = plan_pairs(
        PairOptions(**options, weights=desk.weights / f"{weights}.safetensors", **more)
    )
    return Translation(plan.weights.model, plan.reader, Rendering(device=plan.device))


def test_both_are_read_again_at_the_size_that_is_matched(desk):
    desk.mask("masks/a.png", size=(150, 90))
    desk.photo("photos/e.png", size=(200, 120))
    work = prepared(desk, size="original", match_size=20)
    item = work.reader.load(0)
    assert item.condition.shape == (1, 96, 160) and item.small.shape == (1, 64, 96)
    image = work.reader.exemplars.read(0)
    assert image.photo.shape == (128, 192, 3) and image.small.shape == (64, 96, 3)
    assert image.condition is None


def test_edges_are_those_of_the_smaller_photo(desk):
    """And not the larger photo's edges made smaller."""
    desk.photo("photos/e.png", size=(256, 256))
    work = prepared(desk, "edges", size="256", match_size=16)
    item = work.reader.load(0)
    again = work.reader.conditions.read(desk.folder / "photos/e.png", (64, 64))
    assert np.array_equal(item.small, again)
    assert set(np.unique(again)) <= {0, 1, 255} and CONDITIONS["edges"].channels == 1


def test_conditions_of_exemplars_are_those_of_what_is_matched(desk):
    desk.mask("masks/a.png"), desk.photo("photos/e.png"), desk.mask("conditions/e.png", 5)
    given = {"exemplar_condition": desk.folder / "conditions", "size": "128"}
    image = prepared(desk, "faces", **given, match_size=16).reader.exemplars.read(0)
    assert image.condition.shape[-2:] == (64, 64) and image.photo.shape[:2] == (128, 128)
    assert prepared(desk, "faces", **given).reader.exemplars.read(0).condition.shape[1:] == (
        128,
        128,
    )


def told_apart(height: int, width: int) -> Side:
    """Cells with a direction of its own each: whatever has the same grid matches as it lies."""
    n = height * width
    return Side(torch.eye(n).view(1, height, width, n), None, None)


def lies_on_itself(patch: pytest.MonkeyPatch) -> None:
    """Inputs and exemplars match as they lie."""
    encode = Network.encode

    def bank(self: Network, image: Any) -> cocosnet.ExemplarBank:
        found = encode(self, image)
        return cocosnet.ExemplarBank(told_apart(*found.side.grid), found.colours)

    def features(self: Network, items: Any) -> cocosnet.InputFeatures:
        seen = items[0].condition if items[0].small is None else items[0].small
        return cocosnet.InputFeatures(told_apart(seen.shape[1] // 4, seen.shape[2] // 4))

    patch.setattr(Network, "encode", bank)
    patch.setattr(Network, "features", features)


def ramp(size: tuple[int, int]) -> np.ndarray:
    """Red rises to the right and green to below."""
    x, y = (np.linspace(0, 255, side) for side in size)
    red, green = np.meshgrid(x, y)
    return np.stack([red, green, 0 * red], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("size", [(150, 90), (131, 203), (128, 128)])
def test_a_photo_lies_on_itself_whatever_is_padded(desk, monkeypatch, size):
    desk.mask("masks/a.png", size=size)
    desk.picture("photos/e.png", Image.fromarray(ramp(size)))
    lies_on_itself(monkeypatch)
    work = prepared(desk, size="original", match_size=20)
    [made] = work.compute([work.reader.load(0)])
    assert made.warped.shape == (size[1], size[0], 3)
    assert np.abs(made.warped.astype(int) - ramp(size)).max() <= 6


@pytest.mark.parametrize("weights", ["labels", "faces"])
def test_no_number_depends_on_what_is_computed_at_once(desk, weights):
    """True sizes of one padded size are apart: each lies elsewhere within its padding."""
    for n, size in enumerate([(150, 150), (130, 150), (150, 150), (64, 64)]):
        desk.mask(f"masks/m{n}.png", n, size)
    desk.photo("photos/e.png", size=(150, 120)), desk.mask("conditions/e.png", 9)
    given = {"exemplar_condition": desk.folder / "conditions", "size": "original"}
    work = prepared(desk, weights, **given, match_size=20)
    loaded = [work.reader.load(k) for k in range(4)]
    groups = work.groups(loaded)
    assert groups == [[0, 2], [1], [3]]
    together = work.group([loaded[n] for n in groups[0]])
    alone = [work.compute([loaded[n]])[0] for n in groups[0]]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
    assert work.compute([loaded[3]])[0].image.shape == (64, 64, 3)


def test_one_input_against_many_exemplars(desk):
    desk.mask("masks/a.png"), desk.photo("photos/e0.png", 0), desk.photo("photos/e1.png", 1)
    work = prepared(desk, size="128", match_size=16, pairs="all")
    loaded = [work.reader.load(k) for k in range(2)]
    assert work.groups(loaded) == [[0, 1]]
    together = work.group(loaded)
    for item, made in zip(loaded, together, strict=True):
        [alone] = prepared(desk, size="128", match_size=16, pairs="all").compute([item])
        assert np.abs(made.image.astype(int) - alone.image).max() <= 1
    assert not np.array_equal(together[0].image, together[1].image)
