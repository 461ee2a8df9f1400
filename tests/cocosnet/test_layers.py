from __future__ import annotations

import math

import byhand
import numpy as np
import pytest
import torch
from byhand import array
from cocosnet import layers
from cocosnet.layers import (
    NonLocal,
    PositionNorm,
    ResidualBlock,
    Spade,
    SpadeBlock,
    add_spectral_norm,
    fold_spectral_norm,
)
from tiny import gap, liven, network, noise, saved_bytes
from torch import nn
from torch.nn.utils import parametrize


def column(*values: float) -> torch.Tensor:
    """One position of these channels."""
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)


def close(ours: torch.Tensor, theirs: np.ndarray, within: float = 1e-4) -> bool:
    """One sample of ours against an array of the same numbers."""
    assert ours.shape[1:] == theirs.shape
    return float(np.abs(array(ours)[0] - theirs).max()) < within


def test_position_norm_divides_by_the_unbiased_deviation_over_channels():
    # mean 3, squares 4 + 1 + 9 = 14, over 2
    expected = [(v - 3) / math.sqrt(7 + 1e-5) for v in (1, 2, 6)]
    assert PositionNorm()(column(1, 2, 6)).flatten().tolist() == pytest.approx(expected, rel=1e-6)


def test_position_norm_adds_1e_5_to_the_variance():
    # mean 0.001, variance 2e-6
    expected = 0.001 / math.sqrt(2e-6 + 1e-5)
    ours = PositionNorm()(column(0, 0.002)).flatten().tolist()
    assert ours == pytest.approx([-expected, expected], rel=1e-5)


def test_position_norm_treats_positions_apart():
    x = noise(2, 5, 3, 4)
    whole = PositionNorm()(x)
    alone = PositionNorm()(x[1:, :, 2:, 3:])
    assert gap(whole[1:, :, 2:, 3:], alone) < 1e-6


def test_leaky_slope_is_one_fifth():
    assert layers.leaky(torch.tensor([-5.0, 5.0])).tolist() == [-1, 5]


def constant_spade(gamma: list[float], beta: list[float]) -> Spade:
    """A SPADE whose heads ignore the condition."""
    spade = Spade(len(gamma), condition=1, hidden=1)
    nn.init.zeros_(spade.heads.weight)
    spade.heads.bias.data = torch.tensor([*gamma, *beta])
    return spade


def test_spade_multiplies_by_one_plus_gamma_and_adds_beta():
    spade = constant_spade([0.5, 0, -1], [0, 10, 3])
    s = math.sqrt(7 + 1e-5)
    expected = [1.5 * -2 / s, -1 / s + 10, 3]
    out = spade(column(1, 2, 6).expand(1, 3, 2, 2), torch.zeros(1, 1, 2, 2))
    assert out[0, :, 1, 1].tolist() == pytest.approx(expected, rel=1e-5)


def test_spade_equals_the_arithmetic_by_hand():
    spade, x, condition = Spade(4, 2, 3), noise(1, 4, 3, 5), noise(1, 2, 6, 10, seed=1)
    assert close(spade(x, condition), byhand.spade(array(x)[0], array(condition)[0], spade))


def test_spade_resizes_its_condition_by_picking_pixels():
    spade = Spade(2, 1, 1)
    condition = torch.zeros(1, 1, 8, 8)
    condition[..., 1::2, 1::2] = 5  # never picked when 8 shrinks to 4
    x = noise(1, 2, 4, 4)
    assert torch.equal(spade(x, condition), spade(x, torch.zeros(1, 1, 4, 4)))


@pytest.mark.parametrize(("fin", "fout"), [(4, 4), (4, 2), (2, 4)])
def test_spade_block_equals_the_arithmetic_by_hand(fin, fout):
    block = SpadeBlock(fin, fout, condition=2, hidden=3)
    x, condition = noise(1, fin, 4, 3), noise(1, 2, 8, 6, seed=1)
    expected = byhand.spade_block(array(x)[0], array(condition)[0], block)
    assert close(block(x, condition), expected)
    assert hasattr(block, "shortcut") == (fin != fout)


@pytest.mark.parametrize("fout", [3, 2])
def test_residual_block_with_instance_norm_by_hand(fout):
    block, x = ResidualBlock(3, fout, "instance"), noise(1, 3, 4, 5)
    norms = (byhand.instance_norm, byhand.instance_norm)
    assert close(block(x), byhand.residual_block(array(x)[0], block, norms))
    assert not [p for p in block.norm_0.parameters()]


def test_residual_block_with_batch_norm_by_hand():
    block, x = ResidualBlock(3, 3, "batch"), noise(1, 3, 4, 5)
    liven(block)
    norms = tuple(lambda y, m=m: byhand.batch_norm(y, m) for m in (block.norm_0, block.norm_1))
    assert close(block(x), byhand.residual_block(array(x)[0], block, norms))
    assert block.norm_0.weight is not None


def test_reflect_conv_mirrors_without_repeating_the_border():
    conv = layers.reflect_conv(1, 1, bias=False)
    nn.init.zeros_(conv.weight)
    conv.weight.data[0, 0, 0, 0] = 1  # the pixel above left
    x = torch.arange(9.0).view(1, 1, 3, 3)
    assert conv(x)[0, 0].tolist() == [[4, 3, 4], [1, 0, 1], [4, 3, 4]]


