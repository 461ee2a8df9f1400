"""The work of `cocos correspond`: its arrays are the network's, whatever they are made with."""

from __future__ import annotations

import base64
from typing import Any

import cocosnet
import numpy as np
import pytest
import torch
from cocosnet.flow import centres

from cocoscli.data.images import read_photo
from cocoscli.engine.correspond import Correspondence, Found, Matching
from cocoscli.engine.match_arrays import MatchArrays, Way
from cocoscli.engine.match_pictures import CELLS, cells, confidence_map, surest
from cocoscli.engine.plan import PairOptions, plan_pairs

EDGES = "edges"


def prepared(desk: Any, weights: str = "labels", **more: Any) -> Correspondence:
    inputs = "photos" if weights == EDGES else "masks"
    options = {"inputs": str(desk.folder / inputs), "exemplar": str(desk.folder / "photos")}
    matching = {name: more.pop(name) for name in ("subpixel", "warp") if name in more}
    plan = plan_pairs(
        PairOptions(**{**options, **more}, weights=desk.weights / f"{weights}.safetensors")
    )
    return Correspondence(
        plan.weights.model, plan.reader, Matching(device=plan.device, gallery=0, **matching)
    )


def found(work: Correspondence, cut: int = 1) -> list[Found]:
    results = []
    for start in range(0, len(work), cut):
        loaded = [work.reader.load(k) for k in range(start, min(start + cut, len(work)))]
        by_place: dict[int, Any] = {}
        for group in work.groups(loaded):
            made = work.compute([loaded[n] for n in group])
            by_place |= dict(zip(group, made, strict=True))
        results += [by_place[n] for n in range(len(loaded))]
    return results


def photo(path: Any) -> torch.Tensor:
    return torch.from_numpy(read_photo(path)).permute(2, 0, 1)[None].float() / 127.5 - 1


def assert_same(arrays: MatchArrays, match: cocosnet.Match) -> None:
    for name, off in (("mutual", 0), ("back_flow", 0), ("soft_flow", 0.01), ("spread", 0.1)):
        expected = getattr(match, name)[0].numpy()
        assert np.allclose(getattr(arrays, name), expected, atol=off), name
    for name in ("flow", "confidence", "cycle_error"):
        found = getattr(arrays.there, name)
        assert np.allclose(found, getattr(match, name)[0].numpy(), atol=1e-4), name
    assert np.array_equal(arrays.usage, match.usage[0].numpy())


def test_the_arrays_are_those_of_the_network(desk):
    desk.fill(1, 1)
    [result] = found(prepared(desk))
    model = cocosnet.load(desk.weights / "labels.safetensors")
    work = prepared(desk)
    ids = torch.from_numpy(work.reader.load(0).condition.astype(np.int64))
    x = torch.nn.functional.one_hot(ids, 14).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        match = model.match(x, model.encode_exemplar(photo(desk.folder / "photos/e0.png")))
        assert_same(result.match, match)
    assert result.match.size == result.match.exemplar_size == (64, 64)
    assert result.warped is None and result.carrying is None and result.input is None


def test_photos_are_matched_by_the_exemplars_adaptor(desk):
    desk.fill(0, 2)
    desk.file("pairs.csv", "e0.png,e1.png\n")
    work = prepared(desk, EDGES, via="photo", pairs=str(desk.folder / "pairs.csv"))
    [result] = found(work)
    model = cocosnet.load(desk.weights / "edges.safetensors")
    one, other = (photo(desk.folder / f"photos/e{n}.png") for n in (0, 1))
    with torch.inference_mode():
        match = model.match(model.encode_photo(one), model.encode_exemplar(other))
        assert_same(result.match, match)


def test_a_photo_matches_itself_in_place(desk):
    desk.photo()
    [result] = found(prepared(desk, EDGES, via="photo"))
    assert (
        np.array_equal(result.match.best, centres((16, 16)).numpy()) and result.match.mutual.all()
    )
    assert (result.match.usage == 1).all() and (result.match.there.cycle_error == 0).all()


@pytest.mark.parametrize("via", ["condition", "photo"])
def test_no_number_depends_on_the_batch(desk, via):
    for n in range(4):
        desk.photo(f"photos/e{n}.png", n, (64 + 20 * (n % 2), 64))
    work = [prepared(desk, EDGES, via=via, pairs="all", size="original") for _ in range(2)]
    for one, other in zip(found(work[0]), found(work[1], cut=5), strict=True):
        assert np.array_equal(one.match.best, other.match.best)
        assert np.allclose(one.match.spread, other.match.spread, atol=0.1)


