from __future__ import annotations

import pytest
import torch
from cocosnet import layers, winograd
from cocosnet.layers import Conv2d, add_spectral_norm, reflect_conv
from tiny import gap, noise
from torch import nn
from torch.nn import functional as F


@pytest.fixture
def calls(monkeypatch):
    """The shapes that went by `winograd`, from two channels and eight pixels on."""
    seen = []
    convolve = winograd.convolve

    def counted(padded, weight, bias):
        seen.append(tuple(padded.shape))
        return convolve(padded, weight, bias)

    monkeypatch.setattr(winograd, "convolve", counted)
    least = {torch.float32: (2, 2), torch.bfloat16: (2, 4)}
    monkeypatch.setattr(layers, "LEAST_CHANNELS", least)
    monkeypatch.setattr(layers, "LEAST_SIDE", 8)
    return seen


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("strip", [1, 3, 256])
def test_it_is_the_plain_convolution(strip, bias, monkeypatch):
    monkeypatch.setattr(winograd, "TILES_AT_ONCE", strip)
    conv = nn.Conv2d(5, 3, 3, bias=bias)
    x = noise(2, 5, 14, 22)
    ours = winograd.convolve(x, winograd.transformed(conv.weight), conv.bias)
    assert ours.shape == (2, 3, 12, 20)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert gap(ours, conv.double()(x.double()).float()) < 2e-6


@torch.no_grad()
def test_fp32_is_as_exact_as_the_plain_sum():
    weight, x = noise(64, 256, 3, 3) / 48, noise(1, 256, 34, 34, seed=1)
    exact = F.conv2d(x.double(), weight.double())
    ours = winograd.convolve(x, winograd.transformed(weight), None).double()
    assert float((ours - exact).norm() / exact.norm()) < 3e-6


@torch.no_grad()
def test_bf16_is_within_two_per_cent():
    weight, x = noise(64, 128, 3, 3) / 34, noise(1, 128, 34, 34, seed=1)
    exact = F.conv2d(x, weight)
    ours = winograd.convolve(x.bfloat16(), winograd.transformed(weight.bfloat16()), None)
    assert ours.dtype == torch.bfloat16
    assert float((ours.float() - exact).norm() / exact.norm()) < 2e-2


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_large_convolutions_go_by_it_in_inference(mode, calls):
    conv, x = Conv2d(4, 6, 3, padding=1, padding_mode=mode), noise(2, 4, 8, 12)
    plain = conv(x).detach()
    assert not calls
    with torch.inference_mode():
        assert gap(conv(x), plain) < 1e-5
    assert calls == [(2, 4, 10, 14)]


@torch.no_grad()
@pytest.mark.parametrize(
    ("conv", "shape"),
    [
        (Conv2d(1, 6, 3, padding=1), (1, 1, 8, 8)),
        (Conv2d(4, 6, 1), (1, 4, 8, 8)),
        (Conv2d(4, 6, 3, stride=2, padding=1), (1, 4, 8, 8)),
        (Conv2d(4, 6, 3), (1, 4, 8, 8)),
        (Conv2d(4, 6, 3, padding=1), (1, 4, 8, 10)),
        (Conv2d(4, 6, 3, padding=1), (1, 4, 4, 8)),
        (Conv2d(4, 6, 3, padding=1).double(), (1, 4, 8, 8)),
    ],
)
def test_others_do_not(conv, shape, calls):
    conv(noise(*shape).to(conv.weight.dtype))
    assert not calls


def test_unfolded_spectral_norm_and_autocast_do_not(calls):
    normed, plain, x = (
        nn.Sequential(reflect_conv(4, 6)).eval(),
        reflect_conv(4, 6),
        noise(1, 4, 8, 8),
    )
    add_spectral_norm(normed)
    with torch.no_grad():
        normed(x)
        with torch.autocast("cpu", torch.bfloat16):
            plain(x)
    assert not calls


@torch.no_grad()
def test_changed_weights_are_transformed_anew(calls):
    conv, x = reflect_conv(4, 6), noise(1, 4, 8, 8)
    first = conv(x)
    kept = conv._kept
    conv(x)
    assert conv._kept is kept
    conv.weight.mul_(2)
    conv.bias.mul_(2)
    assert gap(conv(x), 2 * first) < 1e-5
    conv.load_state_dict({k: v / 2 for k, v in conv.state_dict().items()}, assign=True)
    assert gap(conv(x), first) < 1e-5
    conv.bfloat16()
    ours, padded = conv(x.bfloat16()), F.pad(x.bfloat16(), (1, 1, 1, 1), mode="reflect")
    assert len(calls) == 5
    anew = winograd.convolve(padded, winograd.transformed(conv.weight), conv.bias)
    assert torch.equal(ours, anew)
    assert float((ours.float() - first).norm() / first.norm()) < 2e-2
