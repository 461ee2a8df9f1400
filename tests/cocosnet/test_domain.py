from __future__ import annotations

from functools import partial

import byhand
import numpy as np
import pytest
import torch
from byhand import array
from cocosnet.domain import (
    PaperAdaptor,
    PaperShared,
    ReleasedAdaptor,
    ReleasedShared,
    channel_normalise,
)
from cocosnet.layers import add_spectral_norm
from tiny import MIXED, PAPER, PATCHED, gap, liven, noise
from torch import nn


def sample(tensor: torch.Tensor) -> np.ndarray:
    (one,) = array(tensor)
    return one


def test_channel_normalisation_takes_off_the_mean_and_divides_by_the_norm():
    x = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1)  # centred -2 -1 3, squares sum to 14
    ours = channel_normalise(x, centre=True, eps=0).flatten().tolist()
    assert ours == pytest.approx([-2 / 14**0.5, -1 / 14**0.5, 3 / 14**0.5])
    ours = channel_normalise(x, centre=False, eps=0).flatten().tolist()
    assert ours == pytest.approx([1 / 41**0.5, 2 / 41**0.5, 6 / 41**0.5])


def test_channel_normalisation_of_nothing_is_nothing():
    assert channel_normalise(torch.zeros(1, 3, 2, 2), centre=True, eps=1e-6).abs().sum() == 0


@pytest.mark.parametrize("kernel", [3, 4])
@pytest.mark.parametrize("adaptor", [PaperAdaptor, ReleasedAdaptor])
def test_the_stem_is_table_5s(adaptor, kernel):
    config = MIXED if adaptor is ReleasedAdaptor else PAPER
    module = adaptor(3, type(config)(**{**config.to_dict(), "adaptor_kernel": kernel}))
    n = config.width
    plan = [(c.in_channels, c.out_channels, c.kernel_size, c.stride) for c in module.convs]
    k = (kernel, kernel)
    assert plan == [
        (3, n, (3, 3), (1, 1)),
        (n, 2 * n, k, (2, 2)),
        (2 * n, 4 * n, (3, 3), (1, 1)),
        (4 * n, 8 * n, k, (2, 2)),
        (8 * n, 8 * n, (3, 3), (1, 1)),
    ]
    assert all(c.bias is None and c.padding == (1, 1) for c in module.convs)
    assert all(c.padding_mode == "zeros" for c in module.convs)


def paper_adaptor_by_hand(x: np.ndarray, module: nn.Module) -> np.ndarray:
    norms = (byhand.instance_norm, byhand.instance_norm)
    for conv in module.convs:
        x = byhand.leaky(byhand.instance_norm(byhand.conv(x, conv)))
    for block in module.blocks:
        x = byhand.residual_block(x, block, norms)
    return x


def test_paper_adaptor_equals_the_arithmetic_by_hand():
    torch.manual_seed(0)
    module, x = PaperAdaptor(2, PAPER), noise(1, 2, 16, 24)
    add_spectral_norm(module)
    module.eval()
    expected = paper_adaptor_by_hand(sample(x), module)
    assert np.abs(sample(module.features(x)) - expected).max() < 1e-4
    expected = byhand.unit(expected, 1e-6, centre=True)
    assert np.abs(sample(module(x)) - expected).max() < 1e-4


def test_released_adaptor_equals_the_arithmetic_by_hand():
    torch.manual_seed(0)
    module, x = ReleasedAdaptor(2, MIXED), noise(1, 2, 16, 24)
    module.eval()
    y = sample(x)
    for i, conv in enumerate(module.convs):
        y = byhand.instance_norm(byhand.conv(y if i == 0 else byhand.leaky(y), conv))
    for block in module.blocks:
        y = byhand.spade_block(y, sample(x), block)
    assert np.abs(sample(module.features(x)) - y).max() < 1e-4
    expected = byhand.unit(y, 2.2e-16, centre=False)
    assert np.abs(sample(module(x)) - expected).max() < 1e-4


def test_domain_s_has_unit_norm_and_in_the_paper_zero_mean():
    x = noise(2, 3, 16, 16)
    paper, released = PaperAdaptor(3, PAPER)(x), ReleasedAdaptor(3, MIXED)(x)
    for s in (paper, released):
        assert s.shape == (2, 8, 4, 4)
        assert gap(s.norm(dim=1), torch.ones(2, 4, 4)) < 1e-5
    assert paper.mean(dim=1).abs().max() < 1e-6
    assert released.mean(dim=1).abs().max() > 1e-3


def test_paper_shared_block_equals_the_arithmetic_by_hand():
    torch.manual_seed(0)
    module, x = PaperShared(PAPER), noise(1, 8, 4, 6)
    liven(module)
    y = sample(x)
    for block in module.blocks:
        norms = [partial(byhand.batch_norm, module=n) for n in (block.norm_0, block.norm_1)]
        y = byhand.residual_block(y, block, tuple(norms))
    expected = byhand.conv(y, module.project)
    assert np.abs(sample(module(x)) - expected).max() < 1e-4


def test_paper_shared_block_is_the_same_for_both_branches():
    module, x = liven(PaperShared(PAPER)), noise(1, 8, 4, 4)
    assert torch.equal(module.input_features(x, None), module.exemplar_features(x, noise(1, 3)))


def test_paper_shared_block_has_four_residual_blocks_and_one_1x1():
    module = PaperShared(PAPER)
    kernels = [m.kernel_size for m in module.modules() if isinstance(m, nn.Conv2d)]
    assert (kernels.count((3, 3)), kernels.count((1, 1)), len(kernels)) == (8, 1, 9)
    assert len(module.blocks) == 4


def released_shared_by_hand(x: np.ndarray, module: nn.Module) -> np.ndarray:
    def prelu(y: np.ndarray, block: nn.Module) -> np.ndarray:
        return byhand.leaky(y, array(block.prelu.weight))

    for block in module.blocks:
        y = prelu(byhand.instance_norm(byhand.conv(x, block.conv1)), block)
        x = prelu(byhand.instance_norm(byhand.conv(y, block.conv2)) + x, block)
    return x


@pytest.mark.parametrize("config", [MIXED, PATCHED], ids=["mask_mix", "without"])
def test_released_shared_block_equals_the_arithmetic_by_hand(config):
    torch.manual_seed(0)
    module, x, condition = ReleasedShared(config), noise(1, 8, 4, 6), noise(1, 3, 16, 24, seed=1)
    for i, block in enumerate(module.blocks):
        block.prelu.weight.data.fill_(0.1 * (i + 1))
    y = sample(x)
    if config.mask_mix:
        y = np.concatenate([y, byhand.nearest(sample(condition), 4, 6)])
    y = released_shared_by_hand(y, module)
    theta, phi = module.input_features(x, condition), module.exemplar_features(x, condition)
    assert np.abs(sample(theta) - byhand.conv(y, module.theta)).max() < 1e-4
    assert np.abs(sample(phi) - byhand.conv(y, module.phi)).max() < 1e-4
    assert gap(theta, phi) > 0.01


def test_released_shared_block_needs_the_condition_where_it_is_mixed_in():
    x = noise(1, 8, 4, 4)
    with pytest.raises(ValueError, match="exemplar_input"):
        ReleasedShared(MIXED).exemplar_features(x, None)
    assert ReleasedShared(PATCHED).exemplar_features(x, None).shape == (1, 8, 4, 4)
