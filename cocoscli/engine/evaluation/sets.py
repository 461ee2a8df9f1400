"""Figures of whole sets: the Frechet distance on a network's features, and SWD."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from cocosnet.features import Vgg
from torch import Tensor

from cocoscli.data.resizing import resize_bicubic
from cocoscli.engine.evaluation.inception import CHANNELS, Inception
from cocoscli.engine.evaluation.items import SET_SIZE
from cocoscli.engine.evaluation.store import FeatureStore, mark_of
from cocoscli.engine.manifest import digest
from cocoscli.engine.tensors import photo_tensor
from cocoscli.metrics.frechet import Moments, frechet_distance
from cocoscli.metrics.sliced import PatchSet, sliced_wasserstein

VGG_LAYER, VGG_CHANNELS = "relu5_2", 512
SWD_MOST = 4096
"""Pictures of a set whose patches are compared at most: 1.5 GB on disk a set."""


@dataclass(frozen=True)
class Extractor:
    """What whole images become before the Frechet distance."""

    figure: str
    """The name of the figure: only Inception's is FID."""
    channels: int
    features: Callable[[np.ndarray], Tensor]
    """(B,256,256,3) uint8 -> (B,channels)."""


def inception_extractor(inception: Inception, device: torch.device) -> Extractor:
    def features(images: np.ndarray) -> Tensor:
        return inception(torch.from_numpy(images).permute(0, 3, 1, 2).to(device))

    return Extractor("fid", CHANNELS, features)


def vgg_extractor(vgg: Vgg, device: torch.device) -> Extractor:
    """The mean of the last content layer."""

    def features(images: np.ndarray) -> Tensor:
        x = photo_tensor(torch.from_numpy(images), device)
        return vgg(x, (VGG_LAYER,))[VGG_LAYER].mean(dim=(2, 3))

    return Extractor("frechet_vgg", VGG_CHANNELS, features)


def remembering(extractor: Extractor, network: str, store: FeatureStore) -> Extractor:
    """The same, which computes nothing that is in the store."""

    def features(images: np.ndarray) -> Tensor:
        marks = [mark_of(network, extractor.figure, image) for image in images]
        found = store.recall(marks, lambda new: list(extractor.features(images[new]).cpu().numpy()))
        return torch.from_numpy(np.stack(found))

    return replace(extractor, features=features)


class ImageSet:
    """What is kept of a set of images; without an extractor their patches alone."""

    def __init__(self, extractor: Extractor | None, seed: int) -> None:
        self.extractor = extractor
        self.moments = Moments(extractor.channels if extractor else 0)
        self.patches = PatchSet(seed)
        self.count = 0

    @torch.inference_mode()
    def add(self, images: np.ndarray, sliced: Sequence[bool]) -> None:
        """Take images (B,H,W,3) uint8; `sliced` says of which SWD takes patches."""
        resized = np.stack([_at_set_size(image) for image in images])
        self.count += len(images)
        if self.extractor is not None:
            self.moments.add(self.extractor.features(resized))
        if any(sliced):
            self.patches.add(resized[np.asarray(sliced)])


def _at_set_size(image: np.ndarray) -> np.ndarray:
    same = (image.shape[1], image.shape[0]) == SET_SIZE
    return image if same else resize_bicubic(image, SET_SIZE)


def chosen(names: Sequence[str], count: int, seed: int) -> set[int]:
    """The numbers of `count` names, drawn by the seed and independent of their order."""
    marks = sorted((digest(f"{seed}/{name}"), i) for i, name in enumerate(names))
    return {i for _, i in marks[:count]}


def compare_sets(results: ImageSet, real: ImageSet) -> dict[str, float | list[float]]:
    """The figures of a set of results against the real photos; those that can be had."""
    found: dict[str, float | list[float]] = {}
    if results.extractor is not None and min(results.count, real.count) > 1:
        distance = frechet_distance(results.moments, real.moments)
        found[results.extractor.figure] = distance
    if min(results.patches.count, real.patches.count):
        levels = sliced_wasserstein(results.patches, real.patches)
        found |= {"swd": sum(levels) / len(levels), "swd_levels": levels}
    return found
