"""How much memory a run will take, roughly, before it starts."""

from __future__ import annotations

import cocosnet
import torch

ACTIVATION_PLANES = 28
"""Full-size feature maps of `width` channels that live at once in inference (measured)."""
LOADING = 2.3
"""The weights' size that loading takes for a moment: the mapped file and its copy (measured)."""
BASE_BYTES = 525e6
"""Python, torch and the other libraries."""


def parameter_bytes(model: torch.nn.Module) -> int:
    tensors = [*model.parameters(), *model.buffers()]
    return sum(x.numel() * x.element_size() for x in tensors)


def estimate_bytes(model: cocosnet.CoCosNet, size: tuple[int, int], batch: int) -> float:
    """Peak bytes of a process that translates `batch` images of (width, height) at once.

    Within a fifth of what was measured from 256 to 512 px.
    """
    width, height = size
    config = model.config
    weights = parameter_bytes(model)
    maps = ACTIVATION_PLANES * config.width + 3 * config.channels
    return BASE_BYTES + max(LOADING * weights, weights + 4.0 * batch * width * height * maps)
