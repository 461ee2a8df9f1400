"""Inception: what is said where package or weights lack, and the network where they are there."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from cocoscli.engine.evaluation import inception
from cocoscli.engine.evaluation.inception import load_inception
from cocoscli.errors import CocosError

CPU = torch.device("cpu")


def test_without_the_package_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(CocosError, match=r"no FID: torch-fidelity is not installed .*pip install"):
        load_inception(None, CPU)


def test_no_download_is_one_line_with_the_address(monkeypatch, tmp_path):
    def silence(url: str, patience: float) -> None:
        raise TimeoutError(f"{url}: no answer within {patience:g} s")

    monkeypatch.setattr(inception, "await_answer", silence)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(CocosError, match=r"cannot be downloaded .*no answer.* --inception FILE"):
        inception.downloaded("https://host/weights-inception.pth")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of untrained weights."""
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    path = tmp_path_factory.mktemp("inception") / "w.pth"
    torch.save({}, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "load_state_dict", lambda *_: None)
        network = fidelity.FeatureExtractorInceptionV3("x", ["2048"], str(path))
    torch.save(network.state_dict(), path)
    return path


def test_features_are_2048_an_image_and_the_file_is_named(weights):
    network = load_inception(weights, CPU)
    assert network(torch.zeros(1, 3, 256, 256, dtype=torch.uint8)).shape == (1, 2048)
    assert len(network.sha256) == 64


@pytest.mark.parametrize("content", [{"a": torch.zeros(1)}, "a name", None])
def test_other_files_are_refused(content, tmp_path, weights):
    path = tmp_path / "w.pth"
    if content is not None:
        torch.save(content, path)
    with pytest.raises(CocosError, match="no FID"):
        load_inception(path, CPU)
