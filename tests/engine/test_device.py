from __future__ import annotations

import pytest
import torch

from cocoscli.engine import device, tensors
from cocoscli.errors import UsageError

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("capabilities", "native"),
    [
        ({"avx512_bf16": True}, True), ({"amx_bf16": True, "avx512_bf16": False}, True),
        ({"avx512_f": True, "amx_bf16": False}, False), ({}, False),
    ],
)  # fmt: skip
def test_auto_is_bf16_where_a_cpu_multiplies_it(capabilities, native, monkeypatch):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: capabilities, raising=False)
    assert device.resolve_precision("auto", CPU, 64) == ("bf16" if native else "fp32")
    assert device.resolve_precision("auto", CPU, 4) == "fp32"
    assert device.resolve_precision("fp32", CPU, 64) == "fp32"
    assert device.resolve_precision("bf16", CPU, 4) == "bf16"


def test_an_older_torch_says_nothing_of_a_cpu(monkeypatch):
    monkeypatch.delattr("torch.cpu.get_capabilities", raising=False)
    assert device.resolve_precision("auto", CPU, 64) == "fp32"


@pytest.mark.parametrize(("capability", "precision"), [((8, 0), "bf16"), ((7, 5), "fp32")])
def test_auto_is_bf16_on_cuda_from_ampere_on(capability, precision, monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _: capability)
    assert device.resolve_precision("auto", GPU, 64) == precision


def test_auto_stays_in_fp32_elsewhere():
    assert device.resolve_precision("auto", torch.device("mps"), 64) == "fp32"


@pytest.mark.parametrize("name", ["fp16", "half"])
def test_what_cannot_run_is_said(name):
    with pytest.raises(UsageError, match=f"--precision {name}"):
        device.resolve_precision(name, CPU, 64)


class Fake:
    """A tensor that says what is done with it."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def pin_memory(self) -> Fake:
        self.done.append("pinned")
        return self

    def to(self, device: torch.device, *, non_blocking: bool) -> Fake:
        self.done.append((device.type, non_blocking))
        return self


@pytest.mark.parametrize(
    ("to", "done"), [(GPU, ["pinned", ("cuda", True)]), (CPU, [("cpu", True)])]
)
def test_what_goes_to_cuda_is_pinned_and_nobody_waits(to, done):
    assert tensors.to_device(Fake(), to).done == done  # type: ignore[arg-type]
