"""The work of `cocos translate`, before anything is rounded or written."""

from __future__ import annotations

from pathlib import Path

import cocosnet
import numpy as np
import pytest
import torch

from cocoscli.engine import pairwork, translate
from cocoscli.engine.batch import Plan
from cocoscli.engine.plan import PairOptions, plan_pairs
from cocoscli.engine.run import open_run
from cocoscli.engine.translate import Rendering, Translation, to_uint8


def prepared(desk, weights: str = "labels", **more: object) -> Translation:
    options = {"inputs": str(desk.folder / "masks"), "exemplar": str(desk.folder / "photos")}
    plan = plan_pairs(
        PairOptions(**options, weights=desk.weights / f"{weights}.safetensors", **more)  # type: ignore[arg-type]
    )
    return Translation(plan.weights.model, plan.reader, Rendering(device=plan.device))


def images(work: Translation, cut: int, order: list[int], monkeypatch) -> dict[int, torch.Tensor]:
    """The network's output for each item, not rounded, in batches of `cut`."""
    found: dict[int, torch.Tensor] = {}
    with monkeypatch.context() as patch:
        patch.setattr(translate, "to_uint8", lambda x: [row.clone() for row in x])
        for start in range(0, len(order), cut):
            loaded = [work.reader.load(k) for k in order[start : start + cut]]
            for group in work.groups(loaded):
                members = [loaded[n] for n in group]
                for item, result in zip(members, work.compute(members), strict=True):
                    found[item.k] = result.image
    return found


@pytest.mark.parametrize(
    ("weights", "pairs", "size"),
    [("labels", "cycle", "original"), ("labels", "all", "64"), ("faces", "cycle", "64")],
)
def test_no_number_depends_on_batch_or_order(desk, monkeypatch, weights, pairs, size):
    for n in range(5):
        desk.mask(f"masks/m{n}.png", n, (64 + 20 * (n % 2), 64))
    for n in range(2):
        desk.photo(f"photos/e{n}.png", n, (64, 64 + 40 * n))
        desk.mask(f"conditions/e{n}.png", n + 50)
    more = {"pairs": pairs, "size": size, "exemplar_condition": desk.folder / "conditions"}
    order = list(range(len(prepared(desk, weights, **more))))
    base = images(prepared(desk, weights, **more), 1, order, monkeypatch)
    for cut, turned in ((2, order), (5, order[::-1])):
        other = images(prepared(desk, weights, **more), cut, turned, monkeypatch)
        assert other.keys() == base.keys()
        assert max(float((other[k] - base[k]).abs().max()) for k in base) < 1e-5


def test_the_numbers_are_those_of_the_network(desk):
    desk.fill(1, 1)
    work = prepared(desk)
    item = work.reader.load(0)
    [rendered] = work.compute([item])
    model = cocosnet.load(Path(desk.weights / "labels.safetensors"))
    ids = torch.from_numpy(item.condition.astype(np.int64))
    x = torch.nn.functional.one_hot(ids, 14).permute(0, 3, 1, 2).float()
    photo = work.reader.exemplars.read(0).photo
    y = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        expected = to_uint8(model(x, y).image)[0]
    assert np.abs(rendered.image.astype(int) - expected).max() <= 1


def test_banks_that_are_dropped_are_made_again(desk, monkeypatch):
    desk.fill(6, 3)
    order = list(range(6))
    base = images(prepared(desk), 2, order, monkeypatch)
    monkeypatch.setattr(pairwork, "BANK_BYTES", 1)
    work = prepared(desk)
    assert all(torch.allclose(base[k], image, atol=1e-5)
               for k, image in images(work, 2, order, monkeypatch).items())  # fmt: skip
    assert len(work.banks.kept) <= 2


def test_rounding():
    levels = torch.arange(256).float() / 127.5 - 1
    assert to_uint8(levels.view(1, 1, 16, 16)).ravel().tolist() == list(range(256))
    assert to_uint8(torch.tensor([-9.0, 9.0]).view(1, 1, 1, 2)).ravel().tolist() == [0, 255]


def test_a_run_from_python(desk):
    desk.fill(3, 2)
    path = desk.folder / "out"
    for done, skipped in ((3, 0), (0, 3)):
        run = open_run(prepared(desk), path, settings={"x": 1}, record={}, plan=Plan(batch_size=2))
        assert len(list(run.rows())) == run.total == done
        summary = run.summary()
        assert (summary["done"], summary["failed"], summary["skipped"]) == (done, 0, skipped)
