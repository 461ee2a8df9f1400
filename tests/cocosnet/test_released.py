from __future__ import annotations

import pickle
import random
import re
from pathlib import Path

import cocosnet
import pytest
import released_names
import torch
from cocosnet import CoCosNet, WeightsError, presets
from tiny import critic, gap, liven, masks, network, photos

TASKS = presets.TASKS
CLASSES = {"ade20k": 7}


def tiny_model(task: str, seed: int = 0) -> CoCosNet:
    channels = CLASSES.get(task, presets.released(task).channels)
    return network(presets.released(task, width=2, hidden=4, channels=channels), seed)


@pytest.fixture(scope="module")
def states() -> dict[str, dict]:
    """Released-style state dicts of a tiny network a task."""
    return {task: released_names.states(tiny_model(task)) for task in TASKS}


@pytest.fixture
def edge(states) -> dict[str, dict[str, torch.Tensor]]:
    """Those of celebahq-edge, to be changed."""
    return {name: dict(state) for name, state in states["celebahq-edge"].items()}


def refused(folder: Path, task: str = "celebahq-edge", epoch: str = "latest") -> str:
    with pytest.raises(WeightsError) as error:
        cocosnet.load_released(folder, task, epoch)
    return str(error.value)


@pytest.mark.parametrize("task", TASKS)
def test_a_released_folder_gives_the_network_it_was_made_of(tmp_path, states, task):
    model, channels = tiny_model(task), CLASSES.get(task, presets.released(task).channels)
    again = cocosnet.load_released(released_names.write(tmp_path, states[task]), task, fold=False)
    ours, theirs = model.state_dict(), again.state_dict()
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert again.config == model.config
    assert not again.training
    triple = masks(channels=channels), photos(), masks(channels=channels, seed=1)
    with torch.no_grad():
        assert torch.equal(again(*triple).image, model(*triple).image)


def test_names_read_like_the_releases(states):
    """The helper that writes these files, against names of the release by hand."""
    corr, g = states["celebahq-edge"]["Corr"], states["celebahq-edge"]["G"]
    assert corr["adaptive_model_seg.layer1.0.weight_orig"].shape == (2, 15, 3, 3)
    assert corr["adaptive_model_img.layer5.0.weight_u"].shape == (16,)
    assert corr["adaptive_model_img.G_middle_1.norm_s.mlp_beta.weight"].shape == (16, 4, 3, 3)
    assert corr["layer.3.prelu.weight"].shape == (1,)
    assert g["up_3.conv_s.weight_v"].shape == (4,)
    assert g["attn.gamma"].shape == ()
    assert {"fc.bias", "conv_img.weight", "theta.bias", "phi.weight"} <= {*corr, *g}


def test_gamma_is_the_first_half_of_the_heads(tmp_path, edge):
    edge["G"]["up_3.norm_1.mlp_gamma.bias"] = torch.full((2,), 5.0)
    edge["G"]["up_3.norm_1.mlp_beta.bias"] = torch.full((2,), 6.0)
    model = cocosnet.load_released(released_names.write(tmp_path, edge), "celebahq-edge")
    assert model.generator.blocks[6].norm_1.heads.bias.tolist() == [5, 5, 6, 6]


def test_provenance_and_condition_name_the_task(tmp_path, edge):
    model = cocosnet.load_released(
        released_names.write(tmp_path, edge, epoch="30"), "celebahq-edge", "30"
    )
    assert (model.condition.kind, model.condition.channels) == ("celebahq-edge", 15)
    assert model.provenance == {"source": "released", "task": "celebahq-edge", "epoch": "30"}


def test_loading_folds_unless_told(tmp_path, states):
    folder = released_names.write(tmp_path, states["deepfashion"])
    folded = cocosnet.load_released(folder, "deepfashion")
    kept = cocosnet.load_released(folder, "deepfashion", fold=False)
    assert not any("parametrizations" in key for key in folded.state_dict())
    assert any("parametrizations" in key for key in kept.state_dict())
    pair = masks(channels=20), photos()
    with torch.no_grad():
        assert gap(folded(*pair).warped, kept(*pair).warped) < 1e-4


def test_any_prefix_is_an_epoch(tmp_path, edge):
    for epoch in ("latest", "100", "my run.v2"):
        folder = released_names.write(tmp_path, edge, epoch)
        assert cocosnet.load_released(folder, "celebahq-edge", epoch).config.channels == 15


def test_a_released_model_survives_our_own_format(tmp_path, edge):
    model = cocosnet.load_released(released_names.write(tmp_path, edge), "celebahq-edge")
    cocosnet.save(model, tmp_path / "ours.safetensors")
    again = cocosnet.load(tmp_path / "ours.safetensors")
    assert again.config == model.config
    assert again.provenance == model.provenance
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())


