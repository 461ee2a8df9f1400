"""Networks compiled by torch (`--compile`), where a compiler is there."""

from __future__ import annotations

import os

import cocosnet
import torch

from cocoscli.data.storage import user_cache

CACHE = "TORCHINDUCTOR_CACHE_DIR"
"""Where torch is told to keep what it compiles, for the runs after."""


def compiler_fault(device: torch.device) -> str | None:
    """Why nothing can be compiled for a device, in a line; None where it can.

    Compiles something tiny, to be sure; kept, so that a second run finds it.
    """
    os.environ.setdefault(CACHE, str(user_cache("compiled")))
    try:
        torch.compile(_tiny)(torch.zeros(8, device=device))
    except Exception as error:  # whatever a toolchain that is not there or not whole may raise
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None


def _tiny(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1


def wanted(asked: bool, device: torch.device, defaults: list[tuple[str, str, str]]) -> bool:
    """Whether to compile, as asked for; where it cannot be, that is added to `defaults`."""
    fault = compiler_fault(device) if asked else None
    if fault:
        defaults.append(("networks", f"not compiled: {fault}", "--compile"))
    return asked and fault is None


def compile_network(model: cocosnet.CoCosNet) -> None:
    """Have a network's parts compiled when each is first run at a size; matching is not."""
    correspondence = model.correspondence
    parts = [
        correspondence.input_adaptor, correspondence.exemplar_adaptor,
        correspondence.shared.blocks, model.generator,
    ]  # fmt: skip
    for part in parts:
        part.compile()
