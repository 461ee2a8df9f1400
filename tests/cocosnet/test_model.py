from __future__ import annotations

import dataclasses

import pytest
import torch
from cocosnet import CoCosNet, ExemplarBank, InputFeatures, presets
from cocosnet.descriptors import Side
from cocosnet.layers import fold_spectral_norm
from cocosnet.model import check_size
from tiny import CONFIGS, MASKED, MIXED, PAPER, PATCHED, gap, masks, network, photos


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(params=CONFIGS)
def model(request) -> CoCosNet:
    return network(CONFIGS[request.param])


@pytest.fixture(params=CONFIGS)
def steady(request) -> CoCosNet:
    """A network wide and warm enough that rounding stays near 1e-6."""
    wider = dict(width=8, hidden=16, temperature=0.1)
    return network(dataclasses.replace(CONFIGS[request.param], **wider))


def triple(batch: int = 1, height: int = 64, width: int = 64) -> tuple:
    """Input, exemplar, exemplar's condition."""
    shape = (batch, height, width)
    return masks(*shape), photos(*shape), masks(*shape, seed=1)


def test_translation_has_the_promised_shapes_and_ranges(model):
    out = model(*triple(2))
    assert out.image.shape == out.warped.shape == (2, 3, 64, 64)
    assert out.image.abs().max() <= 1
    assert out.warped.abs().max() <= 1 + 1e-5
    assert out.match.flow.shape == (2, 16, 16, 2)
    assert out.match.confidence.shape == out.match.cycle_error.shape == (2, 16, 16)
    assert out.match.confidence.min() >= 0
    assert out.match.confidence.max() <= 1


def test_input_and_exemplar_both_matter(model):
    x, y, z = triple()
    out = model(x, y, z)
    assert gap(out.warped, model(masks(seed=5), y, z).warped) > 1e-3
    assert gap(out.image, model(masks(seed=5), y, z).image) > 1e-3
    assert gap(out.image, model(x, photos(seed=5), z).image) > 1e-3


def test_the_exemplars_condition_matters_where_it_is_taken():
    x, y, z = triple()
    for config, taken in ((PAPER, False), (MASKED, True), (MIXED, True), (PATCHED, False)):
        net = network(config)
        a, b = (net.match(x, net.encode_exemplar(y, c)).warped for c in (z, masks(seed=5)))
        assert (gap(a, b) > 1e-4) == taken


