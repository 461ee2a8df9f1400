"""Which VGG compares images, and what a run's record says of it: `--features auto|FILE`.

`auto` is torchvision's VGG-19, cached or downloaded. Where neither is possible, losses take the
same network with seeded random weights, and say so; retrieval does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cocosnet import WeightsError
from cocosnet.features import Vgg, load_features, load_torchvision, random_features
from cocosnet.rescaling import Rescaled, rescaled
from PIL import Image
from torch import Tensor

from cocoscli.engine.models import file_sha256
from cocoscli.errors import CocosError

AUTO = "auto"
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
"""Of scikit-image, and in it: what other networks' features are brought to scale on."""
PHOTO_SIZE = 256


@dataclass(frozen=True)
class Features:
    """A feature network that is ready to run."""

    module: Vgg
    name: str
    sha256: str = ""
    """Of its file; of nothing where it has none."""
    warning: str = ""
    """What the user must be told."""

    @property
    def identity(self) -> str:
        """What no other network has: its file's hash, or the name of what has no file."""
        return self.sha256 or self.name


@dataclass(frozen=True)
class LossFeatures:
    """A feature network on the scale that the losses' weights are for."""

    module: Rescaled
    name: str
    sha256: str
    warning: str

    def record(self) -> dict[str, Any]:
        """What checkpoints say of it."""
        return {"name": self.name, "sha256": self.sha256, "scales": dict(self.module.scales)}


def trained_features(spec: str | Path | None, device: torch.device) -> Features:
    """The weights of a file (`spec`), or torchvision's (None, `auto`). Raises CocosError."""
    automatic = spec is None or str(spec) == AUTO
    try:
        vgg = load_torchvision() if automatic else load_features(str(spec))
    except (OSError, WeightsError) as error:
        raise CocosError(
            f"no VGG features: {error}.",
            "Give VGG-19 or VGG-16 weights with --features FILE, Caffe's or torchvision's.",
        ) from None
    sha256 = "" if automatic else file_sha256(Path(str(spec)))
    return Features(vgg.to(device), vgg.name, sha256)


def resolve_features(spec: str | Path | None, device: torch.device) -> Features:
    """As `trained_features`, but `auto` falls back on random weights, with a warning."""
    try:
        return trained_features(spec, device)
    except CocosError as error:
        if spec is not None and str(spec) != AUTO:
            raise
        vgg = random_features()
        warning = (
            f"{error.message} RANDOM weights compare images instead ({vgg.name}): results will be "
            f"worse than with trained ones. {error.hint}"
        )
        return Features(vgg.to(device), vgg.name, warning=warning)


def loss_features(spec: str | Path | None, device: torch.device) -> LossFeatures:
    """`resolve_features`, brought to the losses' scale. Raises CocosError."""
    found = resolve_features(spec, device)
    try:
        module = rescaled(found.module, natural_photos().to(device))
    except ValueError as error:
        raise CocosError(f"{error}.", "Give other weights with --features FILE.") from None
    return LossFeatures(module, found.name, found.sha256, found.warning)


def natural_photos() -> Tensor:
    """(4,3,256,256), -1..1: the middle squares of the PHOTOS."""
    from skimage import data

    squares = [_square(Image.fromarray(getattr(data, name)())) for name in PHOTOS]
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2) / 127.5 - 1


def _square(photo: Image.Image) -> np.ndarray:
    side = min(photo.size)
    left, top = ((n - side) // 2 for n in photo.size)
    size, box = (PHOTO_SIZE, PHOTO_SIZE), (left, top, left + side, top + side)
    return np.asarray(photo.resize(size, Image.Resampling.BICUBIC, box=box))
