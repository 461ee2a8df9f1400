"""How much the results of one input differ under several exemplars: LPIPS, or a VGG distance."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pickle import UnpicklingError
from typing import Any, NamedTuple

import numpy as np
import torch
from cocosnet.features import await_answer
from torch import Tensor
from torchvision.models import VGG16_Weights

from cocoscli.data.wording import one_line
from cocoscli.engine.evaluation.inception import PATIENCE, kept_at
from cocoscli.errors import CocosError
from cocoscli.metrics.fidelity import feature_distance

DIVERSE = 5
"""Results of one input that are compared with each other at most."""


@dataclass(frozen=True)
class Lpips:
    """torch-fidelity's LPIPS, on VGG-16 with its learned weights."""

    module: Any
    device: torch.device

    def __call__(self, one: Tensor, other: Tensor) -> float:
        """The distance of images (1,3,H,W), uint8."""
        return float(self.module(one.to(self.device), other.to(self.device)))


def load_lpips(device: torch.device) -> Lpips:
    """The network, its weights and VGG-16's from torch's cache or downloaded. CocosError where
    the package or the weights cannot be had."""
    try:
        from torch_fidelity import sample_similarity_lpips as fidelity
    except ImportError as error:
        raise CocosError(
            f"no LPIPS: torch-fidelity is not installed ({one_line(error)}).",
            "Install it with `pip install torch-fidelity`.",
        ) from None
    urls = (fidelity.URL_VGG16_LPIPS, VGG16_Weights.IMAGENET1K_V1.url)
    try:
        for url in urls:
            if not kept_at(url).is_file():
                await_answer(url, PATIENCE)
        module = fidelity.SampleSimilarityLPIPS("lpips-vgg16", sample_similarity_dtype="uint8")
    except (OSError, HTTPException, RuntimeError, UnpicklingError) as error:
        raise CocosError(
            f"no LPIPS: its weights cannot be had ({one_line(error)}).",
            f"Put the files of {urls[0]} and {urls[1]} into torch's folder for checkpoints.",
        ) from None
    return Lpips(module.to(device), device)


class Kept(NamedTuple):
    """A result that others are compared with."""

    image: Tensor
    """(1,3,H,W), uint8."""
    activations: Mapping[str, Tensor]
    """(1,C,h,w) by layer."""


class Diversity:
    """Distances between results of one input, which come in the same batch or in the next."""

    def __init__(self, inputs: list[str], lpips: Lpips | None = None) -> None:
        """`inputs` are those of all pairs, by number, sorted; without LPIPS distances are VGG's."""
        self.inputs, self.lpips = inputs, lpips
        self.wanted = any(a == b for a, b in itertools.pairwise(inputs))
        """Whether any input has several results."""
        self.distances: dict[str, list[float]] = defaultdict(list)
        self._kept: dict[str, list[Kept]] = {}

    @property
    def name(self) -> str:
        """Of the figure: only LPIPS is called so."""
        return "lpips" if self.lpips else "diversity"

    def forget(self, numbers: list[int]) -> None:
        """Keep only what is of the inputs of these pairs, which come next."""
        coming = {self.inputs[k] for k in numbers}
        self._kept = {name: kept for name, kept in self._kept.items() if name in coming}

    def add(
        self, numbers: list[int], images: np.ndarray, activations: Mapping[str, Tensor]
    ) -> None:
        """Take some results (B,H,W,3) uint8 with their activations (B,C,h,w) by layer."""
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
        for b, k in enumerate(numbers):
            name = self.inputs[k]
            kept = self._kept.setdefault(name, [])
            if len(kept) == DIVERSE:
                continue
            own = Kept(pixels[b : b + 1], {n: x[b : b + 1] for n, x in activations.items()})
            self.distances[name] += [self._between(own, before) for before in kept]
            kept.append(own)

    def _between(self, one: Kept, other: Kept) -> float:
        if self.lpips is not None:
            return self.lpips(one.image, other.image)
        return float(feature_distance(one.activations, other.activations))

    def figure(self, k: int) -> float:
        """The mean distance between the results of pair k's input; NaN where it has one."""
        found = self.distances.get(self.inputs[k])
        return sum(found) / len(found) if found else float("nan")