def test_padding_is_no_part_of_the_result(desk):
    desk.mask(size=(70, 65))
    desk.photo(size=(96, 64))
    [result] = found(prepared(desk, size="original", warp=True))
    assert result.match.size == (70, 65) and result.match.exemplar_size == (96, 64)
    assert result.match.best.shape == (17, 18, 2) and result.match.back_flow.shape == (16, 24, 2)
    assert result.match.usage.sum() == 17 * 18  # of the cells that are there
    assert result.warped is not None and result.warped.shape == (65, 70, 3)


def test_subpixel_matches_stay_near_the_best_cell(desk):
    desk.fill(1, 1)
    [whole], [fine] = found(prepared(desk)), found(prepared(desk, subpixel=True))
    assert np.array_equal(fine.match.best, whole.match.best)
    away = np.abs(fine.match.there.flow - fine.match.best)
    assert 0 < away.max() <= 4


def arrays(rows: int = 6, columns: int = 8, **more: Any) -> MatchArrays:
    """A match of noise, with whatever else is given."""
    generator = np.random.default_rng(0)
    flow = (generator.random((rows, columns, 2)) * 100).astype(np.float32)
    way = Way(flow, generator.random((rows, columns)), generator.random((rows, columns)) * 9)
    values: dict[str, Any] = {
        "size": (columns * 4, rows * 4), "exemplar_size": (100, 100), "there": way, "best": flow,
        "soft_flow": flow + 1, "spread": np.tile(np.array([9.0, 3.0, 4.0]), (rows, columns, 1)),
        "mutual": generator.random((rows, columns)) < 0.5, "back_flow": np.zeros((25, 25, 2)),
        "usage": np.ones((25, 25), np.int32),
    }  # fmt: skip
    return MatchArrays(**{**values, **more})


def numbers(values: dict[str, Any]) -> np.ndarray:
    rows, columns = values["grid"]
    return np.frombuffer(base64.b64decode(values["cells"]), "<i2").reshape(rows, columns, 10)


def test_cells_of_the_page_are_the_arrays():
    match = arrays()
    values = cells(match)
    table = numbers(values)
    scale, unit = values["scale"], values["unit"]
    assert (values["first"], values["step"], values["grid"]) == (1.5, 4, (6, 8))
    assert np.allclose(table[..., :2] / scale, match.there.flow, atol=1 / scale)
    assert np.allclose(table[..., 4:6] / scale, (3, 2), atol=1 / scale)
    assert np.allclose(table[..., 6] / unit, 3 / 6, atol=1e-4)
    assert np.allclose(table[..., 7] / unit, match.there.confidence, atol=1e-4)
    assert np.array_equal(table[..., 9], match.mutual)


def test_fine_grids_are_thinned_for_the_page():
    match = arrays(3, 3 * CELLS)
    values = cells(match)
    assert values["grid"] == (1, CELLS) and values["step"] == 12 and values["first"] == 5.5
    middle = match.there.flow[1, 1::3]
    assert np.allclose(numbers(values)[0, :, :2] / values["scale"], middle, atol=0.05)


def test_a_match_without_spread_has_no_correlation():
    assert (numbers(cells(arrays(spread=np.zeros((6, 8, 3)))))[..., 4:7] == 0).all()


def test_lines_join_mutual_matches_alone():
    match = arrays(16, 16)
    lines = surest(match)
    assert 0 < len(lines) <= 64
    for start, end, _ in lines:
        column, row = ((start - 1.5) / 4).astype(int)
        assert match.mutual[row, column] and np.array_equal(end, match.there.flow[row, column])
    assert surest(arrays(mutual=np.zeros((6, 8), bool))) == []


def test_confidence_is_brighter_where_surer():
    ramp = np.tile(np.linspace(0, 1, 8), (6, 1))
    match = arrays(there=Way(np.zeros((6, 8, 2)), ramp, ramp), size=(31, 24))
    picture = confidence_map(match)
    assert picture.shape == (24, 31, 3)
    brightness = picture[0, ::4].sum(axis=1).astype(int)
    assert (np.diff(brightness) > 0).all()
