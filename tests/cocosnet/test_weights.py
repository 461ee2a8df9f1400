from __future__ import annotations

import dataclasses
import json
import os
import random
from pathlib import Path

import cocosnet
import pytest
import torch
from cocosnet import ConditionSchema, WeightsError, weights
from cocosnet.layers import fold_spectral_norm
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import CONFIGS, MIXED, PAPER, gap, masks, network, photos


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "model.safetensors"


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def rewrite(path: Path, tensors: dict | None = None, **changes: str) -> None:
    """Write a checkpoint again with other tensors or metadata."""
    save_file(tensors or load_file(path), path, metadata={**metadata(path), **changes})


def same_state(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(
        a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in a
    )


def translate(model: cocosnet.CoCosNet) -> torch.Tensor:
    with torch.no_grad():
        return model(masks(), photos(), masks(seed=1)).image


# Round trips


@pytest.mark.parametrize("name", CONFIGS)
def test_unfolded_weights_come_back_bit_for_bit(path, name):
    model = network(CONFIGS[name])
    cocosnet.save(model, path)
    again = cocosnet.load(path, fold=False)
    assert same_state(model.state_dict(), again.state_dict())
    assert again.config == model.config
    assert not again.training
    assert torch.equal(translate(model), translate(again))


@pytest.mark.parametrize("name", CONFIGS)
def test_folded_weights_come_back_bit_for_bit(path, name):
    model = network(CONFIGS[name])
    fold_spectral_norm(model)
    cocosnet.save(model, path)
    again = cocosnet.load(path)
    assert same_state(model.state_dict(), again.state_dict())
    assert torch.equal(translate(model), translate(again))


def test_loading_folds_unless_told(path):
    model = network()
    cocosnet.save(model, path)
    folded = cocosnet.load(path)
    assert weights.is_folded(folded)
    assert not weights.is_folded(cocosnet.load(path, fold=False))
    assert gap(translate(folded), translate(model)) < 1e-5


def test_condition_and_provenance_travel(path):
    schema = ConditionSchema(kind="labels", channels=3, classes=("a", "b", "ç"), size=128)
    model = cocosnet.CoCosNet(PAPER, schema)
    model.provenance = {"data": ["x"], "steps": 7, "note": 'äöü "quoted"'}
    cocosnet.save(model, path)
    again = cocosnet.load(path)
    assert again.condition == schema
    assert again.provenance == model.provenance


@pytest.mark.parametrize("folded", [False, True])
def test_half_precision_storage(path, folded):
    model = network(MIXED)
    if folded:
        fold_spectral_norm(model)
    cocosnet.save(model, path)
    full = path.stat().st_size
    cocosnet.save(model, path, dtype=torch.float16)
    assert path.stat().st_size < 0.7 * full
    assert cocosnet.read_header(path).dtype == "F16"
    again = cocosnet.load(path, fold=False)
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value.half().float())
    assert gap(translate(again), translate(model)) < 0.1


def test_counters_stay_whole_numbers_in_half_precision(path):
    cocosnet.save(network(), path, dtype=torch.float16)
    counters = [v for k, v in load_file(path).items() if k.endswith("num_batches_tracked")]
    assert len(counters) == 8
    assert {v.dtype for v in counters} == {torch.int64}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_dtype_to_load_into(path, dtype):
    model = network()
    cocosnet.save(model, path)
    loaded = cocosnet.load(path, dtype=dtype, fold=False).state_dict()
    for key, value in model.state_dict().items():
        expected = value.to(dtype) if value.is_floating_point() else value
        assert torch.equal(loaded[key], expected)


