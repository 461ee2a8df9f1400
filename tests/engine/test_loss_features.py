"""Which feature network a command gets, and what it says of it."""

from __future__ import annotations

import hashlib

import pytest
import torch
from cocosnet import features as vggs
from cocosnet.config import FEATURE_LAYERS
from cocosnet.features import Vgg, random_features
from cocosnet.rescaling import REFERENCE
from safetensors.torch import save_file

from cocoscli.engine import features
from cocoscli.engine.features import (
    loss_features,
    natural_photos,
    resolve_features,
    trained_features,
)
from cocoscli.errors import CocosError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """A VGG of the same layers and few channels, and no network to download it over."""
    monkeypatch.setattr(vggs, "_WIDTHS", (2, 3, 4, 5, 5))

    def fail() -> Vgg:
        raise OSError("no way there")

    monkeypatch.setattr(features, "load_torchvision", fail)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "vgg.safetensors"
    save_file(random_features(16, seed=2).state_dict(), path)
    return path


@pytest.mark.parametrize("spec", [None, "auto"])
def test_auto_is_torchvisions(monkeypatch, spec):
    vgg = random_features()
    vgg.name = "torchvision vgg19"
    monkeypatch.setattr(features, "load_torchvision", lambda: vgg)
    found = resolve_features(spec, CPU)
    assert found.module is vgg and found.name == "torchvision vgg19"
    assert found.sha256 == found.warning == ""


@pytest.mark.parametrize("spec", [None, "auto"])
def test_without_any_weights_losses_take_random_ones_loudly(spec):
    found = resolve_features(spec, CPU)
    assert found.name == "random vgg19, seed 0" and found.sha256 == ""
    assert "no VGG features: no way there." in found.warning
    assert "RANDOM" in found.warning and "--features FILE" in found.warning
    with pytest.raises(CocosError, match="no VGG features: no way there"):
        trained_features(spec, CPU)


@pytest.mark.parametrize("as_text", [False, True])
def test_a_file_is_named_and_hashed(file, as_text):
    found = resolve_features(str(file) if as_text else file, CPU)
    assert (found.module.depth, found.module.convention) == (16, "caffe")
    assert found.name == str(file) and not found.warning
    assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_faulty_file_is_never_replaced_by_random_weights(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"junk")
    for name in ("bad.safetensors", "none.safetensors"):
        with pytest.raises(CocosError, match=name):
            resolve_features(tmp_path / name, CPU)


def test_losses_get_the_references_scale_and_a_record_of_it(file):
    found = loss_features("auto", CPU)
    with torch.no_grad():
        means = {
            k: float(v.mean()) for k, v in found.module(natural_photos(), FEATURE_LAYERS).items()
        }
    assert means == pytest.approx(REFERENCE, rel=1e-3)
    assert "RANDOM" in found.warning
    record = found.record()
    assert record == {"name": "random vgg19, seed 0", "sha256": "", "scales": found.module.scales}
    caffe = loss_features(file, CPU)
    assert set(caffe.record()["scales"].values()) == {1.0} and caffe.sha256


def test_weights_without_any_activation_are_refused(monkeypatch):
    vgg = random_features()
    vgg.name = "silent"
    for parameter in vgg.parameters():
        parameter.zero_()
    monkeypatch.setattr(features, "load_torchvision", lambda: vgg)
    with pytest.raises(CocosError, match="silent: the mean activation of relu1_2"):
        loss_features(None, CPU)


def test_the_photos_are_whole_and_always_the_same():
    photos = natural_photos()
    assert photos.shape == (4, 3, 256, 256) and photos.dtype == torch.float32
    assert -1 <= float(photos.min()) < -0.9 and 0.9 < float(photos.max()) <= 1
    assert torch.equal(photos, natural_photos())
