from __future__ import annotations

import contextlib

import byhand
import numpy as np
import pytest
import torch
from byhand import array
from cocosnet import layers, presets
from cocosnet.generator import PaperBlock, PaperGenerator, ReleasedGenerator, StyleEncoder
from cocosnet.layers import PositionNorm
from test_correspondence import normed, record_shapes, unnormed
from tiny import MIXED, PAPER, gap, liven, masks, network, noise, photos
from torch import nn

SIZES = (8, 16, 16, 32, 64, 128, 256)
WIDTHS = (1024, 1024, 1024, 512, 256, 128, 64)


def test_table_5_generator_and_style_encoders_row_by_row(monkeypatch):
    monkeypatch.setattr(layers, "full_precision", lambda x: contextlib.nullcontext())
    with torch.device("meta"):
        net = PaperGenerator(presets.paper(channels=151)).eval()
        shapes = record_shapes(net)
        image = net(torch.empty(1, 3, 64, 64), torch.empty(1, 151, 256, 256))
    assert image.shape == (1, 3, 256, 256)
    assert shapes["start"] == [(8, 8, 1024)]
    rows = [shapes[f"blocks.{i}"] for i in range(7)]
    assert rows == [[(s, s, c)] for s, c in zip(SIZES, WIDTHS, strict=True)]
    assert shapes["attention"] == [(128, 128, 256)]
    assert shapes["out"] == [(256, 256, 3)]
    for i, (size, channels) in enumerate(zip(SIZES, WIDTHS, strict=True)):
        assert shapes[f"blocks.{i}.style.trunk"] == [(size, size, 128)]
        assert shapes[f"blocks.{i}.style.heads"] == [(size, size, 2 * channels)]


def test_table_5_kernels():
    with torch.device("meta"):
        net = PaperGenerator(presets.paper(channels=151))
    assert net.code.shape == (1, 1024, 8, 8)
    for conv in (net.start, net.out, *(b.style.trunk for b in net.blocks)):
        assert (conv.kernel_size, conv.stride) == ((3, 3), (1, 1))
    assert [b.style.heads.kernel_size for b in net.blocks] == [(3, 3)] * 7
    assert [b.style.trunk.in_channels for b in net.blocks] == [3] * 7
    ones = [n for n, m in net.named_modules() if getattr(m, "kernel_size", 0) == (1, 1)]
    assert len(ones) == 4 + 4  # the non-local block's, and four blocks that change width


def test_the_paper_modulates_exactly_seven_norms():
    net = PaperGenerator(PAPER)
    assert sum(isinstance(m, PositionNorm) for m in net.modules()) == 7
    assert sum(isinstance(m, StyleEncoder) for m in net.modules()) == 7
    assert len({id(b.style) for b in net.blocks}) == 7
    kinds = (nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm)
    assert not [m for m in net.modules() if isinstance(m, kinds)]


def test_the_release_modulates_two_norms_a_block_and_three_where_the_width_changes():
    counts = [sum(isinstance(m, PositionNorm) for m in b.modules())
              for b in ReleasedGenerator(MIXED).blocks]  # fmt: skip
    assert counts == [2, 2, 2, 3, 3, 3, 3]


def test_spectral_norm_is_everywhere_in_the_papers_generator():
    assert unnormed(PaperGenerator(PAPER)) == set()


def test_spectral_norm_in_the_released_generator_spares_spade_and_the_ends():
    blocks = {f"blocks.{i}.conv_{j}" for i in range(7) for j in range(2)}
    blocks |= {f"blocks.{i}.shortcut" for i in (3, 4, 5, 6)}
    attention = {f"attention.{name}" for name in ("theta", "phi", "g", "o")}
    assert normed(ReleasedGenerator(MIXED)) == blocks | attention


def constant_block(alpha: list[float], beta: list[float]) -> PaperBlock:
    """A block whose convolutions copy and whose style encoder ignores the warped exemplar."""
    c = len(alpha)
    block = PaperBlock(c, c, PAPER)
    for conv in (block.conv_0, block.conv_1):
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
        conv.weight.data[:, :, 1, 1] = torch.eye(c)
    nn.init.zeros_(block.style.heads.weight)
    block.style.heads.bias.data = torch.tensor([*alpha, *beta], dtype=torch.float32)
    return block


