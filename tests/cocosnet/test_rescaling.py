from __future__ import annotations

import pytest
import torch
from cocosnet import features
from cocosnet.config import FEATURE_LAYERS
from cocosnet.features import Vgg, load_features, random_features
from cocosnet.rescaling import REFERENCE, Rescaled, rescaled
from tiny import photos
from torch import nn


@pytest.fixture(autouse=True)
def narrow(monkeypatch, request) -> None:
    """A VGG of the same layers and few channels."""
    if "shared" not in request.keywords:
        monkeypatch.setattr(features, "_WIDTHS", (2, 3, 4, 5, 5))


def test_the_reference_is_of_the_layers_that_losses_compare():
    assert tuple(REFERENCE) == FEATURE_LAYERS


def test_every_layers_mean_becomes_the_references():
    vgg, images = random_features(seed=3), photos(2)
    ours = rescaled(vgg, images)
    found, plain = ours(images, FEATURE_LAYERS), vgg(images, FEATURE_LAYERS)
    for layer, mean in REFERENCE.items():
        assert float(found[layer].mean()) == pytest.approx(mean, rel=1e-4)
        torch.testing.assert_close(found[layer], plain[layer] * ours.scales[layer])
    assert ours.scales == rescaled(random_features(seed=3), photos(2)).scales


def test_by_hand():
    """A first block that passes 0.5 on, everywhere: to make the mean 30 it takes 60."""
    vgg = Vgg(16, "torchvision")
    for conv in vgg.children():
        nn.init.zeros_(conv.weight)
        conv.bias.fill_(0.5)
    ours = rescaled(vgg, photos(), {"relu1_2": 30.0, "relu3_2": 0.25})
    assert ours.scales == {"relu1_2": 60.0, "relu3_2": 0.5}
    found = ours(photos(), ("relu3_2",))
    assert list(found) == ["relu3_2"] and bool((found["relu3_2"] == 0.25).all())


def test_caffe_weights_are_left_as_they_are():
    vgg = Vgg(16, "caffe")
    ours = rescaled(vgg, photos())
    assert ours.scales == dict.fromkeys(FEATURE_LAYERS, 1.0)
    found, plain = ours(photos(), ("relu2_2",)), vgg(photos(), ("relu2_2",))
    assert torch.equal(found["relu2_2"], plain["relu2_2"])


def test_gradients_reach_the_image_through_the_scale():
    def gradient(network: nn.Module) -> torch.Tensor:
        image = photos().requires_grad_()
        network(image, ("relu2_2",))["relu2_2"].sum().backward()
        return image.grad

    vgg = random_features()
    assert torch.equal(gradient(Rescaled(vgg, {"relu2_2": 8.0})), 8 * gradient(vgg))


def test_layers_that_cannot_be_scaled():
    silent = Vgg(16, "torchvision", name="silent")
    for parameter in silent.parameters():
        parameter.zero_()
    with pytest.raises(ValueError, match=r"silent: the mean activation of relu1_2 is 0\.0"):
        rescaled(silent, photos())
    with pytest.raises(ValueError, match="no scale for relu1_1"):
        rescaled(random_features(), photos())(photos(), ("relu1_1", "relu1_2"))


@pytest.mark.shared
def test_the_reference_is_what_caffes_vgg_16_gives(shared):
    from cocoscli.engine.features import natural_photos

    vgg = load_features(shared / "weights" / "vgg16-imagenet-fp16.safetensors")
    with torch.no_grad():
        found = vgg(natural_photos(), FEATURE_LAYERS)
    for layer, mean in REFERENCE.items():
        assert float(found[layer].mean()) == pytest.approx(mean, rel=1e-3)
