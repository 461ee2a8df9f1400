from __future__ import annotations

import socket
import time
from threading import Event
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from cocosnet import WeightsError, features
from cocosnet.features import Vgg, load_features, load_torchvision, random_features
from PIL import Image
from safetensors.torch import save_file
from tiny import gap, photos
from torch import Tensor, nn

BLOCKS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
# torchvision counts ReLUs and pools: the places of the convolutions in `features`.
PLACES = {
    16: (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    19: (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_: object) -> None:
        pytest.fail("a test reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def narrow(monkeypatch) -> None:
    """A VGG of the same layers and few channels."""
    monkeypatch.setattr(features, "_WIDTHS", (2, 3, 4, 5, 5))


def convs(depth: int) -> list[str]:
    return [f"conv{b}_{i + 1}" for b, n in enumerate(BLOCKS[depth], 1) for i in range(n)]


def caffe_state(depth: int) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in random_features(depth, seed=1).state_dict().items()}


def torchvision_state(depth: int) -> dict[str, Tensor]:
    state, out = caffe_state(depth), {}
    for name, place in zip(convs(depth), PLACES[depth], strict=True):
        for part in ("weight", "bias"):
            out[f"features.{place}.{part}"] = state[f"{name}.{part}"]
    return {**out, "classifier.0.weight": torch.zeros(3, 3), "classifier.0.bias": torch.zeros(3)}


def store(state: dict[str, Tensor], path) -> None:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)


# Layers


@pytest.mark.parametrize("depth", [16, 19])
def test_layers_and_widths_are_vggs(depth):
    with torch.device("meta"):
        vgg = Vgg(depth)
    assert features.layer_names(depth) == [n.replace("conv", "relu") for n in convs(depth)]
    widths = {name: conv.out_channels for name, conv in vgg.named_children()}
    expected = dict(zip(range(1, 6), (64, 128, 256, 512, 512), strict=True))
    assert list(widths) == convs(depth)
    assert all(widths[name] == expected[int(name[4])] for name in widths)
    assert {(c.kernel_size, c.padding) for c in vgg.children()} == {((3, 3), (1, 1))}


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("depth", [16, 19])
def test_activations_equal_torchvisions_order_of_layers(depth):
    vgg, layers = random_features(depth, seed=1), []
    for name, conv in vgg.named_children():
        if name.endswith("_1") and name != "conv1_1":
            layers.append(nn.MaxPool2d(2))
        layers += [conv, nn.ReLU()]
    x = ((photos(1, 48, 32) + 1) / 2 - vgg.mean) / vgg.deviation
    expected = {}
    for layer in layers:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            expected[features.layer_names(depth)[len(expected)]] = x
    found = vgg(photos(1, 48, 32), tuple(expected))
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.usefixtures("narrow")
def test_the_asked_layers_alone_in_the_order_of_computation():
    vgg = random_features()
    found = vgg(photos(2), ("relu4_2", "relu1_2", "relu4_2"))
    assert list(found) == ["relu1_2", "relu4_2"]
    assert found["relu1_2"].shape == (2, 2, 64, 64)
    assert found["relu4_2"].shape == (2, 5, 8, 8)
    assert min(float(v.min()) for v in found.values()) >= 0
    with pytest.raises(ValueError, match=r"VGG-16 has no relu3_4, relu6_1"):
        random_features(16)(photos(), ("relu6_1", "relu1_1", "relu3_4"))


@pytest.mark.usefixtures("narrow")
def test_weights_are_frozen_but_gradients_reach_the_image():
    vgg, image = random_features(), photos().requires_grad_()
    vgg(image, ("relu3_1",))["relu3_1"].sum().backward()
    assert image.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in vgg.parameters())
    assert not vgg.training


# What the two conventions expect


def first_layer(convention: str, image: Tensor) -> Tensor:
    """relu1_1 of one filter: 1, 10 and 100 times its three input channels, plus 1000, all taps."""
    vgg = Vgg(16, convention)
    nn.init.zeros_(vgg.conv1_1.weight)
    vgg.conv1_1.weight[0] = torch.tensor([1.0, 10, 100]).view(3, 1, 1)
    vgg.conv1_1.bias.fill_(1000)
    return vgg(image, ("relu1_1",))["relu1_1"][0, 0]