@pytest.mark.parametrize(("height", "width"), [(64, 96), (96, 160), (128, 64)])
def test_sizes_need_not_be_square(model, height, width):
    out = model(*triple(1, height, width))
    assert out.image.shape == out.warped.shape == (1, 3, height, width)
    assert out.match.flow.shape == (1, height // 4, width // 4, 2)
    assert out.match.flow[..., 0].max() <= width - 2.5
    assert out.match.flow[..., 1].max() <= height - 2.5


def test_an_exemplar_may_be_of_another_size(model):
    x, y, z = masks(1, 64, 96), photos(1, 96, 64), masks(1, 96, 64, seed=1)
    out = model(x, y, z)
    assert out.image.shape == out.warped.shape == (1, 3, 64, 96)
    assert out.match.flow.shape == (1, 16, 24, 2)
    assert out.match.flow[..., 0].max() <= 61.5
    assert 61.5 < out.match.flow[..., 1].max() <= 93.5
    assert out.match.warp(photos(1, 96, 64)).shape == (1, 3, 16, 24)
    assert out.match.warp_back(out.match.colours).shape[-2:] == (24, 16)


def test_a_batch_is_its_samples(steady):
    x, y, z = triple(5)
    whole = steady(x, y, z)
    for part in (slice(0, 1), slice(1, 3), slice(3, 5)):
        alone = steady(x[part], y[part], z[part])
        assert gap(alone.image, whole.image[part]) < 1e-5
        assert gap(alone.warped, whole.warped[part]) < 1e-5
        assert torch.equal(alone.match.flow, whole.match.flow[part])
        assert gap(alone.match.confidence, whole.match.confidence[part]) < 1e-5


def test_an_encoded_exemplar_gives_what_forward_gives(model):
    x, y, z = triple(2)
    expected = model(x, y, z)
    bank = model.encode_exemplar(y, z)
    for features in (x, model.encode_input(x)):
        out = model.render(x, model.match(features, bank))
        assert torch.equal(out.image, expected.image)
        assert torch.equal(out.warped, expected.warped)


def test_one_exemplar_serves_a_batch_of_inputs(steady):
    x, y, z = triple(5)
    bank = steady.encode_exemplar(y[:1], z[:1])
    out = steady.render(x, steady.match(x, bank))
    assert out.image.shape == (5, 3, 64, 64)
    for i in range(5):
        alone = steady(x[i : i + 1], y[:1], z[:1])
        assert gap(out.image[i : i + 1], alone.image) < 1e-5
        assert gap(out.match.cycle_error[i : i + 1], alone.match.cycle_error) < 1e-5


def test_one_input_is_tried_against_many_exemplars(steady):
    x, y, z = triple(3)
    features = steady.encode_input(x[:1])
    out = steady.render(x[:1], steady.match(features, steady.encode_exemplar(y, z)))
    assert out.image.shape == (3, 3, 64, 64)
    for i in range(3):
        alone = steady(x[:1], y[i : i + 1], z[i : i + 1])
        assert gap(out.image[i : i + 1], alone.image) < 1e-5


def test_stacked_banks_are_a_bank_of_the_batch(steady):
    x, y, z = triple(2)
    bank = ExemplarBank.stack([steady.encode_exemplar(y[i : i + 1], z[i : i + 1]) for i in (0, 1)])
    assert gap(steady.render(x, steady.match(x, bank)).image, steady(x, y, z).image) < 1e-5


def test_what_is_encoded_is_not_encoded_again(model):
    x, y, z = triple()
    features, bank = model.encode_input(x), model.encode_exemplar(y, z)
    for part in (model.correspondence.input_adaptor, model.correspondence.exemplar_adaptor):
        part.register_forward_hook(lambda *_: pytest.fail("encoded again"))
    model.correspondence.shared.register_forward_hook(lambda *_: pytest.fail("encoded again"))
    model.render(x, model.match(features, bank))


def test_batches_that_do_not_pair_are_refused(model):
    x, y, z = triple(3)
    with pytest.raises(ValueError, match=r"3.*2"):
        model.match(x, model.encode_exemplar(y[:2], z[:2]))


def test_folding_the_spectral_norm_keeps_the_outputs(model):
    x, y, z = triple(2)
    before = model(x, y, z)
    fold_spectral_norm(model)
    after = model(x, y, z)
    assert not any("parametrizations" in key for key in model.state_dict())
    assert gap(before.image, after.image) < 1e-5
    assert gap(before.warped, after.warped) < 1e-5


def test_nan_in_one_sample_leaves_the_other_alone(steady):
    x, y, z = triple(2)
    y[0, :, 20, 20] = torch.nan
    out, alone = steady(x, y, z), steady(x[1:], y[1:], z[1:])
    assert gap(out.image[1:], alone.image) < 1e-5
    assert out.match.flow.isfinite().all()
    assert out.match.cycle_error.isfinite().all()


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_blank_photos_give_finite_images(model, value):
    x, y, z = triple()
    out = model(torch.zeros_like(x), torch.full_like(y, value), torch.zeros_like(z))
    assert out.image.isfinite().all()
    assert out.match.confidence.isfinite().all()


# Errors


@pytest.mark.parametrize(
    ("height", "width"), [(32, 64), (64, 32), (64, 80), (70, 64), (0, 64), (65, 65)]
)
def test_sizes_that_do_not_fit_are_named(height, width):
    with pytest.raises(ValueError, match=f"{width}x{height}.*32.*64"):
        check_size(height, width)
    net = network()
    if height:
        with pytest.raises(ValueError, match=f"{width}x{height}"):
            net.encode_input(torch.zeros(1, 3, height, width))
        with pytest.raises(ValueError, match=f"{width}x{height}"):
            net.encode_exemplar(torch.zeros(1, 3, height, width))


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (512, 1024)])
def test_sizes_that_fit(size):
    check_size(*size)


@pytest.mark.parametrize("shape", [(1, 4, 64, 64), (1, 1, 64, 64), (3, 64, 64)])
def test_an_input_of_other_planes_is_refused(model, shape):
    with pytest.raises(ValueError, match=r"3,H,W"):
        model.encode_input(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 4, 64, 64), (1, 1, 64, 64), (3, 64, 64)])
def test_an_exemplar_of_other_planes_is_refused(model, shape):
    with pytest.raises(ValueError, match=r"3,H,W"):
        model.encode_exemplar(torch.zeros(shape), masks())


def test_a_missing_exemplar_input_is_refused_only_where_it_is_needed():
    x, y, _ = triple()
    with pytest.raises(ValueError, match="exemplar_input"):
        network(MIXED)(x, y)
    for config in (PAPER, MASKED, PATCHED):
        assert network(config)(x, y).image.isfinite().all()