def test_half_precision_files_are_computed_in_single(tmp_path, edge):
    half = {n: {k: v.half() for k, v in state.items()} for n, state in edge.items()}
    model = cocosnet.load_released(
        released_names.write(tmp_path, half), "celebahq-edge", fold=False
    )
    expected = tiny_model("celebahq-edge").state_dict()
    for key, value in model.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[key].half().float())


def test_the_format_before_zip_files_is_read(tmp_path, edge):
    for name, state in edge.items():
        path = tmp_path / f"latest_net_{name}.pth"
        torch.save(state, path, _use_new_zipfile_serialization=False)
        assert path.read_bytes()[:2] != b"PK"
    model = cocosnet.load_released(tmp_path, "celebahq-edge", fold=False)
    assert torch.equal(model.generator.start.weight, edge["G"]["fc.weight"])


# Discriminators


@pytest.mark.parametrize("decoder", [True, False])
def test_discriminators_without_their_unused_branch(tmp_path, decoder):
    net = critic(5)
    state = released_names.discriminator_state(net.state_dict(), decoder)
    released_names.write(tmp_path, {"D": state}, "9")
    again = cocosnet.load_discriminator(tmp_path, "9")
    assert (again.config.channels, again.config.width) == (5, 2)
    condition = masks(channels=5)
    with torch.no_grad():
        ours, theirs = net(photos(), condition), again(photos(), condition)
    assert all(torch.equal(a, b) for x, y in zip(ours, theirs, strict=True)
               for a, b in zip(x, y, strict=True))  # fmt: skip


def test_discriminators_are_read_strictly(tmp_path):
    state = released_names.discriminator_state(critic(5).state_dict())
    del state["discriminator_1.model2.0.0.weight_v"]
    state["discriminator_0.model9.0.bias"] = torch.zeros(1)
    released_names.write(tmp_path, {"D": state})
    with pytest.raises(WeightsError, match=r"1 missing.*discriminator_1.*1 unexpected.*model9"):
        cocosnet.load_discriminator(tmp_path)
    released_names.write(tmp_path, {"D": {"a": torch.zeros(1)}})
    with pytest.raises(WeightsError, match=r"model0\.0\.weight"):
        cocosnet.load_discriminator(tmp_path)
    with pytest.raises(WeightsError, match="7_net_D"):
        cocosnet.load_discriminator(tmp_path, "7")


# Strictness


def test_every_missing_unexpected_and_misshaped_key_is_listed(tmp_path, edge):
    del edge["G"]["conv_img.bias"]
    del edge["G"]["attn.theta.weight_u"]
    edge["G"]["ema.decay"] = torch.zeros(1)
    edge["G"]["up_9.conv_0.bias"] = torch.zeros(1)
    edge["G"]["fc.bias"] = torch.zeros(3)
    text = refused(released_names.write(tmp_path, edge))
    assert "latest_net_G.pth" in text
    assert "2 missing: attn.theta" in text
    assert "conv_img.bias" in text
    assert re.search(r"2 unexpected: .*ema\.decay", text)
    assert "up_9.conv_0.bias" in text
    assert "1 of another shape: fc.bias is (3,), expected (32,)" in text


@pytest.mark.parametrize("part", ["gamma", "beta"])
def test_half_a_pair_of_heads_is_missing(tmp_path, edge, part):
    del edge["G"][f"up_0.norm_0.mlp_{part}.weight"]
    text = refused(released_names.write(tmp_path, edge))
    assert f"1 missing: up_0.norm_0.mlp_{part}.weight" in text


def test_heads_of_unlike_shapes_are_named(tmp_path, edge):
    edge["Corr"]["adaptive_model_img.head_0.norm_0.mlp_gamma.bias"] = torch.zeros(3)
    text = refused(released_names.write(tmp_path, edge))
    assert "latest_net_Corr.pth" in text
    assert "head" in text


