"""The plain reference path: what speed figures are ratios against.

fp32, one pair at a time, the exemplar encoded every time, spectral norm recomputed at every call,
the correlation matrix and the non-local block's matrix dense. The same weights and the same
results as `CoCosNet`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cocosnet
import torch
from cocosnet import domain, layers, matching
from cocosnet.descriptors import correlation
from torch import Tensor
from torch.nn import functional as F


def position_norm(self: layers.PositionNorm, x: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, dim=1, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + 1e-5)


@contextmanager
def plain_layers() -> Iterator[None]:
    """The layers as they are written down: the non-local block's matrix whole, no convolution by
    `winograd`, norms step by step."""
    changes: list[tuple[Any, str, Any]] = [
        (layers, "attend", partial(layers.attend, rows=2**31)),
        (layers, "LEAST_CHANNELS", {}),
        (layers, "instance_norm", F.instance_norm),
        (domain, "instance_norm", F.instance_norm),
        (layers.PositionNorm, "forward", position_norm),
    ]
    with ExitStack() as stack:
        for where, name, value in changes:
            stack.enter_context(patch.object(where, name, value))
        yield


class ReferencePath:
    """A model whose spectral norm is not folded, run plainly."""

    def __init__(self, path: Path, *, fold: bool = False) -> None:
        self.model = cocosnet.load(path, fold=fold)

    @torch.inference_mode()
    def translate(self, x: Tensor, y: Tensor, condition: Tensor) -> Tensor:
        """One input (1,K,H,W), one exemplar (1,3,H,W) and its condition -> (1,3,H,W)."""
        with plain_layers():
            return self._translate(x, y, condition)

    def _translate(self, x: Tensor, y: Tensor, condition: Tensor) -> Tensor:
        corr, config = self.model.correspondence, self.model.config
        theta = corr.shared.input_features(corr.adapt_input(x), x)
        phi = corr.shared.exemplar_features(corr.adapt_exemplar(y, condition), condition)
        m = correlation(theta, phi, config.match_kernel, config.match_norm)
        weights = torch.softmax(m / config.temperature, dim=2)
        grid = theta.shape[-2:]
        colours = matching.to_grid(y, phi.shape[-2:]).flatten(2).transpose(1, 2)
        warped = (weights @ colours).transpose(1, 2).unflatten(2, grid)
        if config.form == "released":
            warped = F.interpolate(warped, scale_factor=4, mode="bilinear", align_corners=False)
        return self.model.generator(warped, x)
