"""VGG-16 and VGG-19 as feature extractors (phi of Eq. 8, 10 and 11; the paper's are VGG-19).

Weights come from torchvision, from Caffe-convention files (`conv1_1.weight` ...: what the released
code was trained with), or from a seed. The two conventions expect different inputs and give
features of different scale; `Vgg` takes images in -1..1 and prepares them.
"""

from __future__ import annotations

import os
import queue
import re
import socket
import sys
from contextlib import redirect_stdout
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from threading import Thread
from typing import Literal
from urllib.request import Request, urlopen

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from cocosnet.weights import WeightsError, differences

Convention = Literal["caffe", "torchvision"]
DEPTHS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_WIDTHS = (64, 128, 256, 512, 512)
_INPUTS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # mean and deviation of the image in 0..1, in the network's channel order
    "caffe": ((103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255, 1 / 255, 1 / 255)),
    "torchvision": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def layer_names(depth: int) -> list[str]:
    """`relu1_1` ... in the order of computation."""
    return [f"relu{b}_{i}" for b, n in enumerate(DEPTHS[depth], 1) for i in range(1, n + 1)]


class Vgg(nn.Module):
    """The convolutions of VGG-16 or VGG-19, frozen; `name` says which weights they carry."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, depth: int = 19, convention: Convention = "caffe", name: str = "") -> None:
        super().__init__()
        self.depth, self.convention, self.name = depth, convention, name
        fin = 3
        for block, (count, width) in enumerate(zip(DEPTHS[depth], _WIDTHS, strict=True), 1):
            for i in range(1, count + 1):
                self.add_module(f"conv{block}_{i}", nn.Conv2d(fin, width, 3, padding=1))
                fin = width
        for key, values in zip(("mean", "deviation"), _INPUTS[convention], strict=True):
            self.register_buffer(key, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """image (B,3,H,W), RGB, -1..1 -> the named activations, e.g. `relu4_2`.

        Raises ValueError for a layer that this depth lacks.
        """
        if unknown := set(layers) - set(layer_names(self.depth)):
            raise ValueError(f"VGG-{self.depth} has no {', '.join(sorted(unknown))}")
        x = (image + 1) / 2
        if self.convention == "caffe":
            x = x.flip(1)
        x = (x - self.mean) / self.deviation
        found: dict[str, Tensor] = {}
        for name in layer_names(self.depth):
            if name.endswith("_1") and name != "relu1_1":
                x = F.max_pool2d(x, 2)
            x = F.relu(self.get_submodule(name.replace("relu", "conv"))(x))
            if name in layers:
                found[name] = x
                if len(found) == len(set(layers)):
                    break
        return found


def load_features(path: str | os.PathLike[str]) -> Vgg:
    """Caffe-convention weights (`conv1_1.weight` ...) or torchvision's (`features.0.weight` ...).

    A .safetensors or .pth file; depth and convention are read from its keys. Fully connected
    layers are left out. Raises WeightsError.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    if path.suffix == ".safetensors":
        try:
            state = load_file(path)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path}: not a readable safetensors file ({error})") from None
    else:
        from cocosnet.released import read_state

        state = read_state(path)
    return _from_state(state, str(path))


def load_torchvision(depth: int = 19, patience: float = 20.0) -> Vgg:
    """torchvision's ImageNet weights, from its cache or downloaded.

    Raises OSError where neither works, after at most about `patience` seconds without an answer.
    """
    from torchvision.models import get_model_weights

    weights = get_model_weights(f"vgg{depth}").DEFAULT
    if not (Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name).is_file():
        await_answer(weights.url, patience)
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(patience)
    try:
        with redirect_stdout(sys.stderr):  # what torch says of the download is no data
            state = weights.get_state_dict(progress=False, check_hash=True)
    except (HTTPException, RuntimeError, EOFError, UnpicklingError) as error:
        raise OSError(f"torchvision vgg{depth}: {error}") from None
    finally:
        socket.setdefaulttimeout(before)
    return _from_state(state, f"torchvision vgg{depth}")


def await_answer(url: str, patience: float) -> None:
    """OSError unless a server answers in time: time-outs of sockets alone add up over addresses."""
    answers: queue.Queue[Exception | None] = queue.Queue()

    def ask() -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=patience).close()
            answers.put(None)
        except Exception as error:
            answers.put(error)

    Thread(target=ask, daemon=True).start()
    try:
        error = answers.get(timeout=patience)
    except queue.Empty:
        raise TimeoutError(f"{url}: no answer within {patience:g} s") from None
    if error is not None:
        raise OSError(f"{url}: {getattr(error, 'reason', error)}")


def random_features(depth: int = 19, seed: int = 0) -> Vgg:
    """Seeded random weights (Kaiming), for machines without any others; say so to the user."""
    vgg = Vgg(depth, "torchvision", name=f"random vgg{depth}, seed {seed}")
    generator = torch.Generator().manual_seed(seed)
    for conv in vgg.children():
        nn.init.kaiming_normal_(conv.weight, generator=generator)  # type: ignore[arg-type]
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return vgg


def _from_state(state: dict[str, Tensor], name: str) -> Vgg:
    convs = {k: v.float() for k, v in state.items() if re.fullmatch(r"conv\d_\d\.\w+", k)}
    convention: Convention = "caffe" if convs else "torchvision"
    if not convs:
        numbered = [k for k in state if re.fullmatch(r"features\.\d+\.weight", k)]
        order = sorted(int(k.split(".")[1]) for k in numbered)
        depth = 19 if len(order) == 16 else 16
        for index, relu in zip(order, layer_names(depth), strict=False):
            for part in ("weight", "bias"):
                if f"features.{index}.{part}" in state:
                    tensor = state[f"features.{index}.{part}"].float()
                    convs[f"{relu.replace('relu', 'conv')}.{part}"] = tensor
    depth = 19 if "conv3_4.weight" in convs else 16
    vgg = Vgg(depth, convention, name)
    expected = {k: tuple(v.shape) for k, v in vgg.state_dict().items()}
    if problems := differences(expected, {k: tuple(v.shape) for k, v in convs.items()}):
        raise WeightsError(f"{name}: not the weights of a VGG-16 or VGG-19: {problems}")
    vgg.load_state_dict(convs)
    return vgg
