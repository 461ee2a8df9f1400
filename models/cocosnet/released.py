"""The authors' released files, read strictly into our networks.

Their checkpoints are pickled state dicts, one a network: `<epoch>_net_Corr.pth`,
`<epoch>_net_G.pth`, `<epoch>_net_D.pth`. They are read with `weights_only=True`, which builds
tensors and runs nothing. Sizes are read from the tensors' shapes.
"""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path

import torch
from torch import Tensor

from cocosnet import presets
from cocosnet.config import ConditionSchema, DiscriminatorConfig, ModelConfig
from cocosnet.discriminator import Discriminator
from cocosnet.layers import fold_spectral_norm
from cocosnet.model import CoCosNet
from cocosnet.weights import WeightsError, build, differences

State = dict[str, Tensor]

# Their name of a module -> ours, tried in this order.
_CORRESPONDENCE = (
    (r"^adaptive_model_seg\.", "input_adaptor."),
    (r"^adaptive_model_img\.", "exemplar_adaptor."),
    (r"\.layer(\d)\.0\.", lambda m: f".convs.{int(m[1]) - 1}."),
    (r"^layer\.(\d)\.", r"shared.blocks.\1."),
    (r"^(theta|phi)\.", r"shared.\1."),
    (r"\.head_0\.", ".blocks.0."),
    (r"\.G_middle_(\d)\.", lambda m: f".blocks.{int(m[1]) + 1}."),
)
_GENERATOR = (
    (r"^fc\.", "start."),
    (r"^conv_img\.", "out."),
    (r"^attn\.", "attention."),
    (r"^head_0\.", "blocks.0."),
    (r"^G_middle_(\d)\.", lambda m: f"blocks.{int(m[1]) + 1}."),
    (r"^up_(\d)\.", lambda m: f"blocks.{int(m[1]) + 3}."),
)
_DISCRIMINATOR = (
    (r"^discriminator_(\d)\.", r"scales.\1."),
    (r"\.attn\.", ".attention."),
    (r"\.model([04])\.0\.", r".convs.\1."),
    (r"\.model([123])\.0\.0\.", r".convs.\1."),
)
_INSIDE = (
    (r"\.mlp_shared\.1\.", ".trunk."),
    (r"\.conv_s\.", ".shortcut."),
    (r"\.weight_orig$", ".parametrizations.weight.original"),
    (r"\.weight_([uv])$", r".parametrizations.weight.0._\1"),
)
_HEADS = re.compile(r"\.mlp_(gamma|beta)\.")
_UNUSED = re.compile(r"^discriminator_\d\.dec\.")