@pytest.mark.usefixtures("narrow")
def test_caffe_weights_see_bgr_in_0_to_255_less_the_mean():
    rgb = (1.0, 0.0, 0.2)  # 255, 127.5 and 153
    image = torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, 5, 5)
    tap = (153 - 103.939) + 10 * (127.5 - 116.779) + 100 * (255 - 123.68)
    ours = first_layer("caffe", image)
    assert float(ours[2, 2]) == pytest.approx(9 * tap + 1000, rel=1e-5)
    assert float(ours[0, 2]) == pytest.approx(6 * tap + 1000, rel=1e-5)
    assert float(ours[0, 0]) == pytest.approx(4 * tap + 1000, rel=1e-5)


@pytest.mark.usefixtures("narrow")
def test_torchvision_weights_see_normalised_rgb():
    image = torch.tensor((1.0, 0.0, 0.2)).view(1, 3, 1, 1).expand(1, 3, 5, 5)
    tap = (1 - 0.485) / 0.229 + 10 * (0.5 - 0.456) / 0.224 + 100 * (0.6 - 0.406) / 0.225
    ours = first_layer("torchvision", image)
    assert float(ours[2, 2]) == pytest.approx(9 * tap + 1000, rel=1e-5)
    assert float(ours[4, 4]) == pytest.approx(4 * tap + 1000, rel=1e-5)


# Files


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("depth", [16, 19])
def test_caffe_named_files(tmp_path, depth, suffix):
    path, state = tmp_path / f"vgg{suffix}", caffe_state(depth)
    store({**state, "fc6.weight": torch.zeros(2, 2)}, path)
    vgg = load_features(path)
    assert (vgg.depth, vgg.convention, vgg.name) == (depth, "caffe", str(path))
    assert all(torch.equal(v, state[k]) for k, v in vgg.state_dict().items())


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("depth", [16, 19])
def test_torchvision_named_files(tmp_path, depth, suffix):
    path = tmp_path / f"vgg{suffix}"
    store(torchvision_state(depth), path)
    vgg, state = load_features(path), caffe_state(depth)
    assert (vgg.depth, vgg.convention) == (depth, "torchvision")
    assert all(torch.equal(v, state[k]) for k, v in vgg.state_dict().items())
    same = random_features(depth, seed=1)(photos(), ("relu4_2",))["relu4_2"]
    assert torch.equal(vgg(photos(), ("relu4_2",))["relu4_2"], same)


@pytest.mark.usefixtures("narrow")
def test_half_precision_files_are_computed_in_single(tmp_path):
    path = tmp_path / "vgg.safetensors"
    store({k: v.half() for k, v in caffe_state(16).items()}, path)
    assert {v.dtype for v in load_features(path).state_dict().values()} == {torch.float32}


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("make", [caffe_state, torchvision_state])
@pytest.mark.parametrize("depth", [16, 19])
def test_what_is_missing_or_misshaped_is_named(tmp_path, make, depth):
    for suffix in (".safetensors", ".pth"):
        path, state = tmp_path / f"vgg{suffix}", make(depth)
        keys = list(state)
        del state[keys[5]]
        state[keys[6]] = torch.zeros(1, 2, 3, 3)
        store(state, path)
        with pytest.raises(WeightsError, match=r"conv2_1|conv1_2") as error:
            load_features(path)
        assert str(path) in str(error.value)
        assert "missing" in str(error.value)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("left_out", [4, 9, 15])
def test_a_torchvision_file_short_of_a_convolution_is_refused(tmp_path, left_out):
    state = torchvision_state(19)
    for part in ("weight", "bias"):
        del state[f"features.{PLACES[19][left_out]}.{part}"]
    store(state, tmp_path / "vgg.pth")
    with pytest.raises(WeightsError):
        load_features(tmp_path / "vgg.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", [b"", b"junk", b"\0" * 100])
