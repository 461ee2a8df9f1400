"""The terms of Eq. 14 as pure functions: raw values, unweighted, in fp32.

Letters: B batch, C channels, H W an image, h w a matching grid, K condition planes, N and n the
positions of two maps. `form` says whose definition a term follows where the paper and the released
code differ. Norms are means.

Terms that divide by a count take `total`, which sums a count over all processes. Their value on one
process is such that the mean over processes (of equal batches) is the value of the whole batch:
what averaging gradients, as DistributedDataParallel does, needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from cocosnet.config import FEATURE_LAYERS, Form
from cocosnet.layers import full_precision, recomputed, rows_at_once, single, unit

Total = Callable[[Tensor], Tensor]
"""Sums a tensor over all processes."""
Features = Mapping[str, Tensor]
"""Activations (B,C,h,w) by layer."""
Judgement = Sequence[Sequence[Tensor]]
"""A discriminator's outputs: for each scale those of its layers, the verdict last."""

FEAT_WEIGHTS = dict(zip(FEATURE_LAYERS, (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0), strict=True))
"""lambda_l of Eq. 8."""
CONTEXT_POOLING = {"relu2_2": 4, "relu3_2": 2}
"""Layers that are average-pooled before Eq. 11, whose cost grows with the fourth power of size."""
_CONTEXT_EPS = {"paper": 1e-5, "released": 1e-3}
_FLAG_EPS = 1e-5
_LEAST = 1e-10


def one_process(count: Tensor) -> Tensor:
    """`total` where there is one process."""
    return count


