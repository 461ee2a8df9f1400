"""The Inception network of FID: torch-fidelity's, with weights from a file or downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from cocosnet import WeightsError
from cocosnet.features import await_answer
from cocosnet.released import read_state
from torch import Tensor

from cocoscli.data.wording import one_line, shown
from cocoscli.engine.models import file_sha256
from cocoscli.errors import CocosError

CHANNELS = 2048
PATIENCE = 20.0
"""Seconds to wait for an answer."""


@dataclass(frozen=True)
class Inception:
    """Pool features, 2048 an image."""

    module: Any
    name: str
    sha256: str

    def __call__(self, images: Tensor) -> Tensor:
        """(B,3,H,W) uint8 -> (B,2048); resized to 299 as TensorFlow 1 does."""
        (features,) = self.module(images)
        return features


def load_inception(weights: Path | None, device: torch.device) -> Inception:
    """torch-fidelity's network, its weights from a file or (None) its cache or downloaded.

    Raises CocosError where the package or the weights cannot be had.
    """
    try:
        from torch_fidelity import feature_extractor_inceptionv3 as fidelity
    except ImportError as error:
        raise CocosError(
            f"no FID: torch-fidelity is not installed ({one_line(error)}).",
            "Install it with `pip install torch-fidelity`.",
        ) from None
    if weights is not None and not weights.is_file():
        raise CocosError(f"no FID: --inception {shown(weights)}: no such file.", "Give a file.")
    path = weights or downloaded(fidelity.URL_INCEPTION_V3)
    try:
        read_state(path)  # which refuses pickles that hold more than tensors
        module = fidelity.FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path)
        )
    except (OSError, RuntimeError, WeightsError) as error:
        raise CocosError(
            f"no FID: {shown(path)}: not the weights of torch-fidelity's Inception "
            f"({one_line(error)}).",
            "Give weights-inception-2015-12-05-6726825d.pth with --inception FILE.",
        ) from None
    return Inception(module.to(device), "torch-fidelity inception-v3-compat", file_sha256(path))


def kept_at(url: str) -> Path:
    """Where torch keeps the weights of an address."""
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name


def downloaded(url: str) -> Path:
    """Where torch keeps the weights, downloaded if they are not there yet. Raises CocosError."""
    path = kept_at(url)
    if path.is_file():
        return path
    try:
        await_answer(url, PATIENCE)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), "6726825d", progress=False)
    except (OSError, HTTPException, RuntimeError, UnpicklingError) as error:
        raise CocosError(
            f"no FID: Inception's weights cannot be downloaded ({one_line(error)}).",
            f"Give the file of {url} with --inception FILE.",
        ) from None
    return path