@torch.no_grad()
def test_eq_5_is_alpha_times_the_norm_plus_beta():
    block = constant_block([2, 3, 0], [0, 10, -1])
    x = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    s = (7 + 1e-5) ** 0.5  # mean 3, unbiased variance 7
    modulated = [2 * -2 / s, 3 * -1 / s + 10, -1]
    expected = [1 + 0.2 * modulated[0], 2 + modulated[1], 6 + 0.2 * modulated[2]]
    out = block(x, photos(1, 8, 8))
    assert out[0, :, 1, 0].tolist() == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("fin", "fout"), [(4, 4), (4, 2)])
def test_paper_block_equals_the_arithmetic_by_hand(fin, fout):
    torch.manual_seed(0)
    block, x, warped = PaperBlock(fin, fout, PAPER), noise(1, fin, 5, 6), noise(1, 3, 4, 8, seed=1)
    expected = byhand.paper_block(array(x)[0], array(warped)[0], block)
    assert np.abs(array(block(x, warped))[0] - expected).max() < 1e-4


@torch.no_grad()
def test_style_encoder_gives_alpha_first():
    encoder = StyleEncoder(2, 3)
    nn.init.zeros_(encoder.heads.weight)
    encoder.heads.bias.data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    alpha, beta = encoder(photos(1, 8, 8), torch.Size((4, 4)))
    assert alpha[0, :, 0, 0].tolist() == [1, 2]
    assert beta[0, :, 0, 0].tolist() == [3, 4]


@torch.no_grad()
def test_paper_generator_equals_the_arithmetic_by_hand():
    torch.manual_seed(0)
    net = liven(PaperGenerator(PAPER))
    r = photos(1, 16, 16)
    y = byhand.conv(byhand.bilinear(array(net.code)[0], 2, 2), net.start)
    for i, block in enumerate(net.blocks):
        if i in (1, 3, 4, 5, 6):
            y = byhand.nearest(y, 2 * y.shape[1], 2 * y.shape[2])
        if i == 5:
            y = byhand.non_local(y, net.attention)
        y = byhand.paper_block(y, array(r)[0], block)
    expected = np.tanh(byhand.conv(byhand.leaky(y), net.out))
    assert np.abs(array(net(r, masks()))[0] - expected).max() < 1e-4


@torch.no_grad()
def test_released_generator_equals_the_arithmetic_by_hand():
    torch.manual_seed(0)
    net = liven(ReleasedGenerator(MIXED))
    r, x = photos(), masks()
    condition = np.concatenate([array(r)[0], array(x)[0]])
    y = byhand.conv(byhand.nearest(condition, 2, 2), net.start)
    for i, block in enumerate(net.blocks):
        if i in (1, 3, 4, 5, 6):
            y = byhand.nearest(y, 2 * y.shape[1], 2 * y.shape[2])
        if i == 5:
            y = byhand.non_local(y, net.attention)
        y = byhand.spade_block(y, condition, block)
    expected = np.tanh(byhand.conv(byhand.leaky(y), net.out))
    assert np.abs(array(net(r, x))[0] - expected).max() < 1e-4


@torch.no_grad()
def test_the_papers_generator_is_constant_in_the_input_at_a_fixed_warp():
    net, r = network().generator, photos(1, 16, 16)
    image = net(r, masks())
    assert torch.equal(image, net(r, masks(seed=1)))
    assert gap(image, net(photos(1, 16, 16, seed=1), masks())) > 1e-3


@torch.no_grad()
def test_the_released_generator_sees_the_input():
    net, r = network(MIXED).generator, photos()
    assert gap(net(r, masks()), net(r, masks(seed=1))) > 1e-3


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    ("size", "code"), [((96, 64), (3, 2)), ((128, 160), (4, 5)), ((256, 256), (8, 8))]
)
def test_the_code_is_learned_and_stretches_to_other_sizes(size, code):
    net, (height, width) = network().generator, size

    def stop(_module: nn.Module, inputs: tuple) -> None:
        raise Stop(inputs[0])

    net.start.register_forward_pre_hook(stop)
    with pytest.raises(Stop) as start:
        net(photos(2, height // 4, width // 4), masks(2, height, width))
    (seen,) = start.value.args
    expected = byhand.bilinear(array(net.code)[0], *code)
    assert isinstance(net.code, nn.Parameter)
    assert all(np.abs(array(one) - expected).max() < 1e-5 for one in seen)


@pytest.mark.parametrize("form", [PaperGenerator, ReleasedGenerator])
def test_every_parameter_of_a_generator_takes_part(form):
    torch.manual_seed(0)
    paper = form is PaperGenerator
    net = liven(form(PAPER if paper else MIXED)).train()
    r = photos(2, 16, 16) if paper else photos(2)
    (net(r, masks(2)) * noise(2, 3, 64, 64)).sum().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []
