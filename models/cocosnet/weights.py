"""Checkpoints: safetensors files that carry their own configuration. Nothing is ever unpickled.

The metadata hold `format`, `config` (ModelConfig), `condition` (ConditionSchema), `provenance`
(how the weights came to be) and whether spectral norm is folded in, as JSON.
"""

from __future__ import annotations

import errno
import json
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from cocosnet.config import ConditionSchema, ModelConfig
from cocosnet.layers import settle_spectral_norm
from cocosnet.model import CoCosNet

FORMAT = "cocosnet-1"


class WeightsError(ValueError):
    """A weights file cannot be used; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself, read without its tensors."""

    config: ModelConfig
    condition: ConditionSchema
    provenance: dict[str, Any]
    folded: bool
    shapes: dict[str, tuple[int, ...]]
    dtype: str
    """What its tensors are stored as, in safetensors' names."""
    whole: tuple[str, ...]
    """Weights that are stored as whole numbers: there should be none."""


def is_folded(model: nn.Module) -> bool:
    """Whether no spectral norm is left to be computed at each call."""
    return not any(parametrize.is_parametrized(m) for m in model.modules())


def save(model: CoCosNet, path: str | os.PathLike[str], dtype: torch.dtype | None = None) -> None:
    """Write a checkpoint; the file appears only whole. `dtype` (say float16) makes it smaller."""
    path = Path(path)
    tensors = {k: _plain(v, dtype) for k, v in model.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "config": json.dumps(model.config.to_dict()),
        "condition": json.dumps(model.condition.to_dict()),
        "provenance": json.dumps(model.provenance),
        "folded": json.dumps(is_folded(model)),
    }
    save_tensors(tensors, path, metadata)


