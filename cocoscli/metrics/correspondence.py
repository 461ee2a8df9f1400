"""How good a correspondence is, and whether a network only copies: figures without features.

Letters: B batch, K classes, P points, H W image, h w matching grid (1/4 of the image).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from cocosnet import Match
from cocosnet.config import STRIDE
from cocosnet.matching import to_grid
from torch import Tensor
from torch.nn import functional as F

from cocoscli.metrics.semantic import BACKGROUND, class_areas

VOID = -1
"""The id of a cell without any label."""


class LabelTransfer(NamedTuple):
    """How well the exemplar's warped mask fits the input's; 0..1, higher is better."""

    accuracy: Tensor
    """(B,): of the cells that have a label."""
    miou: Tensor
    """(B,)"""


def label_transfer(match: Match, exemplar_mask: Tensor, mask: Tensor) -> LabelTransfer:
    """The exemplar's mask, warped, against the input's: planes (B or 1,K,H,W), 0..1, of both.

    Compared at the matching grid, where a cell has the label of its first pixel: what the network
    is trained on (Appendix E). Averages would lose parts of a cell's width to what surrounds them.
    """
    warped = top_class(match.warp(sampled(exemplar_mask, match.bank.side.grid)))
    exemplar, truth = top_class(exemplar_mask), top_class(sampled(mask, match.query.grid))
    exemplar, truth = (ids.expand(len(warped), -1, -1) for ids in (exemplar, truth))
    return compare_labels(warped, exemplar, truth, mask.shape[1])


def unmoved_transfer(exemplar_mask: Tensor, mask: Tensor) -> LabelTransfer:
    """What a match reaches that leaves everything in its place: planes (B,K,H,W), 0..1, of both."""
    grid = (mask.shape[2] // STRIDE, mask.shape[3] // STRIDE)
    stayed, truth = (top_class(sampled(planes, grid)) for planes in (exemplar_mask, mask))
    return compare_labels(stayed, top_class(exemplar_mask), truth, mask.shape[1])


def sampled(planes: Tensor, grid: tuple[int, int]) -> Tensor:
    """Planes (B,K,H,W) at a matching grid, (B,K,h,w): each cell's first pixel."""
    return F.interpolate(planes, size=grid, mode="nearest")


def top_class(planes: Tensor) -> Tensor:
    """Class planes (B,K,h,w) -> (B,h,w) the largest's id, the lower of equals; VOID where all 0."""
    return torch.where(planes.amax(dim=1) > 0, planes.argmax(dim=1), VOID)


def compare_labels(warped: Tensor, exemplar: Tensor, truth: Tensor, classes: int) -> LabelTransfer:
    """Warped ids (B,h,w) against the input's own; `exemplar` (B,H',W') are those of its whole map.

    Counted are the cells where the input has a label. mIoU is a pair's mean over background and the
    classes that the exemplar's map and the input's share: one that the warp loses counts as 0.
    """
    labelled = truth != VOID
    right = (warped == truth) & labelled
    accuracy = right.sum(dim=(1, 2)) / labelled.sum(dim=(1, 2))
    areas, both = _areas(truth, labelled, classes), _areas(truth, right, classes)
    union = areas + _areas(warped, labelled & (warped != VOID), classes) - both
    shared = (areas > 0) & (_areas(exemplar, exemplar != VOID, classes) > 0)
    shared[:, BACKGROUND] = union[:, BACKGROUND] > 0
    iou = both / union.clamp_min(1)
    return LabelTransfer(accuracy, (iou * shared).sum(dim=1) / shared.sum(dim=1))


def _areas(ids: Tensor, where: Tensor, classes: int) -> Tensor:
    """(B,K): cells of each class among those that count."""
    return class_areas(torch.where(where, ids, classes), classes)


def mean_l1(one: Tensor, other: Tensor) -> Tensor:
    """(B,C,H,W) twice, -1..1 -> (B,) mean absolute difference, 0..2."""
    return (one - other).abs().mean(dim=(1, 2, 3))


def cycle_error(match: Match, exemplar: Tensor) -> Tensor:
    """Eq. 12: exemplars (B,3,H,W), -1..1, warped there and back against themselves -> (B,), 0..2.

    Mean L1 on the exemplar's matching grid.
    """
    back = match.warp_back(match.warp(exemplar))
    return mean_l1(back, to_grid(exemplar, match.bank.side.grid))


def copy_score(output: Tensor, exemplar: Tensor, other: Tensor) -> Tensor:
    """Images (B,3,H,W), -1..1: outputs, their exemplars, and those of other pairs -> (B,), -2..2.

    L1 to the own exemplar at the same pixels less that to another one. Far below 0: a network that
    copies.
    """
    return mean_l1(output, exemplar) - mean_l1(output, other)


class Pck(NamedTuple):
    """The share of points found closely enough, 0..1, in both usual forms."""

    images: Tensor
    """(B,) of each image; NaN where none of its points is known. Their mean is the image mean."""
    pooled: Tensor
    """() of all points together."""


def pck(found: Tensor, truth: Tensor, extent: Tensor, alpha: float) -> Pck:
    """PCK@alpha: points (B,P,2) found and true, in pixels; true points that are NaN are unknown.

    Right within alpha * extent, the bound included; extent (B,) is max(w, h) of the image, or
    `box_extent` of the true points: say which beside the figure. A point that was not found (NaN)
    is wrong.
    """
    known = truth.isfinite().all(dim=2)
    distance = torch.linalg.vector_norm(found - truth, dim=2)
    right = ((distance <= alpha * extent[:, None]) & known).double()
    return Pck(right.sum(dim=1) / known.sum(dim=1), right.sum() / known.sum())


def box_extent(points: Tensor) -> Tensor:
    """(B,P,2), NaN where unknown -> (B,): the longer side of the box around the known points."""
    known = points.isfinite()
    low = torch.where(known, points, torch.inf).amin(dim=1)
    high = torch.where(known, points, -torch.inf).amax(dim=1)
    return (high - low).amax(dim=1)