@pytest.mark.parametrize("config", [PAPER, MIXED], ids=["paper", "released"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_model_of_another_dtype_translates(path, config, dtype):
    cocosnet.save(network(config), path)
    model = cocosnet.load(path, dtype=dtype)
    with torch.no_grad():
        image = model(masks().to(dtype), photos().to(dtype), masks(seed=1).to(dtype)).image
    assert image.isfinite().all()
    assert gap(image.float(), translate(cocosnet.load(path))) < 0.5


@pytest.mark.parametrize("config", [PAPER, MIXED], ids=["paper", "released"])
def test_autocast_translates_in_half_precision(path, config):
    cocosnet.save(network(config), path)
    model = cocosnet.load(path)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image = translate(model)
    difference = (image.float() - translate(model)).abs()
    assert 0 < float(difference.mean()) < 0.1


def test_a_header_is_read_without_the_tensors(path):
    model = network(MIXED)
    model.provenance = {"steps": 3}
    cocosnet.save(model, path)
    header = cocosnet.read_header(path)
    assert (header.config, header.condition) == (model.config, model.condition)
    assert (header.provenance, header.folded, header.dtype) == ({"steps": 3}, False, "F32")
    assert header.shapes == {k: tuple(v.shape) for k, v in model.state_dict().items()}


def test_a_loaded_model_can_be_trained_on(path):
    cocosnet.save(network(), path)
    model = cocosnet.load(path, fold=False).train()
    out = model(masks(2), photos(2))
    (out.image.mean() + out.warped.square().mean()).backward()
    assert model.generator.code.grad.abs().sum() > 0
    assert model.correspondence.input_adaptor.convs[0].parametrizations.weight.original.grad.any()


def test_saving_over_a_file_replaces_it(path):
    for seed in (0, 1):
        cocosnet.save(network(seed=seed), path)
    assert same_state(network(seed=1).state_dict(), cocosnet.load(path, fold=False).state_dict())
    assert os.listdir(path.parent) == [path.name]


def test_a_file_gets_the_usual_permissions(path):
    mask = os.umask(0o027)
    try:
        cocosnet.save(network(), path)
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o640


# A save that fails


@pytest.fixture(params=["write", "interrupt", "fsync", "replace"])
def failure(request, monkeypatch) -> type[BaseException]:
    """Saving breaks at this step."""

    def half_a_file(tensors: dict, name: str, metadata: dict) -> None:
        Path(name).write_bytes(b"half")
        raise KeyboardInterrupt if request.param == "interrupt" else OSError("disk full")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    if request.param in ("write", "interrupt"):
        monkeypatch.setattr(weights, "save_file", half_a_file)
    else:
        monkeypatch.setattr(os, request.param, fail)
    return KeyboardInterrupt if request.param == "interrupt" else OSError


def test_a_failed_save_leaves_nothing_behind(path, failure):
    with pytest.raises(failure):
        cocosnet.save(network(), path)
    assert os.listdir(path.parent) == []


def test_a_failed_save_leaves_the_older_file(path, failure):
    path.write_bytes(b"older")
    with pytest.raises(failure):
        cocosnet.save(network(), path)
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == b"older"


def test_a_provenance_that_is_no_json_leaves_nothing_behind(path):
    model = network()
    model.provenance = {"when": object()}
    with pytest.raises(TypeError):
        cocosnet.save(model, path)
    assert os.listdir(path.parent) == []


# Strictness


def test_every_missing_unexpected_and_misshaped_tensor_is_listed(path):
    cocosnet.save(network(), path)
    tensors = load_file(path)
    missing = ["generator.code", "generator.out.bias", "correspondence.shared.project.bias"]
    for key in missing:
        del tensors[key]
    unexpected = ["generator.extra", "head.weight"]
    for key in unexpected:
        tensors[key] = torch.zeros(2)
    tensors["generator.start.bias"] = torch.zeros(7)
    tensors["generator.attention.gamma"] = torch.zeros(1)
    rewrite(path, tensors)
    with pytest.raises(WeightsError) as error:
        cocosnet.load(path)
    text = str(error.value)
    assert str(path) in text
    assert f"3 missing: {', '.join(sorted(missing))}" in text
    assert f"2 unexpected: {', '.join(unexpected)}" in text
    assert "2 of another shape" in text
    assert "generator.start.bias is (7,), expected (32,)" in text
    assert "generator.attention.gamma is (1,), expected ()" in text


def test_weights_of_another_width_or_form_are_refused(path):
    cocosnet.save(network(), path)
    for config in (dataclasses.replace(PAPER, width=4), MIXED):
        rewrite(path, config=json.dumps(config.to_dict()))
        with pytest.raises(WeightsError, match=r"correspondence\.shared"):
            cocosnet.load(path)


def test_a_header_that_lies_about_folding_is_refused(path):
    cocosnet.save(network(), path)
    rewrite(path, folded="true")
    with pytest.raises(WeightsError, match="missing"):
        cocosnet.load(path)


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.uint8])
def test_weights_that_are_no_floats_are_refused(path, dtype):
    cocosnet.save(network(), path)
    tensors = load_file(path)
    tensors["generator.start.bias"] = tensors["generator.start.bias"].to(dtype)
    rewrite(path, tensors)
    with pytest.raises(WeightsError, match=r"generator\.start\.bias"):
        cocosnet.load(path)


