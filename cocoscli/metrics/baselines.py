"""What any quality figure stands beside: pictures of the same pairs that no network drew.

The plainest of them, the exemplar unmoved, needs no function: it is the exemplar, and its mask
where labels are compared.
"""

from __future__ import annotations

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