def save_tensors(
    tensors: dict[str, Tensor], path: str | os.PathLike[str], metadata: dict[str, str]
) -> None:
    """Write a safetensors file that appears only whole; OSError where the storage fails."""
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        save_file(tensors, name, metadata=metadata)
        with open(name, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except SafetensorError as error:  # what its writer makes of a full disk
        os.unlink(name)
        raise OSError(errno.ENOSPC, _first_line(error)) from None
    except BaseException:
        os.unlink(name)
        raise


def _counts(key: str) -> bool:
    """Batch norm's counter is the one tensor of whole numbers."""
    return key.endswith("num_batches_tracked")


def _plain(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read what a checkpoint says of itself; WeightsError where it is none."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
            shapes = {key: tuple(s.get_shape()) for key, s in slices.items()}
            dtypes = {key: s.get_dtype() for key, s in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: not a readable safetensors file ({_first_line(error)}); it may be truncated, "
            "or released .pth files that `cocos weights import` turns into one"
        ) from None
    if metadata.get("format") != FORMAT:
        raise WeightsError(
            f"{path}: not a cocosnet checkpoint (format {metadata.get('format')!r}, "
            f"expected {FORMAT!r})"
        )
    try:
        return Header(
            config=ModelConfig.from_dict(json.loads(metadata["config"])),
            condition=ConditionSchema.from_dict(json.loads(metadata["condition"])),
            provenance=dict(json.loads(metadata["provenance"])),
            folded=bool(json.loads(metadata["folded"])),
            shapes=shapes,
            dtype=min(set(dtypes.values()) - {"I64"}, default="F32"),
            whole=tuple(k for k, d in dtypes.items() if "F" not in d and not _counts(k)),
        )
    except (KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise WeightsError(f"{path}: damaged header ({_first_line(error)})") from None


def load(
    path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    *,
    fold: bool = True,
) -> CoCosNet:
    """Read a checkpoint for inference: strict, in eval mode, spectral norm folded.

    `dtype` None computes in float32 whatever the file holds. `fold=False` keeps the norm's state,
    to train on. Raises WeightsError naming every missing, unexpected and misshaped tensor.
    """
    header = read_header(path)
    fold = fold and not header.folded
    try:
        model = build(header.config, header.condition, spectral=not (fold or header.folded))
    except (ValueError, RuntimeError, TypeError, OverflowError) as error:
        raise WeightsError(f"{path}: {_first_line(error)}") from None
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if problems := differences(expected, folded_shapes(header.shapes) if fold else header.shapes):
        raise WeightsError(f"{path}: {problems}")
    if header.whole:
        raise WeightsError(f"{path}: not of a floating-point type: {', '.join(header.whole)}")
    wanted = dtype or torch.float32
    with safe_open(path, framework="pt") as file:
        # Copies: tensors that share the file's mapping would keep all of it resident.
        tensors = {
            key: (_folded(file.get_tensor, key) if fold and key not in header.shapes
                  else file.get_tensor(key))
            for key in expected
        }  # fmt: skip
        tensors = {
            key: x.to(device, wanted if x.is_floating_point() else None, copy=True)
            for key, x in tensors.items()
        }
    model.load_state_dict(tensors, assign=True)
    model.provenance = header.provenance
    return (model if dtype is None else model.to_precision(dtype)).eval()


def build(
    config: ModelConfig, condition: ConditionSchema | None = None, *, spectral: bool = True
) -> CoCosNet:
    """A network on the meta device, to be filled with `load_state_dict(..., assign=True)`."""
    with torch.device("meta"):
        return CoCosNet(config, condition, spectral=spectral)


_ORIGINAL = ".parametrizations.weight.original"
_VECTORS = (".parametrizations.weight.0._u", ".parametrizations.weight.0._v")


def folded_shapes(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes that are left of a spectrally normalised state when the norm is folded."""
    out = {}
    for key, shape in shapes.items():
        base = key.removesuffix(_ORIGINAL)
        if base == key and not key.endswith(_VECTORS):
            out[key] = shape
        elif base != key:
            vectors = [shapes.get(base + name) for name in _VECTORS]
            fits = bool(shape) and vectors == [shape[:1], (math.prod(shape[1:]),)]
            out[f"{base}.weight" if fits else key] = shape
    return out


def _folded(tensor: Callable[[str], Tensor], key: str) -> Tensor:
    """W / sigma with sigma = u . (W v), as torch's spectral norm in evaluation."""
    base = key.removesuffix(".weight")
    weight = tensor(base + _ORIGINAL).float()
    u, v = (tensor(base + name).float() for name in _VECTORS)
    return weight / torch.dot(u, weight.flatten(1) @ v)


@torch.no_grad()
def folded_state(model: nn.Module) -> dict[str, Tensor]:
    """The state that the model has once its spectral norm is folded; the model stays as it is."""
    state = model.state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    return {
        key: state[key] if key in state else _folded(state.__getitem__, key)
        for key in folded_shapes(shapes)
    }


def load_for_training(path: str | os.PathLike[str]) -> CoCosNet:
    """Read a checkpoint to train on, with spectral norm: folded weights are normed afresh.

    Raises WeightsError.
    """
    model = load(path, fold=False)
    if is_folded(model):
        normed = CoCosNet(model.config, model.condition)
        restore_spectral_norm(normed, model.state_dict())
        normed.provenance = model.provenance
        model = normed
    return model.train()


def restore_spectral_norm(model: nn.Module, folded: dict[str, Tensor]) -> None:
    """Fill a spectrally normalised model with a folded state; the norm's vectors settle."""
    own = model.state_dict()
    for key, value in folded.items():
        name = key if key in own else key.removesuffix(".weight") + _ORIGINAL
        own[name].copy_(value)
    settle_spectral_norm(model)


def differences(expected: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> str:
    """Every missing, unexpected and misshaped key in words; empty where all agree."""
    missing = sorted(set(expected) - set(found))
    unexpected = sorted(set(found) - set(expected))
    shapes = [
        f"{key} is {found[key]}, expected {expected[key]}"
        for key in sorted(set(expected) & set(found))
        if expected[key] != found[key]
    ]
    parts = [
        f"{len(names)} {kind}: {', '.join(names)}"
        for kind, names in (
            ("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)
        )
        if names
    ]  # fmt: skip
    return "; ".join(parts)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
