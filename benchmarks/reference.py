"""The plain reference path: what speed figures are ratios against.

fp32, one pair at a time, the exemplar encoded every time, spectral norm recomputed at every call,
the correlation matrix and the non-local block's matrix dense. The same weights and the same
results as `CoCosNet`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cocosnet
import torch
from cocosnet import layers, matching
from cocosnet.descriptors import correlation
from torch import Tensor
from torch.nn import functional as F


@contextmanager
def dense_attention() -> Iterator[None]:
    """The non-local block with its whole matrix at once."""
    streamed = layers.attend
    layers.attend = partial(streamed, rows=2**31)  # type: ignore[assignment]
    try:
        yield
    finally:
        layers.attend = streamed


class ReferencePath:
    """A model whose spectral norm is not folded, run plainly."""

    def __init__(self, path: Path, *, fold: bool = False) -> None:
        self.model = cocosnet.load(path, fold=fold)

    @torch.inference_mode()
    def translate(self, x: Tensor, y: Tensor, condition: Tensor) -> Tensor:
        """One input (1,K,H,W), one exemplar (1,3,H,W) and its condition -> (1,3,H,W)."""
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
        with dense_attention():
            return self.model.generator(warped, x)
