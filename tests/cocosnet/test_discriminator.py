from __future__ import annotations

import byhand
import numpy as np
import pytest
import torch
from byhand import array
from cocosnet import Discriminator, presets
from test_correspondence import normed, unnormed
from tiny import critic, gap, masks, photos
from torch import nn


def test_shapes_at_full_size():
    with torch.device("meta"):
        net = Discriminator(presets.discriminator(presets.released("celebahq-edge")))
    for scale in net.scales:
        plan = [(c.in_channels, c.out_channels, c.stride[0], c.bias is not None)
                for c in scale.convs]  # fmt: skip
        assert plan == [
            (18, 64, 2, True),
            (64, 128, 2, False),
            (128, 256, 2, False),
            (256, 512, 1, False),
            (512, 1, 1, True),
        ]
        assert {(c.kernel_size, c.padding) for c in scale.convs} == {((4, 4), (1, 1))}
        assert scale.attention.theta.weight.shape == (32, 256, 1, 1)


def test_widths_stop_at_512():
    with torch.device("meta"):
        config = presets.discriminator(presets.paper(channels=3, width=128))
        net = Discriminator(config)
    assert [c.out_channels for c in net.scales[0].convs] == [128, 256, 512, 512, 1]


def test_two_scales_of_five_outputs():
    outputs = critic()(photos(2, 64, 96))
    shapes = [[tuple(o.shape) for o in scale] for scale in outputs]
    assert shapes == [
        [(2, 2, 32, 48), (2, 4, 16, 24), (2, 8, 8, 12), (2, 16, 7, 11), (2, 1, 6, 10)],
        [(2, 2, 16, 24), (2, 4, 8, 12), (2, 8, 4, 6), (2, 16, 3, 5), (2, 1, 2, 4)],
    ]


def test_the_papers_sees_the_image_alone():
    net = critic(0)
    assert net.scales[0].convs[0].in_channels == 3
    a, b = net(photos()), net(photos(), masks())
    assert torch.equal(a[0][-1], b[0][-1])


def test_the_releases_sees_condition_and_image_in_this_order():
    net = critic(3)
    nn.init.zeros_(net.scales[0].convs[0].weight)
    net.scales[0].convs[0].weight.data[:, 0] = 1  # the first plane only
    with torch.no_grad():
        a = net(photos(), masks())[0][0]
        assert torch.equal(a, net(photos(seed=1), masks())[0][0])
        assert gap(a, net(photos(), masks(seed=1))[0][0]) > 0.1


def test_a_condition_that_is_missing_is_a_value_error():
    with pytest.raises(ValueError, match="condition"):
        critic(3)(photos())


def test_spectral_norm_is_everywhere_in_the_papers():
    net = Discriminator(presets.discriminator(presets.paper(channels=3, width=2)))
    assert unnormed(net) == set()


def test_spectral_norm_spares_the_ends_of_the_releases():
    net = Discriminator(presets.discriminator(presets.released("ade20k", width=2)))
    inner = {f"convs.{i}" for i in (1, 2, 3)}
    inner |= {f"attention.{name}" for name in ("theta", "phi", "g", "o")}
    assert normed(net) == {f"scales.{s}.{name}" for s in range(2) for name in inner}


def half(x: np.ndarray) -> np.ndarray:
    """3x3 means at every other pixel, over the pixels that are there."""
    out = np.zeros((len(x), x.shape[1] // 2, x.shape[2] // 2))
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            top, left = max(2 * i - 1, 0), max(2 * j - 1, 0)
            out[:, i, j] = x[:, top : 2 * i + 2, left : 2 * j + 2].mean(axis=(1, 2))
    return out


@torch.no_grad()
@pytest.mark.parametrize("ends", [False, True])
def test_it_equals_the_arithmetic_by_hand(ends):
    net = critic(3, spectral_ends=ends)
    image, condition = photos(), masks()
    x = np.concatenate([array(condition)[0], array(image)[0]])
    for scale, outputs in zip(net.scales, net(image, condition), strict=True):
        y, expected = x, []
        for i, conv in enumerate(scale.convs):
            y = byhand.conv(byhand.non_local(y, scale.attention) if i == 3 else y, conv)
            if i in (1, 2, 3):
                y = byhand.instance_norm(y)
            y = byhand.leaky(y) if i < 4 else y
            expected.append(y)
        for ours, theirs in zip(outputs, expected, strict=True):
            assert np.abs(array(ours)[0] - theirs).max() < 1e-4
        x = half(x)


@torch.no_grad()
def test_samples_of_a_batch_are_independent():
    net, images = critic(), photos(3)
    whole, alone = net(images), net(images[1:2])
    for scale_a, scale_b in zip(whole, alone, strict=True):
        for a, b in zip(scale_a, scale_b, strict=True):
            assert gap(a[1:2], b) < 1e-5
