"""The authors' released files, read strictly into our networks.

Their checkpoints are pickled state dicts, one a network: `<epoch>_net_Corr.pth`,
`<epoch>_net_G.pth`, `<epoch>_net_D.pth`. They are read with `weights_only=True`, which builds
tensors and runs nothing. Sizes are read from the tensors' shapes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
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

# Our name of a module -> theirs, one pattern after another.
Table = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
_CORRESPONDENCE: Table = (
    (r"^shared\.blocks\.(\d)\.", r"layer.\1."),
    (r"^shared\.(theta|phi)\.", r"\1."),
    (r"^input_adaptor\.", "adaptive_model_seg."),
    (r"^exemplar_adaptor\.", "adaptive_model_img."),
    (r"\.convs\.(\d)\.", lambda m: f".layer{int(m[1]) + 1}.0."),
    (r"\.blocks\.0\.", ".head_0."),
    (r"\.blocks\.(\d)\.", lambda m: f".G_middle_{int(m[1]) - 1}."),
)
_GENERATOR: Table = (
    (r"^start\.", "fc."),
    (r"^out\.", "conv_img."),
    (r"^attention\.", "attn."),
    (r"^blocks\.0\.", "head_0."),
    (r"^blocks\.([12])\.", lambda m: f"G_middle_{int(m[1]) - 1}."),
    (r"^blocks\.(\d)\.", lambda m: f"up_{int(m[1]) - 3}."),
)
_DISCRIMINATOR: Table = (
    (r"^scales\.(\d)\.", r"discriminator_\1."),
    (r"\.attention\.", ".attn."),
    (r"\.convs\.([04])\.", r".model\1.0."),
    (r"\.convs\.(\d)\.", r".model\1.0.0."),
)
_INSIDE: Table = (
    (r"\.trunk\.", ".mlp_shared.1."),
    (r"\.shortcut\.", ".conv_s."),
    (r"\.parametrizations\.weight\.original$", ".weight_orig"),
    (r"\.parametrizations\.weight\.0\._([uv])$", r".weight_\1"),
)
_HEADS = (".mlp_gamma.", ".mlp_beta.")
"""Two convolutions of theirs that are one of ours, in the order of its outputs."""
_UNUSED = re.compile(r"^discriminator_\d\.dec\.")


def read_state(path: Path) -> State:
    """One released file as a dict of tensors; WeightsError for anything else, nothing is run."""
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*_net_*.pth"))
        found = f"the folder holds {', '.join(near[:8])}" if near else "no *_net_*.pth is there"
        raise WeightsError(f"{path}: no such file; {found}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may end in any of them
        first = (str(error).splitlines() or ["empty"])[0]
        raise WeightsError(
            f"{path}: not a state dict of tensors, refused without running anything in it ({first})"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path}: not a state dict (a mapping of names to tensors)")
    return {str(key): value for key, value in state.items()}


def released_names(key: str, table: Table) -> tuple[str, ...]:
    """Our key -> theirs: one, or the two heads that ours joins along its first axis."""
    for pattern, name in (*table, *_INSIDE):
        key = re.sub(pattern, name, key)
    return tuple(key.replace(".heads.", head) for head in _HEADS) if ".heads." in key else (key,)


def _require(state: State, key: str, path: Path) -> Tensor:
    """A convolution that sizes are read from."""
    if key not in state:
        raise WeightsError(f"{path}: {key} is missing, so this is not that released network")
    if state[key].ndim != 4 or 0 in state[key].shape:
        shape = tuple(state[key].shape)
        raise WeightsError(f"{path}: {key} is of shape {shape}, expected four axes")
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


def _fill(module: torch.nn.Module, state: State, table: Table, path: Path) -> None:
    """Give a meta module the tensors of a released file; strict in the file's own names."""
    names = {key: released_names(key, table) for key in module.state_dict()}
    expected = {
        name: (shape[0] // len(parts), *shape[1:]) if shape else ()
        for (key, parts) in names.items()
        for name in parts
        if (shape := tuple(module.state_dict()[key].shape)) is not None
    }
    found = {key: tuple(v.shape) for key, v in state.items() if not _UNUSED.search(key)}
    if problems := differences(expected, found):
        raise WeightsError(f"{path}: {problems}")
    if whole := [name for name in expected if not state[name].is_floating_point()]:
        raise WeightsError(f"{path}: not of a floating-point type: {', '.join(whole)}")
    filled = {
        key: torch.cat([state[n] for n in parts]) if len(parts) > 1 else state[parts[0]]
        for key, parts in names.items()
    }
    module.load_state_dict({k: v.float() for k, v in filled.items()}, assign=True)
