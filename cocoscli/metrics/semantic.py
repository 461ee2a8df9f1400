"""Semantic consistency and style relevance: features of two images compared class by class.

images -> VGG features -> the mean feature of each class -> a cosine a class -> one number a pair.
Class means, area weights and "the real photo of the input" are those of the authors' evaluation
scripts; the paper (section 4) names VGG, the cosine and the layers. Not a cosine a pixel.

Letters: B batch, K classes, C channels, H W image, h w feature map, n = h*w.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from cocosnet.features import Vgg
from torch import Tensor
from torch.nn import functional as F

CONTENT = ("relu3_2", "relu4_2", "relu5_2")
"""The layers of semantic consistency."""
COLOUR, TEXTURE = "relu1_2", "relu2_2"
"""The layers of style relevance."""
LAYERS = (COLOUR, TEXTURE, *CONTENT)
WIDTHS = (64, 128, 256, 512, 512)
"""Their channels."""
BACKGROUND = 0


def class_areas(labels: Tensor, classes: int) -> Tensor:
    """Label maps (B,H,W) of integers -> (B,K) pixels of each class; ids from K up count nowhere."""
    return torch.stack([_occurrences(ids.long(), classes) for ids in labels])


def class_means(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The mean feature of each class: (B,C,h,w) over label maps (B,H,W) -> (B,K,C).

    Features are upsampled to the label map (nearest), which is not built: a class's mean is that
    of the cells, weighted by how many of its pixels each covers. 0 where a class is absent. A
    sample's result is the same in every batch.
    """
    cell = _nearest_cells(features.shape[-2:], labels.shape[-2:], labels.device)
    cells = features.shape[-2] * features.shape[-1]
    means = []
    for values, ids in zip(features, labels.long(), strict=True):
        # Ids from K up fall behind the last counter that is kept.
        counts = _occurrences(ids * cells + cell, classes * cells).view(classes, cells)
        area = counts.sum(dim=1, keepdim=True).clamp_min(1)
        means.append((counts / area).to(values.dtype) @ values.flatten(1).t())
    return torch.stack(means)


def _occurrences(numbers: Tensor, count: int) -> Tensor:
    """How often each of 0..count-1 occurs."""
    return torch.bincount(numbers.flatten(), minlength=count)[:count]


def _nearest_cells(grid: torch.Size, size: torch.Size, device: torch.device) -> Tensor:
    """(H,W): the flat index of the cell of an (h,w) grid that nearest upsampling shows there."""
    rows, columns = (
        torch.arange(full, device=device) * cells // full
        for full, cells in zip(size, grid, strict=True)
    )
    return rows[:, None] * grid[1] + columns


@dataclass(frozen=True)
class ClassFeatures:
    """What the figures need of a batch of images: each class's area and mean features."""

    areas: Tensor
    """(B,K) pixels."""
    means: dict[str, Tensor]
    """(B,K,C) by layer."""

    @staticmethod
    def of(features: Mapping[str, Tensor], labels: Tensor, classes: int) -> ClassFeatures:
        """From a network's activations (B,C,h,w) by layer and label maps (B,H,W)."""
        means = {name: class_means(x, labels, classes) for name, x in features.items()}
        return ClassFeatures(class_areas(labels, classes), means)

    def pack(self, b: int) -> np.ndarray:
        """The means of image b, layer after layer, of the k classes that it has: (k,1472)."""
        there = self.areas[b] > 0
        return torch.cat([self.means[name][b, there] for name in LAYERS], dim=1).cpu().numpy()

    @staticmethod
    def unpack(packed: Sequence[np.ndarray], labels: Tensor, classes: int) -> ClassFeatures:
        """From what `pack` made of images, flat, with their label maps (B,H,W)."""
        areas = class_areas(labels, classes)
        means = torch.zeros(len(packed), classes, sum(WIDTHS))
        for rows, known, values in zip(means, areas.cpu() > 0, packed, strict=True):
            rows[known] = torch.from_numpy(values).view(-1, sum(WIDTHS))
        layers = means.to(labels.device).split(WIDTHS, dim=2)
        return ClassFeatures(areas, dict(zip(LAYERS, layers, strict=True)))


def describe(vgg: Vgg, image: Tensor, labels: Tensor, classes: int) -> ClassFeatures:
    """Images (B,3,H,W), -1..1, and label maps (B,H,W) -> their class means in `LAYERS`."""
    return ClassFeatures.of(vgg(image, LAYERS), labels, classes)


def semantic_consistency(output: ClassFeatures, photo: ClassFeatures) -> Tensor:
    """Table 2: outputs with the real photos of their inputs, both over the input's map -> (B,).

    0..1, higher is better: each class's cosine weighted by its area, the mean over the `CONTENT`
    layers. NaN where the map has no class at all.
    """
    return _weighted(content_cosines(output, photo), output.areas)


@dataclass(frozen=True)
class StyleRelevance:
    """0..1, higher is nearer; NaN where output and exemplar share no class."""

    colour: Tensor
    """(B,)"""
    texture: Tensor
    """(B,)"""


def style_relevance(output: ClassFeatures, exemplar: ClassFeatures) -> StyleRelevance:
    """Table 3: outputs over their inputs' maps with exemplars over their own.

    The classes above background that both maps have, weighted by area in the output's.
    """
    shared = shared_areas(output, exemplar)
    colour, texture = (class_cosines(output, exemplar, layer) for layer in (COLOUR, TEXTURE))
    return StyleRelevance(_weighted(colour, shared), _weighted(texture, shared))


def shared_areas(output: ClassFeatures, exemplar: ClassFeatures) -> Tensor:
    """(B,K): the output's areas of the classes above background that both maps have, else 0."""
    shared = torch.where(exemplar.areas > 0, output.areas, 0)
    shared[:, BACKGROUND] = 0
    return shared


def class_cosines(one: ClassFeatures, other: ClassFeatures, layer: str) -> Tensor:
    """(B,K): the cosine of the two mean features of each class; 0 where one lacks it."""
    return F.cosine_similarity(one.means[layer], other.means[layer], dim=2)


def content_cosines(one: ClassFeatures, other: ClassFeatures) -> Tensor:
    """(B,K): the mean of `class_cosines` over the `CONTENT` layers."""
    return torch.stack([class_cosines(one, other, layer) for layer in CONTENT]).mean(dim=0)


def _weighted(cosines: Tensor, areas: Tensor) -> Tensor:
    """The mean over classes of (B,K) cosines by areas (B,K) -> (B,)."""
    return (cosines * areas).sum(dim=1) / areas.sum(dim=1)