@pytest.mark.parametrize("channels", [4, 16])
def test_non_local_equals_the_arithmetic_by_hand(channels):
    block, x = NonLocal(channels), noise(1, channels, 4, 6)
    liven(block)
    assert close(block(x), byhand.non_local(array(x)[0], block))


def test_non_local_starts_as_the_identity():
    x = noise(1, 8, 4, 4)
    assert torch.equal(NonLocal(8)(x), x)


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_attention_in_strips_equals_attention_at_once(rows):
    q, k, v = noise(2, 7, 3), noise(2, 3, 5, seed=1), noise(2, 5, 4, seed=2)
    dense = torch.softmax(q @ k, dim=-1) @ v
    assert gap(layers.attend(q, k, v, rows), dense) < 1e-6


def test_attention_holds_few_rows_of_a_large_matrix(monkeypatch):
    monkeypatch.setattr(layers, "BLOCK_ELEMENTS", 100)
    seen = []
    whole = layers._attend
    monkeypatch.setattr(layers, "_attend", lambda *x: (seen.append(x[0].shape[1]), whole(*x))[1])
    q, k, v = noise(1, 30, 3), noise(1, 3, 24, seed=1), noise(1, 24, 4, seed=2)
    assert gap(layers.attend(q, k, v), torch.softmax(q @ k, dim=-1) @ v) < 1e-6
    assert max(seen) == 4 and sum(seen) == 30


def test_attention_in_strips_keeps_no_matrix_for_its_gradient():
    q, k, v = (noise(1, *s, seed=i) for i, s in enumerate([(64, 3), (3, 48), (48, 2)]))
    kept, gradients = [], []
    for rows in (64, 16):
        leaf = q.clone().requires_grad_()
        with saved_bytes() as sizes:
            ours = layers.attend(leaf, k, v, rows)
        kept.append(sum(sizes))
        gradients += torch.autograd.grad(ours.square().sum(), leaf)
    assert kept[0] > 4 * 64 * 48
    assert kept[1] < 4 * 64 * 48 / 4
    assert gap(*gradients) < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_position_norm_of_half_precision_is_computed_in_single(dtype):
    x = (noise(1, 8, 2, 2) + 100).to(dtype)
    ours = PositionNorm()(x)
    assert ours.dtype == dtype
    assert gap(ours.float(), PositionNorm()(x.float())) < torch.finfo(dtype).eps


def normed_convs(module: nn.Module) -> list[nn.Module]:
    return [m for m in module.modules() if parametrize.is_parametrized(m, "weight")]


def test_spectral_norm_divides_by_the_largest_singular_value():
    torch.manual_seed(0)
    holder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Conv2d(4, 2, 1)))
    originals = [m.weight.detach().clone() for m in (holder[0], holder[1][0])]
    add_spectral_norm(holder)
    for _ in range(100):
        holder[0].weight, holder[1][0].weight
    for conv, w in zip(normed_convs(holder.eval()), originals, strict=True):
        sigma = np.linalg.svd(array(w).reshape(len(w), -1))[1][0]
        assert gap(conv.weight, w / sigma) < 1e-4


def test_spectral_norm_stays_out_of_the_types_it_shall_skip():
    block = SpadeBlock(4, 2, 3, 3)
    add_spectral_norm(block, skip=(Spade,))
    assert normed_convs(block) == [block.conv_0, block.conv_1, block.shortcut]


def test_eval_mode_leaves_the_power_iteration_alone():
    holder = nn.Sequential(nn.Conv2d(2, 3, 3))
    add_spectral_norm(holder)
    holder.eval()
    before = {k: v.clone() for k, v in holder.state_dict().items()}
    holder(noise(1, 2, 5, 5))
    assert all(torch.equal(v, before[k]) for k, v in holder.state_dict().items())


def test_folding_leaves_plain_weights_and_the_same_outputs():
    torch.manual_seed(1)
    holder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1, bias=False))
    add_spectral_norm(holder)
    holder.eval()
    x, names = noise(1, 3, 6, 6), {"0.weight", "0.bias", "1.weight"}
    expected = byhand.conv(byhand.conv(array(x)[0], holder[0]), holder[1])
    fold_spectral_norm(holder)
    assert set(holder.state_dict()) == names
    assert close(holder(x), expected, 1e-5)


@pytest.mark.parametrize("normed", [False, True])
def test_start_values_are_xavier_normal_of_gain_one_fiftieth_with_zero_biases(normed):
    holder = nn.Sequential(nn.Conv2d(64, 32, 3))
    if normed:
        add_spectral_norm(holder)
    layers.initialise(holder)
    name = "0.parametrizations.weight.original" if normed else "0.weight"
    deviation = 0.02 * math.sqrt(2 / (9 * (64 + 32)))
    assert float(holder.get_parameter(name).detach().std()) == pytest.approx(deviation, rel=0.05)
    assert holder[0].bias.tolist() == [0] * 32


def test_spectral_norms_are_one_right_after_initialisation():
    model = network().initialise().eval()
    weights = [m.weight.detach().flatten(1) for m in normed_convs(model)]
    norms = [float(torch.linalg.matrix_norm(w, 2)) for w in weights]
    assert max(norms) < 1.5
    assert min(norms) > 0.9
