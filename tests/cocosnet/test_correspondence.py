from __future__ import annotations

import contextlib
import dataclasses

import byhand
import numpy as np
import pytest
import torch
from byhand import array
from cocosnet import ExemplarBank, layers, matching, presets
from cocosnet.correspondence import Correspondence
from cocosnet.descriptors import Side
from tiny import CONFIGS, MASKED, MIXED, PAPER, PATCHED, gap, masks, network, noise, photos
from torch import Tensor, nn
from torch.nn.utils import parametrize

N = 64


@pytest.fixture
def on_meta(monkeypatch):
    """Autocast knows no meta device: leave its regions out."""
    for module in (layers, matching):
        monkeypatch.setattr(module, "full_precision", lambda x: contextlib.nullcontext())


def record_shapes(module: nn.Module) -> dict[str, list[tuple[int, ...]]]:
    """Filled at each forward pass: name -> output shapes (H, W, C), one a call."""
    shapes: dict[str, list[tuple[int, ...]]] = {}

    def hook(name: str):
        def note(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            if isinstance(output, Tensor):
                _, c, h, w = output.shape
                shapes.setdefault(name, []).append((h, w, c))

        return note

    for name, child in module.named_modules():
        child.register_forward_hook(hook(name))
    return shapes


@pytest.mark.usefixtures("on_meta")
def test_table_5_correspondence_network_row_by_row():
    with torch.device("meta"):
        net = Correspondence(presets.paper(channels=151)).eval()
        shapes = record_shapes(net)
        bank = net.encode_exemplar(torch.empty(1, 3, 256, 256))
        match = net.match(net.encode_input(torch.empty(1, 151, 256, 256)), bank)
        warped = match.colours
    for adaptor in ("input_adaptor", "exemplar_adaptor"):
        rows = [shapes[f"{adaptor}.convs.{i}"] for i in range(5)]
        assert rows == [
            [(256, 256, N)],
            [(128, 128, 2 * N)],
            [(128, 128, 4 * N)],
            [(64, 64, 8 * N)],
            [(64, 64, 8 * N)],
        ]
        rows = [shapes[f"{adaptor}.blocks.{i}"] for i in range(3)]
        assert rows == [[(64, 64, 512)], [(64, 64, 512)], [(64, 64, 256)]]
        assert f"{adaptor}.blocks.3" not in shapes
    # Both branches pass the shared block, so each of its rows is seen twice.
    for i in range(4):
        assert shapes[f"shared.blocks.{i}"] == [(64, 64, 256)] * 2
    assert "shared.blocks.4" not in shapes
    assert shapes["shared.project"] == [(64, 64, 256)] * 2
    assert warped.shape == (1, 3, 64, 64)


@pytest.mark.parametrize("side", ["input", "exemplar"])
def test_table_5_kernels_and_strides(side):
    with torch.device("meta"):
        net = Correspondence(presets.paper(channels=151))
    adaptor = net.get_submodule(f"{side}_adaptor")
    plan = [(c.kernel_size[0], c.stride[0]) for c in adaptor.convs]
    assert plan == [(3, 1), (4, 2), (3, 1), (4, 2), (3, 1)]
    kernels = {c.kernel_size for c in adaptor.blocks.modules() if isinstance(c, nn.Conv2d)}
    assert kernels == {(3, 3), (1, 1)}  # the 1x1 is the shortcut of the third block
    assert net.shared.project.kernel_size == (1, 1)


def unnormed(module: nn.Module) -> set[str]:
    return {
        name
        for name, child in module.named_modules()
        if isinstance(child, nn.Conv2d) and not parametrize.is_parametrized(child, "weight")
    }


def normed(module: nn.Module) -> set[str]:
    return {n for n, m in module.named_modules() if parametrize.is_parametrized(m, "weight")}


def test_every_convolution_of_the_paper_is_spectrally_normalised():
    assert unnormed(Correspondence(PAPER)) == set()


@pytest.mark.parametrize("config", [MIXED, PATCHED], ids=["mask_mix", "without"])
def test_the_release_normalises_the_adaptors_convolutions_alone(config):
    convs = {f"convs.{i}" for i in range(5)}
    blocks = {f"blocks.{i}.conv_{j}" for i in range(3) for j in range(2)} | {"blocks.2.shortcut"}
    expected = {f"{a}_adaptor.{c}" for a in ("input", "exemplar") for c in convs | blocks}
    assert normed(Correspondence(config)) == expected


def test_adaptors_share_no_weights_and_the_shared_block_is_one():
    net = network().correspondence
    ids = [{id(p) for p in m.parameters()} for m in (net.input_adaptor, net.exemplar_adaptor)]
    assert not ids[0] & ids[1]
    calls = []
    net.shared.register_forward_hook(lambda *_: calls.append(1))
    net.encode_input(masks())
    net.encode_exemplar(photos())
    assert len(calls) == 2


def test_the_masks_planes_join_the_photos_in_f_b():
    net = network(MASKED).correspondence
    assert net.exemplar_adaptor.convs[0].in_channels == 3 + 3
    assert net.input_adaptor.convs[0].in_channels == 3
    assert network(PAPER).correspondence.exemplar_adaptor.convs[0].in_channels == 3


def test_without_a_mask_f_b_sees_zeros():
    net, y = network(MASKED).correspondence, photos(2)
    assert torch.equal(net.adapt_exemplar(y), net.adapt_exemplar(y, torch.zeros(2, 3, 64, 64)))
    seen = net.exemplar_adaptor(torch.cat([y, masks(2)], dim=1))
    assert torch.equal(net.adapt_exemplar(y, masks(2)), seen)
    assert gap(seen, net.adapt_exemplar(y)) > 0.01


@pytest.mark.parametrize("config", [PAPER, PATCHED], ids=["paper", "without mask_mix"])
def test_weights_that_take_no_mask_ignore_it(config):
    net, y = network(config).correspondence, photos()
    with_mask, without = net.encode_exemplar(y, masks()), net.encode_exemplar(y)
    assert torch.equal(with_mask.side.features, without.side.features)


@torch.no_grad()
def test_paper_match_from_features_by_hand():
    """Eq. 3 and 4 between the shared block's outputs and the exemplar at a quarter."""
    net, x, y = network().correspondence, masks(), photos()
    a = array(net.shared(net.adapt_input(x)))[0]
    b = array(net.shared(net.adapt_exemplar(y)))[0]
    quarter = array(y)[0].reshape(3, 16, 4, 16, 4).mean(axis=(2, 4)).reshape(3, -1)
    sides = []
    for v in (a, b):
        v = v.reshape(8, -1) - v.reshape(8, -1).mean(axis=0)
        sides.append(v / np.linalg.norm(v, axis=0))
    m = sides[0].T @ sides[1]
    there = byhand.eq4(m, quarter, 0.01)
    match = net.match(net.encode_input(x), net.encode_exemplar(y))
    assert np.abs(array(match.colours)[0].reshape(3, -1) - there).max() < 1e-3
    back = byhand.eq12(m, there, 0.01)
    ours = match.warp_back(match.colours)
    assert np.abs(array(ours)[0].reshape(3, -1) - back).max() < 2e-3


def unit_side(order: list[int], height: int, width: int) -> Side:
    """Descriptors that are unit vectors: cell i shows direction order[i]."""
    return Side(torch.eye(16)[order].view(1, height, width, 16), None, None)


def made_match(config=PAPER) -> tuple:
    """A 2x3 input grid onto a 3x2 exemplar grid, cell i -> cell (i + 1) % 6."""
    query = unit_side([1, 2, 3, 4, 5, 0], 2, 3)
    bank = ExemplarBank(unit_side([0, 1, 2, 3, 4, 5], 3, 2), noise(1, 3, 3, 2))
    net = Correspondence(config)
    return net.match(type(net.encode_input(masks()))(query), bank), bank


def test_quantities_of_a_made_match():
    match, bank = made_match()
    # exemplar cells 1..5, 0 on a grid 2 wide: (1,0) (0,1) (1,1) / (0,2) (1,2) (0,0)
    expected = [
        [[5.5, 1.5], [1.5, 5.5], [5.5, 5.5]],
        [[1.5, 9.5], [5.5, 9.5], [1.5, 1.5]],
    ]
    assert match.flow[0].tolist() == expected
    assert match.confidence.shape == (1, 2, 3)
    assert match.confidence.min() > 0.999
    assert match.cycle_error.abs().max() == 0
    colours = bank.colours.flatten(2)[0].T.roll(-1, dims=0)
    assert gap(match.colours.flatten(2)[0].T, colours) < 1e-5
    assert gap(match.warp_back(match.colours), bank.colours) < 1e-5


def test_anything_aligned_with_the_exemplar_can_be_warped():
    match, bank = made_match()
    full = bank.colours.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    assert gap(match.warp(full), match.colours) < 1e-5
    assert match.warp(noise(1, 7, 3, 2)).shape == (1, 7, 2, 3)


def test_warped_comes_back_to_full_size():
    nearest, _ = made_match(dataclasses.replace(PAPER, warp_upsample="nearest"))
    blocky = nearest.colours.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    assert torch.equal(nearest.warped, blocky)
    smooth, _ = made_match()
    expected = byhand.bilinear(array(smooth.colours)[0], 8, 12)
    assert np.abs(array(smooth.warped)[0] - expected).max() < 1e-5


def test_patches_are_warped_whole():
    net, y = network(PATCHED).correspondence, photos()
    bank = net.encode_exemplar(y)
    assert bank.colours.shape == (1, 48, 16, 16)
    same = Side(bank.side.features, bank.side.mean, bank.side.scale)
    match = net.match(type(net.encode_input(masks()))(same), bank)
    identity = match.statistics.best[0].flatten() == torch.arange(256)
    assert identity.float().mean() > 0.95
    assert match.warped.shape == (1, 3, 64, 64)
    assert torch.equal(matching.to_patches(match.warped), match.colours)


@pytest.mark.parametrize("name", CONFIGS)
def test_banks_stack_and_know_their_size(name):
    net, y, z = network(CONFIGS[name]).correspondence, photos(2), masks(2)
    whole = net.encode_exemplar(y, z)
    alone = [net.encode_exemplar(y[i : i + 1], z[i : i + 1]) for i in range(2)]
    stacked = ExemplarBank.stack(alone)
    assert (len(whole), len(stacked), len(alone[0])) == (2, 2, 1)
    assert whole.nbytes == stacked.nbytes == 2 * alone[0].nbytes
    floats = sum(x.numel() for x in (*whole.side, whole.colours) if x is not None)
    assert whole.nbytes == 4 * floats
    assert gap(stacked.side.features, whole.side.features) < 1e-5
    assert torch.equal(stacked.colours, whole.colours)
    assert ExemplarBank.stack(alone[:1]) is alone[0]


@pytest.mark.parametrize("config", [PAPER, MIXED], ids=["paper", "released"])
def test_gradients_reach_both_adaptors_and_the_shared_block(config):
    net = network(config).correspondence.train()
    x, y, z = masks(2), photos(2), masks(2, seed=1)
    match = net.match(net.encode_input(x), net.encode_exemplar(y, z))
    (match.warped - photos(2, seed=1)).abs().mean().backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias in front of a norm has no effect.
    assert [n for n in without if not n.endswith("bias")] == []