@pytest.mark.parametrize("config", [MASKED, MIXED], ids=["exemplar_mask", "mask_mix"])
@pytest.mark.parametrize(
    "shape", [(1, 4, 64, 64), (1, 2, 64, 64), (3, 64, 64), (3, 3, 64, 64)], ids=str
)
def test_an_exemplar_input_that_does_not_fit_is_refused(config, shape):
    with pytest.raises(ValueError, match="exemplar_input"):
        network(config).encode_exemplar(photos(2), torch.zeros(shape))


# Matched smaller than rendered


def told_apart(shift: int = 0) -> Side:
    """16x16 cells with a direction of its own each, those of the cells `shift` further right."""
    order = torch.arange(256).view(16, 16).roll(-shift, dims=1).flatten()
    return Side(torch.eye(256)[order].view(1, 16, 16, 256), None, None)


def matched_smaller(config, shift: int = 0, **sizes):
    """64 px of which each cell matches the one `shift` further right, in the colours of 128 px."""
    model, y = network(config), photos(1, 128, 128)
    small = torch.nn.functional.avg_pool2d(y, 2)
    colours = model.encode_exemplar(small, colours=y).colours
    bank = ExemplarBank(told_apart(), colours)
    return model.match(InputFeatures(told_apart(shift)), bank, **sizes), colours


@pytest.mark.parametrize("config", [PAPER, PATCHED], ids=["colours", "patches"])
def test_an_identity_found_at_a_smaller_size_leads_to_all_of_the_larger_colours(config):
    match, colours = matched_smaller(config, size=(128, 128))
    assert colours.shape[-2:] == match.colours.shape[-2:] == (32, 32)
    assert match.flow.shape == (1, 16, 16, 2)
    assert match.warped.shape == (1, 3, 128, 128)
    assert gap(match.colours, colours) < 1e-4
    assert torch.equal(colours, network(config).encode_exemplar(photos(1, 128, 128)).colours)


def test_a_shift_found_at_a_smaller_size_is_followed_exactly():
    match, colours = matched_smaller(PAPER, shift=2, size=(128, 128))
    assert gap(match.colours[..., :28], colours[..., 4:]) < 1e-4


def test_what_was_matched_may_be_a_part_of_what_is_rendered():
    padded, colours = matched_smaller(PAPER, size=(160, 192), part=(128, 128))
    assert padded.colours.shape[-2:] == (40, 48)
    assert gap(padded.colours[..., :32, :32], colours) < 1e-4
    stretched, _ = matched_smaller(PAPER, size=(160, 192))
    assert gap(stretched.colours[..., :32, :32], colours) > 0.1


def test_a_part_need_be_no_multiple():
    """A ramp over the exemplar comes out as a ramp over the part."""
    ramp = ((torch.arange(32) + 0.5) / 32).expand(1, 3, 32, 32)
    bank = ExemplarBank(told_apart(), ramp)
    features = InputFeatures(told_apart())
    match = network().match(features, bank, size=(128, 128), part=(101, 115))
    expected = (4 * torch.arange(32) + 2) / 115
    inside = (expected > 1 / 64) & (expected < 1 - 1 / 64)
    assert gap(match.colours[0, 0, 9][inside], expected[inside]) < 1e-4


def test_what_was_matched_smaller_is_rendered(steady):
    x, y, _ = triple(2, 128, 128)
    small = triple(2)
    bank = steady.encode_exemplar(small[1], small[2], colours=y)
    out = steady.render(x, steady.match(small[0], bank, size=(128, 128)))
    assert out.image.shape == out.warped.shape == (2, 3, 128, 128)
    assert out.match.flow.shape == (2, 16, 16, 2)
    alone = steady.encode_exemplar(small[1][1:], small[2][1:], colours=y[1:])
    one = steady.match(small[0][1:], alone, size=(128, 128))
    assert gap(steady.render(x[1:], one).image, out.image[1:]) < 1e-4


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"size": (128, 100)}, "100x128"),
        ({"size": (32, 64)}, "64x32"),
        ({"size": (128, 128), "part": (129, 128)}, "part 128x129 of"),
        ({"size": (128, 128), "part": (128, 0)}, "part 0x128 of"),
        ({"part": (64, 64)}, "without the size"),
    ],
)
def test_sizes_that_cannot_be_rendered_are_told(sizes, words):
    with pytest.raises(ValueError, match=words):
        matched_smaller(PAPER, **sizes)


def test_colours_of_a_size_that_cannot_be_rendered_are_told():
    with pytest.raises(ValueError, match="100x128"):
        network().encode_exemplar(photos(), colours=photos(1, 128, 100))


# Ablations