def _l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of each sample: (B,...) -> (B,)."""
    return (single(a) - single(b)).abs().flatten(1).mean(dim=1)


def _share(part: Tensor, count: Tensor, total: Total) -> Tensor:
    """part / (count over all processes), so that the mean over processes is the whole quotient.

    0 where nothing was counted.
    """
    everywhere, processes = total(torch.stack([count, torch.ones_like(count)])).unbind()
    return part * processes / everywhere.clamp_min(1)


def _over_pseudo(form: Form, values: Tensor, pseudo: Tensor, total: Total) -> Tensor:
    """The mean of values (B,) over the pseudo pairs, flagged 1 in pseudo (B,); 0 without any.

    The release divides by the batch as well.
    """
    pseudo = pseudo.to(values.dtype)
    if form == "paper":
        return _share((values * pseudo).sum(), pseudo.sum(), total)
    return (values * pseudo / (total(pseudo.sum()) + _FLAG_EPS)).mean()


def feat(
    form: Form, ours: Features, photo: Features, pseudo: Tensor, total: Total = one_process
) -> Tensor:
    """Eq. 8: L1 of the features of output and photo, of pseudo pairs alone."""
    values = [weight * _l1(ours[name], photo[name]) for name, weight in FEAT_WEIGHTS.items()]
    return _over_pseudo(form, torch.stack(values).sum(dim=0), pseudo, total)


def domain(adapted_input: Tensor, adapted_photo: Tensor) -> Tensor:
    """Eq. 9: L1 of an input and its own photo in domain S, (B,4n,h,w) each."""
    return _l1(adapted_input, adapted_photo).mean()


def perc(form: Form, ours: Tensor, photo: Tensor) -> Tensor:
    """Eq. 10 of one layer's features: L1, or the release's squares."""
    difference = single(ours) - single(photo)
    return difference.abs().mean() if form == "paper" else difference.square().mean()


def context(
    form: Form, ours: Features, exemplar: Features, weights: Mapping[str, float], bandwidth: float
) -> Tensor:
    """Eq. 11: the contextual loss of output and exemplar, summed over weighted layers."""
    parts = []
    for name, weight in weights.items():
        pool = CONTEXT_POOLING.get(name, 1)
        x, y = (F.avg_pool2d(single(maps[name]), pool) for maps in (ours, exemplar))
        parts.append(weight * contextual(form, x, y, bandwidth))
    return torch.stack(parts).sum()


def contextual(form: Form, x: Tensor, y: Tensor, bandwidth: float) -> Tensor:
    """Eq. 11 of one layer: -log(mean_i max_j A(i,j)), i over x (B,C,h,w), j over y (B,C,h,w).

    Both maps lose the exemplar's mean: over positions (the cited work's), or at each position over
    channels (the release's). A goes over blocks of rows, and where there are several they are
    computed again for the gradient: no matrix of all pairs is held.
    """
    with full_precision(x):
        mean = single(y).mean(dim=(2, 3) if form == "paper" else 1, keepdim=True)
        query, key = (unit(single(z) - mean, single(z)).flatten(2) for z in (x, y))
        rows = rows_at_once(len(key) * key.shape[2], key.device)
        strips = query.transpose(1, 2).split(rows, dim=1)
        settings = key, _CONTEXT_EPS[form], bandwidth
        again = len(strips) > 1 and torch.is_grad_enabled()
        best = [
            recomputed(_affinity, strip, *settings) if again else _affinity(strip, *settings)
            for strip in strips
        ]
        return -torch.cat(best, dim=1).mean(dim=1).log().mean()


def _affinity(query: Tensor, key: Tensor, eps: float, bandwidth: float) -> Tensor:
    """max_j A(i,j) for unit vectors (B,rows,C) against (B,C,n): (B,rows)."""
    distance = 1 - query @ key
    relative = distance / (distance.amin(dim=2, keepdim=True) + eps)
    return torch.softmax((1 - relative) / bandwidth, dim=2).amax(dim=2)


def reg(there_and_back: Tensor, exemplar: Tensor) -> Tensor:
    """Eq. 12: L1 of the exemplar at 1/4, (B,D,h,w), and of its warp warped back."""
    return _l1(there_and_back, exemplar).mean()


def adversarial(fake: Judgement) -> Tensor:
    """Eq. 13, the generator's share: -E[D(x)], a mean over the scales."""
    return torch.stack([-single(scale[-1]).mean() for scale in fake]).mean()


def discriminator_fake(fake: Judgement) -> Tensor:
    """Eq. 13, -E[min(0, -1 - D(x))], a mean over the scales."""
    return torch.stack([F.relu(1 + single(scale[-1])).mean() for scale in fake]).mean()


def discriminator_real(real: Judgement) -> Tensor:
    """Eq. 13, -E[min(0, -1 + D(real))], a mean over the scales."""
    return torch.stack([F.relu(1 - single(scale[-1])).mean() for scale in real]).mean()


def discriminator_features(fake: Judgement, real: Judgement) -> Tensor:
    """The release's: L1 of all layers' outputs but the verdict, summed; a mean over the scales."""
    scales = [
        torch.stack([_l1(a, b).mean() for a, b in zip(ours[:-1], theirs[:-1], strict=True)]).sum()
        for ours, theirs in zip(fake, real, strict=True)
    ]
    return torch.stack(scales).mean()


def mask(
    warped: Tensor,
    labels: Tensor,
    exemplar_labels: Tensor,
    total: Total = one_process,
    *,
    background: bool = False,
) -> Tensor:
    """Cross-entropy of the warped exemplar's mask (Appendix E), at 1/4.

    warped (B,K,h,w) is Eq. 4 of the exemplar's one-hot mask; labels and exemplar_labels (B,K,h,w)
    are the one-hot masks of both. A mean over the pixels whose class is in the exemplar and known:
    not plane 0, unless that is a `background`.
    """
    counted = exemplar_labels.amax(dim=(2, 3), keepdim=True) > 0
    counted[:, 0] &= background
    chosen = single(labels) * counted
    return _share(-(chosen * (single(warped) + _LEAST).log()).sum(), chosen.sum(), total)


def points(
    warp: Callable[[Tensor], Tensor],
    ours: tuple[Tensor, tuple[int, int]],
    theirs: tuple[Tensor, tuple[int, int]],
    total: Total = one_process,
) -> Tensor:
    """Cross-entropy of Eq. 4's weights at points that are known in both images.

    ours and theirs are places (B,N,2), x and y in cells of a matching grid (height, width), of the
    same N points in input and exemplar, NaN where one is unknown; `warp` is Eq. 4 for planes
    (B,N,h,w) on the exemplar's grid. -log of the weight that the match at a point's place gives to
    its place in the exemplar, places between cells being shared among them; a mean over points.
    """
    known = (ours[0].isfinite() & theirs[0].isfinite()).all(dim=2)
    here, there = (_planes(places.nan_to_num(), grid) for places, grid in (ours, theirs))
    weight = (single(warp(there)) * here).sum(dim=(2, 3))
    return _share(-((weight + _LEAST).log() * known).sum(), known.sum().float(), total)


def _planes(places: Tensor, grid: tuple[int, int]) -> Tensor:
    """Places (B,N,2) in cells -> (B,N,h,w): a plane each, shared among the nearest four cells."""
    sides = []
    for axis, length in enumerate((grid[1], grid[0])):
        at = places[..., axis].clamp(0, length - 1).unsqueeze(-1)
        cells = torch.arange(length, device=places.device)
        sides.append((1 - (at - cells).abs()).clamp_min(0))
    x, y = sides
    return y.unsqueeze(-1) * x.unsqueeze(-2)


def warp_self(
    form: Form, warped: Tensor, photo: Tensor, pseudo: Tensor, total: Total = one_process
) -> Tensor:
    """The release's: L1 of the warped exemplar and the photo, (B,3,H,W), of pseudo pairs alone."""
    return _over_pseudo(form, _l1(warped, photo), pseudo, total)


def pixels(
    form: Form, image: Tensor, photo: Tensor, pseudo: Tensor, total: Total = one_process
) -> Tensor:
    """Ours: Eq. 8 of the pixels themselves, L1 of output and photo (B,3,H,W), of pseudo pairs."""
    return _over_pseudo(form, _l1(image, photo), pseudo, total)
