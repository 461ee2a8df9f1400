"""What any quality figure stands beside: pictures of the same pairs that no network drew.

The plainest of them, the exemplar unmoved, needs no function: it is the exemplar, and its mask
where labels are compared.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from cocoscli.metrics.semantic import class_areas, class_means


def class_colours(
    labels: Tensor, exemplar: Tensor, exemplar_labels: Tensor, classes: int
) -> Tensor:
    """Every class of the input in the exemplar's mean colour of it -> (B,3,H,W).

    labels (B,H,W) of the input; exemplar (B,3,H',W') and its labels (B,H',W'). A class that the
    exemplar lacks, and pixels without a class, take the exemplar's global mean.
    """
    overall = exemplar.mean(dim=(2, 3))[:, None]
    means = class_means(exemplar, exemplar_labels, classes)
    present = class_areas(exemplar_labels, classes) > 0
    palette = torch.cat([torch.where(present[..., None], means, overall), overall], dim=1)
    chosen = labels.long().clamp_max(classes).flatten(1)[..., None].expand(-1, -1, 3)
    return palette.gather(1, chosen).transpose(1, 2).unflatten(2, labels.shape[-2:])


def colour_transfer(photo: np.ndarray, exemplar: np.ndarray) -> np.ndarray:
    """A photo moved to the exemplar's colour statistics: both (H,W,3) uint8 -> (H,W,3) uint8.

    In Lab every channel takes the exemplar's mean and standard deviation, of all its pixels.
    """
    from skimage.color import lab2rgb, rgb2lab  # slow to import, and only this baseline needs it

    own, wanted = rgb2lab(photo), rgb2lab(exemplar)
    spread = wanted.std(axis=(0, 1)) / np.maximum(own.std(axis=(0, 1)), 1e-6)
    moved = (own - own.mean(axis=(0, 1))) * spread + wanted.mean(axis=(0, 1))
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # colours beyond sRGB
        return np.rint(lab2rgb(moved).clip(0, 1) * 255).astype(np.uint8)