@pytest.mark.parametrize("config", [PAPER, MIXED], ids=["paper", "released"])
def test_batch_statistics_instead_of_positions(config):
    """Figure 18: another generator under the same match."""
    default, changed = network(config), network(dataclasses.replace(config, norm="batch"))
    weights = changed.state_dict()
    weights.update(default.state_dict())
    changed.load_state_dict(weights)
    a, b = default(*triple(2)), changed(*triple(2))
    assert torch.equal(a.warped, b.warped)
    assert gap(a.image, b.image) > 1e-3
    changed.train()(*triple(2))
    statistics = [v for k, v in changed.generator.state_dict().items() if "running_mean" in k]
    assert len(statistics) == (7 if config.form == "paper" else 18)


def test_spatial_means_instead_of_channels():
    """Figure 19: another match of the same weights."""
    default = network(PAPER)
    changed = network(dataclasses.replace(PAPER, match_norm="spatial"))
    a, b = default(*triple()), changed(*triple())
    assert list(default.state_dict()) == list(changed.state_dict())
    assert gap(a.warped, b.warped) > 1e-3
    assert b.image.isfinite().all()


# Start values and state


def test_alpha_starts_at_one_and_beta_at_zero():
    model = CoCosNet(PAPER).initialise()
    for block in model.generator.blocks:
        bias = block.style.heads.bias
        half = len(bias) // 2
        assert bias.tolist() == [1] * half + [0] * half


def test_initialise_returns_the_model_and_spares_code_gate_and_norms():
    torch.manual_seed(0)
    model = CoCosNet(PAPER)
    code = model.generator.code.clone()
    assert model.initialise() is model
    assert torch.equal(model.generator.code, code)
    assert float(model.generator.attention.gamma) == 0
    norm = model.correspondence.shared.blocks[0].norm_0
    assert norm.weight.tolist() == [1] * len(norm.weight)


def test_a_seed_makes_a_model():
    a, b, c = (network(seed=s).initialise().state_dict() for s in (3, 3, 4))
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


@pytest.mark.parametrize("config", [PAPER, MIXED], ids=["paper", "released"])
def test_an_untrained_model_gives_finite_images(config):
    model = network(config).initialise().eval()
    assert model(*triple()).image.isfinite().all()


def test_training_mode_updates_the_shared_blocks_statistics():
    model = network().train()
    norm = model.correspondence.shared.blocks[0].norm_0
    before = norm.running_mean.clone()
    model(*triple(2))
    assert gap(norm.running_mean, before) > 1e-4


def test_widths_come_from_the_config():
    narrow, wide = (CoCosNet(presets.paper(3, width=w)) for w in (2, 4))
    assert wide.generator.code.shape[1] == 2 * narrow.generator.code.shape[1] == 64


@pytest.mark.parametrize(
    ("config", "gain"), [(PAPER, 0.2), (MIXED, 0.02)], ids=["paper", "released"]
)
def test_the_paper_form_starts_with_larger_weights(config, gain):
    """Of spectrally normalised weights, whose scale changes no output but Adam's first steps."""
    model = CoCosNet(config).initialise()
    for part in ("generator.blocks.0.conv_1", "correspondence.input_adaptor.convs.3"):
        weight = model.get_parameter(f"{part}.parametrizations.weight.original")
        fans = weight[0, 0].numel() * sum(weight.shape[:2])
        assert float(weight.std()) == pytest.approx(gain * (2 / fans) ** 0.5, rel=0.1)


def test_the_papers_shared_block_starts_as_one_convolution():
    """Its residual blocks add nothing at first, and are trained all the same."""
    model = CoCosNet(PAPER, spectral=False).initialise()
    shared = model.correspondence.shared
    x = torch.randn(2, 4 * PAPER.width, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shared(x), shared.project(x))
    with torch.enable_grad():
        shared(x).square().sum().backward()
    assert all(float(block.norm_1.weight.grad.abs().max()) > 0 for block in shared.blocks)


@pytest.mark.parametrize("config", [PAPER, MIXED], ids=["paper", "released"])
def test_a_network_in_bf16_takes_and_gives_single(config):
    model = network(config).eval()
    x, y, condition = masks(), photos(), masks(seed=1)
    with torch.inference_mode():
        single = model(x, y, condition)
        half = model.to_precision(torch.bfloat16)(x, y, condition)
    assert {p.dtype for p in model.correspondence.input_adaptor.parameters()} == {torch.bfloat16}
    assert model.generator.out.weight.dtype == torch.float32
    assert all(m.weight.dtype == torch.float32
               for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))  # fmt: skip
    assert half.image.dtype == half.warped.dtype == torch.float32
    assert 0 < float((half.image - single.image).abs().mean()) < 0.1
