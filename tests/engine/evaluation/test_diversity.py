"""Diversity by hand, LPIPS where it is there, and what is said where it is not."""

from __future__ import annotations

import sys
from math import isnan

import numpy as np
import pytest
import torch

from cocoscli.engine.evaluation import diversity
from cocoscli.engine.evaluation.diversity import Diversity, Lpips, load_lpips
from cocoscli.errors import CocosError

CPU = torch.device("cpu")
DIRECTIONS = torch.eye(4)[:, :, None, None]
IMAGES = np.stack([np.full((2, 2, 3), 10 * n, np.uint8) for n in range(4)])


def run(found: Diversity, batches: list[list[int]]) -> Diversity:
    for numbers in batches:
        found.forget(numbers)
        found.add(numbers, IMAGES[numbers], {"x": DIRECTIONS[numbers]})
    return found


@pytest.mark.parametrize("batches", [[[0, 1, 2, 3]], [[0], [1, 2], [3]]])
def test_it_is_between_results_of_one_input(batches):
    found = run(Diversity(["a", "a", "a", "b"], None), batches)
    assert found.wanted and found.name == "diversity" and len(found.distances["a"]) == 3
    assert found.figure(1) == pytest.approx(2) and isnan(found.figure(3))
    assert not Diversity(["a", "b"], None).wanted


def test_lpips_sees_the_pixels():
    def apart(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        assert one.shape == (1, 3, 2, 2) and one.dtype == torch.uint8
        return (one.float() - other.float()).abs().mean(dim=(1, 2, 3))

    found = run(Diversity(["a", "a", "a", "b"], Lpips(apart, CPU)), [[0, 1], [2, 3]])
    assert found.name == "lpips"
    assert found.figure(0) == pytest.approx((10 + 20 + 10) / 3)


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(CocosError, match=r"no LPIPS: torch-fidelity is not installed"):
        load_lpips(CPU)


def test_no_download_is_one_line_with_both_addresses(monkeypatch, tmp_path):
    pytest.importorskip("torch_fidelity")

    def silence(url: str, patience: float) -> None:
        raise TimeoutError(f"{url}: no answer within {patience:g} s")

    monkeypatch.setattr(diversity, "await_answer", silence)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(CocosError, match=r"no LPIPS: .*no answer.*vgg16-lpips.*/vgg16-") as told:
        load_lpips(CPU)
    assert "\n" not in told.value.message


def test_files_in_the_cache_are_asked_of_nobody(monkeypatch, tmp_path):
    fidelity = pytest.importorskip("torch_fidelity.sample_similarity_lpips")
    for url in (fidelity.URL_VGG16_LPIPS, diversity.VGG16_Weights.IMAGENET1K_V1.url):
        path = tmp_path / "checkpoints" / url.rpartition("/")[2]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"weights")
    made = []

    def network(name: str, sample_similarity_dtype: str) -> torch.nn.Module:
        made.append((name, sample_similarity_dtype))
        return torch.nn.Identity()

    monkeypatch.setattr(diversity, "await_answer", lambda *_: pytest.fail("asked"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(fidelity, "SampleSimilarityLPIPS", network)
    load_lpips(CPU)
    assert made == [("lpips-vgg16", "uint8")]
