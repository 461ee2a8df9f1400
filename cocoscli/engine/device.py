"""Where and in which precision the networks run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from cocoscli.errors import UsageError

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NARROW = 16
"""Networks of less width stay in fp32: they gain nothing, and norms over a few channels magnify
what is rounded."""


def resolve_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps` -> a device that is there. Raises UsageError."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"--device {name}: expected auto, cpu, cuda, cuda:N or mps.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: torch finds no CUDA device.", "Give --device cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UsageError(f"--device {name}: there are {count} CUDA devices, counted from 0.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: torch finds no Metal device.", "Give --device cpu.")
    return device


def check_precision(name: str, device: torch.device) -> None:
    """Raises UsageError for what cannot run."""
    if name not in PRECISIONS:
        raise UsageError(f"--precision {name}: expected one of {', '.join(PRECISIONS)}.")
    if name == "fp16" and device.type == "cpu":
        raise UsageError("--precision fp16: not on a CPU.", "Give --precision bf16 or fp32.")


def resolve_precision(name: str, device: torch.device, width: int) -> str:
    """`auto` is bf16 where the device computes it natively and a network of `width` gains by it.

    Raises UsageError for what cannot run.
    """
    check_precision(name, device)
    if name == "auto":
        return "bf16" if width >= NARROW and has_bf16(device) else "fp32"
    return name


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 itself: AVX-512 BF16 or AMX, or CUDA from Ampere on."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """The region in which networks are trained in this precision; matching stays in fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])


def default_batch_size(device: torch.device, width: int, height: int) -> int:
    """Images of 256x256 go one by one on a CPU, where more gain nothing, and by 8 elsewhere."""
    images = 65536 * (1 if device.type == "cpu" else 8) // (width * height)
    return max(1, min(32, images))