def test_differences_are_empty_where_all_agrees():
    assert weights.differences({"a": (1,)}, {"a": (1,)}) == ""


# Files that are no checkpoints


def refused(path: Path) -> str:
    """The message of the WeightsError that reading this file raises, header or all."""
    for read in (cocosnet.read_header, cocosnet.load):
        with pytest.raises(WeightsError) as error:
            read(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_missing_file(path):
    assert "no such" in refused(path)


def test_a_folder(tmp_path):
    refused(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"\0" * 8, b"\xff" * 64, b"PK\x03\x04" * 40, b"{}", b"\x02" + b"\0" * 7 + b"{}"],
    ids=["empty", "one byte", "no header", "huge header", "zip", "json", "no tensors"],
)
def test_files_of_something_else(path, content):
    path.write_bytes(content)
    refused(path)


def test_random_bytes(path):
    generator = random.Random(0)
    for size in (7, 8, 100, 5000):
        path.write_bytes(generator.randbytes(size))
        refused(path)


def test_truncated_files(path):
    cocosnet.save(network(), path)
    content = path.read_bytes()
    for kept in (4, 8, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        assert "truncated" in refused(path)


def test_safetensors_of_something_else(path):
    save_file({"a": torch.zeros(2)}, path)
    assert "not a cocosnet checkpoint" in refused(path)
    save_file({"a": torch.zeros(2)}, path, metadata={"format": "pt"})
    assert "'pt'" in refused(path)
    save_file({"a": torch.zeros(2)}, path, metadata={"format": weights.FORMAT})
    assert "damaged header" in refused(path)


def changed(key: str, **fields: object) -> tuple[str, str]:
    """Metadata with some fields of a JSON object replaced."""
    whole = {"config": PAPER.to_dict(), "condition": {"kind": "labels", "channels": 3}}[key]
    return key, json.dumps({**whole, **fields})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, "{") for key in ("config", "condition", "provenance", "folded")),
        *((key, "") for key in ("config", "condition", "provenance", "folded")),
        *((key, "7") for key in ("config", "condition", "provenance")),
        *((key, "null") for key in ("config", "condition", "provenance")),
        *((key, '["a"]') for key in ("config", "condition")),
        *((key, "[" * 100_000) for key in ("config", "provenance")),
        ("config", "{}"),
        ("condition", "{}"),
        changed("config", form="draft"),
        changed("config", width=-1),
        changed("config", width="2"),
        changed("config", width=None),
        changed("config", width=10**30),
        changed("config", temperature="hot"),
        changed("config", match_norm=[]),
        changed("config", layers=3),
        changed("condition", channels=4),
        changed("condition", classes=5),
        changed("condition", colour="red"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_damaged_headers(path, key, value):
    cocosnet.save(network(), path)
    rewrite(path, **{key: value})
    with pytest.raises(WeightsError):
        cocosnet.load(path)


def test_a_header_damaged_anywhere_is_a_weights_error_or_still_fits(path):
    cocosnet.save(network(), path)
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    generator = random.Random(0)
    refusals = 0
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(generator.randint(1, 3)):
            damaged[generator.randrange(header)] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            cocosnet.load(path, fold=False)
        except WeightsError:
            refusals += 1
    assert refusals > 40


# To train on


@pytest.mark.parametrize("name", CONFIGS)
def test_the_folded_state_is_what_folding_leaves(name):
    model = network(CONFIGS[name])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = weights.folded_state(model)
    assert same_state(before, model.state_dict())  # the model itself is not folded
    fold_spectral_norm(model)
    folded = model.state_dict()
    assert state.keys() == folded.keys()
    for key, value in folded.items():
        torch.testing.assert_close(state[key], value, rtol=1e-6, atol=0)


@pytest.mark.parametrize("folded", [False, True])
def test_weights_to_train_on_have_their_spectral_norm(path, folded):
    model = network(PAPER)
    expected = translate(model)
    if folded:
        fold_spectral_norm(model)
    cocosnet.save(model, path)
    again = weights.load_for_training(path)
    assert again.training and not weights.is_folded(again)
    assert gap(translate(again.eval()), expected) < (0.05 if folded else 1e-6)
    assert again.config == model.config and again.provenance == model.provenance