@pytest.mark.parametrize("net", ["Corr", "G"])
def test_no_key_can_be_left_out(tmp_path, edge, net):
    """A sample of them: one of each kind of name."""
    kinds = {re.sub(r"\d", "#", key): key for key in edge[net]}
    for key in list(kinds.values())[:: max(1, len(kinds) // 6)]:
        state = {k: v for k, v in edge[net].items() if k != key}
        refused(released_names.write(tmp_path, {**edge, net: state}))


@pytest.mark.parametrize("stored", TASKS)
@pytest.mark.parametrize("asked", TASKS)
def test_weights_of_another_task_are_refused_and_named(tmp_path, states, stored, asked):
    folder = released_names.write(tmp_path, states[stored])
    if stored == asked:
        assert cocosnet.load_released(folder, asked).condition.kind == asked
    else:
        text = refused(folder, asked)
        assert asked in text
        assert re.search(r"channels \d+|mask_mix|adaptor_kernel \d", text)


def test_a_generator_of_another_task_is_refused(tmp_path, states):
    mixed = {"Corr": states["celebahq-edge"]["Corr"], "G": states["celebahq-mask"]["G"]}
    text = refused(released_names.write(tmp_path, mixed))
    assert "latest_net_G.pth" in text
    assert "fc.weight is (32, 22, 3, 3), expected (32, 18, 3, 3)" in text


def test_networks_in_each_others_place_are_refused(tmp_path, edge):
    swapped = {"Corr": edge["G"], "G": edge["Corr"]}
    text = refused(released_names.write(tmp_path, swapped))
    assert "latest_net_Corr.pth" in text
    assert "adaptive_model_seg" in text


def test_unknown_tasks_are_a_value_error(tmp_path):
    with pytest.raises(ValueError, match=r"'cats'.*ade20k"):
        cocosnet.load_released(tmp_path, "cats")


def test_a_missing_file_says_what_the_folder_holds(tmp_path, edge):
    assert "no *_net_*.pth" in refused(tmp_path)
    released_names.write(tmp_path, edge, "30")
    (tmp_path / "notes.txt").touch()
    text = refused(tmp_path)
    assert "latest_net_Corr.pth" in text
    assert "30_net_Corr.pth, 30_net_G.pth" in text
    assert "notes" not in text
    (tmp_path / "30_net_G.pth").unlink()
    assert "30_net_G.pth: no such file" in refused(tmp_path, epoch="30")
    assert "no such file" in refused(tmp_path / "nowhere")


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_tensors_that_are_no_floats_are_refused(tmp_path, edge, dtype):
    edge["G"]["fc.bias"] = edge["G"]["fc.bias"].to(dtype)
    assert "fc.bias" in refused(released_names.write(tmp_path, edge))


@pytest.mark.parametrize(
    "key",
    [
        "adaptive_model_seg.layer1.0.weight_orig",
        "adaptive_model_seg.layer2.0.weight_orig",
        "adaptive_model_seg.head_0.norm_0.mlp_shared.1.weight",
        "layer.0.conv1.weight",
    ],
)
@pytest.mark.parametrize("shape", [(), (2,), (2, 15), (1, 1, 1, 1), (0, 15, 3, 3)], ids=str)
def test_sizes_that_cannot_be_read_are_refused(tmp_path, edge, key, shape):
    edge["Corr"][key] = torch.zeros(shape)
    assert "latest_net_Corr.pth" in refused(released_names.write(tmp_path, edge))


# Files that are no state dicts


class Trap:
    """Touches a file where it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.target,))


def plain_pickle(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value))


def legacy(value: object, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("writer", [torch.save, legacy, plain_pickle])
def test_a_pickle_that_runs_code_is_refused_and_nothing_runs(tmp_path, edge, writer):
    target = tmp_path / "ran"
    state = {**edge["Corr"], "trap": Trap(target)}
    released_names.write(tmp_path, edge)
    writer(state, tmp_path / "latest_net_Corr.pth")
    assert "without running anything" in refused(tmp_path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Trap(target)))
    assert target.exists()  # the trap is a real one


@pytest.mark.parametrize(
    "value",
    [5, None, "text", [torch.zeros(1)], torch.zeros(2), {"a": 1}, {"state_dict": {"a": 1}}],
    ids=str,
)
def test_what_is_no_mapping_of_tensors_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "latest_net_Corr.pth")
    torch.save({}, tmp_path / "latest_net_G.pth")
    assert "not a state dict" in refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b".", b"a", b"]a", b"PK\x03\x04", b"\x80\x02}.", b"\0"])
def test_bytes_that_are_no_pickle_are_refused(tmp_path, edge, content):
    released_names.write(tmp_path, edge)
    (tmp_path / "latest_net_Corr.pth").write_bytes(content)
    assert "latest_net_Corr.pth" in refused(tmp_path)


@pytest.mark.parametrize("writer", [torch.save, legacy])
def test_damaged_files_are_a_weights_error_or_still_fit(tmp_path, writer):
    path = tmp_path / "state.pth"
    writer({"a": torch.rand(3, 3), "b": torch.rand(2)}, path)
    content = path.read_bytes()
    generator = random.Random(0)
    for _ in range(300):
        damaged = bytearray(content[: generator.randrange(len(content) // 2, len(content))])
        for _ in range(generator.randint(0, 3)):
            damaged[generator.randrange(min(len(damaged), 600))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            cocosnet.released.read_state(path)
        except WeightsError as error:
            assert str(path) in str(error)


def test_the_attentions_gate_is_read(tmp_path):
    model = tiny_model("deepfashion")
    liven(model)
    folder = released_names.write(tmp_path, released_names.states(model))
    again = cocosnet.load_released(folder, "deepfashion")
    assert again.generator.attention.gamma.item() == pytest.approx(0.7)