def test_files_of_something_else_are_a_weights_error(tmp_path, suffix, content):
    path = tmp_path / f"vgg{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        load_features(path)
    with pytest.raises(WeightsError, match="no such"):
        load_features(tmp_path / f"other{suffix}")
    store({"a": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="not the weights of a VGG"):
        load_features(path)


# torchvision's own, and none


@pytest.fixture
def torchvision_gives(monkeypatch, tmp_path):
    """What asking torchvision for its weights does; they are in its cache, or not."""

    def give(get_state_dict, cached: bool = True, url: str = "https://x.invalid/v.pth") -> None:
        default = SimpleNamespace(get_state_dict=get_state_dict, url=url)
        found = SimpleNamespace(DEFAULT=default)
        monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: found)
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
        if cached:
            (tmp_path / "checkpoints").mkdir()
            (tmp_path / "checkpoints" / "v.pth").touch()

    return give


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("depth", [16, 19])
def test_torchvisions_weights_without_its_download(torchvision_gives, depth, capsys):
    def get(progress: bool, check_hash: bool) -> dict[str, Tensor]:
        print("Downloading ...")
        assert check_hash and socket.getdefaulttimeout() == 20
        return torchvision_state(depth)

    torchvision_gives(get)
    vgg = load_torchvision(depth)
    assert (vgg.depth, vgg.convention, vgg.name) == (
        depth,
        "torchvision",
        f"torchvision vgg{depth}",
    )
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "Downloading ...\n")
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    "error",
    [OSError("no network"), RuntimeError("invalid hash: no network"), EOFError("no network")],
)
def test_a_download_that_fails_is_an_os_error(torchvision_gives, error):
    def fail(**_: object) -> None:
        raise error

    torchvision_gives(fail)
    with pytest.raises(OSError, match="no network"):
        load_torchvision()


def test_a_server_that_never_answers_is_not_waited_for(torchvision_gives, monkeypatch):
    gone = Event()
    monkeypatch.setattr(features, "urlopen", lambda *_, **__: gone.wait(30))
    torchvision_gives(lambda **_: pytest.fail("asked for a download"), cached=False)
    start = time.monotonic()
    with pytest.raises(TimeoutError, match=r"x\.invalid/v\.pth: no answer within 0\.1 s"):
        load_torchvision(patience=0.1)
    assert time.monotonic() - start < 5
    gone.set()


def test_no_way_to_the_server_says_why(torchvision_gives, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise URLError("no such host")

    monkeypatch.setattr(features, "urlopen", fail)
    torchvision_gives(lambda **_: pytest.fail("asked for a download"), cached=False)
    with pytest.raises(OSError, match=r"x\.invalid/v\.pth: no such host"):
        load_torchvision()


@pytest.mark.usefixtures("narrow")
def test_random_features_are_their_seeds():
    torch.manual_seed(0)
    a = random_features(19, seed=3)
    torch.manual_seed(1)
    b, c = random_features(19, seed=3), random_features(19, seed=4)
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    assert gap(a.conv3_1.weight, c.conv3_1.weight) > 0
    assert a.conv1_1.bias.abs().sum() == 0
    assert "random" in a.name and "3" in a.name
    assert a.convention == "torchvision"


def test_random_features_keep_the_scale_of_activations():
    found = random_features(16)(photos(1, 32, 32), ("relu1_1", "relu5_3"))
    scales = [float(v.square().mean().sqrt()) for v in found.values()]
    assert 0.1 < scales[1] / scales[0] < 10


@pytest.mark.shared
def test_vgg_16_of_a_real_photo(shared):
    vgg = load_features(shared / "weights" / "vgg16-imagenet-fp16.safetensors")
    assert (vgg.depth, vgg.convention) == (16, "caffe")
    faces = sorted((shared / "data" / "celebamask_mini" / "images").glob("*.jpg"))[:2]
    pixels = [np.asarray(Image.open(p).convert("RGB").resize((64, 64))) for p in faces]
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 127.5 - 1
    found = vgg(images, tuple(features.layer_names(16)))
    assert len(found) == 13
    for name, activation in found.items():
        assert activation.isfinite().all(), name
        active = (activation > 0).float().mean()
        assert 0.01 < active < 0.99, name
        assert gap(activation[0], activation[1]) > 1, name
    # On pixels in 0..255 early activations are in the tens; a wrong scale or order moves them.
    assert 10 < float(found["relu1_2"].mean()) < 200