def read_state(path: Path) -> State:
    """One released file as a dict of tensors; WeightsError for anything else, nothing is run."""
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*_net_*.pth"))
        found = f"the folder holds {', '.join(near[:8])}" if near else "no *_net_*.pth is there"
        raise WeightsError(f"{path}: no such file; {found}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        first = (str(error).splitlines() or ["empty"])[0]
        raise WeightsError(
            f"{path}: not a state dict of tensors, refused without running anything in it ({first})"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path}: not a state dict (a mapping of names to tensors)")
    return {str(key): value for key, value in state.items()}


def _ours(key: str, table: tuple) -> str:
    for pattern, name in (*table, *_INSIDE):
        key = re.sub(pattern, name, key)
    return key


def translate(state: State, table: tuple) -> State:
    """Their state dict with our names; gamma and beta heads become one convolution."""
    out: State = {}
    for key, value in state.items():
        if _UNUSED.search(key):
            continue
        head = _HEADS.search(key)
        if head is None:
            out[_ours(key, table)] = value
        elif head[1] == "gamma":
            other = key.replace("mlp_gamma", "mlp_beta")
            if other in state and state[other].shape == value.shape:
                merged = torch.cat([value, state[other]])
                out[_ours(_HEADS.sub(".heads.", key), table)] = merged
            else:
                out[key] = value
        elif key.replace("mlp_beta", "mlp_gamma") not in state:
            out[key] = value
    return out


def _require(state: State, key: str, path: Path) -> Tensor:
    if key not in state:
        raise WeightsError(f"{path}: {key} is missing, so this is not that released network")
    return state[key]


def infer_config(task: str, correspondence: State, path: Path) -> ModelConfig:
    """Sizes of a released model from its correspondence network's shapes.

    Raises WeightsError where the shapes contradict the task.
    """
    first = _require(correspondence, "adaptive_model_seg.layer1.0.weight_orig", path)
    second = _require(correspondence, "adaptive_model_seg.layer2.0.weight_orig", path)
    trunk = "adaptive_model_seg.head_0.norm_0.mlp_shared.1.weight"
    hidden = _require(correspondence, trunk, path)
    shared = _require(correspondence, "layer.0.conv1.weight", path)
    for name, tensor in (("layer1", first), ("layer2", second), ("layer", shared)):
        if tensor.ndim != 4:
            raise WeightsError(f"{path}: {name} has {tensor.ndim} axes, expected 4")
    width, channels = first.shape[:2]
    preset = presets.released(task)
    found = {
        "adaptor_kernel": second.shape[-1],
        "mask_mix": shared.shape[0] != 4 * width,
    }
    if task != "ade20k":
        found["channels"] = channels
    wrong = [
        f"{name} {value} (expected {getattr(preset, name)})"
        for name, value in found.items()
        if value != getattr(preset, name)
    ]
    if wrong:
        raise WeightsError(f"{path}: weights of another task than {task}: {', '.join(wrong)}")
    return presets.released(
        task, width=width, channels=channels, hidden=hidden.shape[0],
        **{k: v for k, v in found.items() if k != "channels"},
    )  # fmt: skip


def load_released(
    folder: str | os.PathLike[str],
    task: str,
    epoch: str = "latest",
    device: str | torch.device = "cpu",
    *,
    fold: bool = True,
) -> CoCosNet:
    """Read `<epoch>_net_Corr.pth` and `<epoch>_net_G.pth` of a folder; any prefix is an epoch.

    Strict: WeightsError lists every missing, unexpected and misshaped key. Computes the released
    code's numbers (to 1e-4 relative in fp32).
    """
    if task not in presets.TASKS:
        raise ValueError(f"unknown task {task!r}, expected one of {', '.join(presets.TASKS)}")
    paths = {name: Path(folder) / f"{epoch}_net_{name}.pth" for name in ("Corr", "G")}
    states = {name: read_state(path) for name, path in paths.items()}
    config = infer_config(task, states["Corr"], paths["Corr"])
    condition = ConditionSchema(kind=task, channels=config.channels)
    model = build(config, condition)
    _fill(model.correspondence, states["Corr"], _CORRESPONDENCE, paths["Corr"])
    _fill(model.generator, states["G"], _GENERATOR, paths["G"])
    model.provenance = {"source": "released", "task": task, "epoch": epoch}
    if fold:
        fold_spectral_norm(model)
    return model.to(device).eval()


def load_discriminator(
    folder: str | os.PathLike[str], epoch: str = "latest", device: str | torch.device = "cpu"
) -> Discriminator:
    """Read `<epoch>_net_D.pth`; its unused decoder branch is left out."""
    path = Path(folder) / f"{epoch}_net_D.pth"
    state = read_state(path)
    first = _require(state, "discriminator_0.model0.0.weight", path)
    config = DiscriminatorConfig(channels=first.shape[1] - 3, width=first.shape[0])
    with torch.device("meta"):
        model = Discriminator(config)
    _fill(model, state, _DISCRIMINATOR, path)
    return model.to(device).eval()


def _fill(module: torch.nn.Module, state: State, table: tuple, path: Path) -> None:
    found = translate(state, table)
    expected = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    if problems := differences(expected, {k: tuple(v.shape) for k, v in found.items()}):
        raise WeightsError(f"{path}: {problems}")
    filled = {k: v.float() if v.is_floating_point() else v for k, v in found.items()}
    module.load_state_dict(filled, assign=True)
