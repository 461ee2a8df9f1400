"""Condition arrays to what the networks see, in batches and on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from cocoscli.data.conditions import CONDITIONS, GLASSES


def expand(arrays: Tensor, kind: str, channels: int, ignore: int | None = 255) -> Tensor:
    """Condition arrays (B,P,H,W) integers -> (B,K,H,W) float32, 0..1; K is `channels`.

    Ids become one-hot planes; a pixel of the `ignore` label, or beyond the classes, is 0 in all of
    them. Glasses set their plane to 1 and leave the class beneath at 1. Maps are divided by 255.
    Raises ValueError for arrays that are not of the kind.
    """
    condition = CONDITIONS[kind]
    expected = channels if condition.planes is None else condition.planes
    if arrays.ndim != 4 or arrays.shape[1] != expected:
        shape = tuple(arrays.shape)
        raise ValueError(f"{kind} conditions of shape {shape}, expected (B,{expected},H,W)")
    if not condition.is_labels:
        return arrays.float() / 255
    ids = arrays[:, :1]
    classes = torch.arange(channels, device=arrays.device).view(1, -1, 1, 1)
    planes = ids == classes
    if ignore is not None:
        planes &= ids != ignore
    if kind == "celebahq-mask":
        planes[:, GLASSES] |= (arrays[:, 1] > 0) & (ids[:, 0] != (-1 if ignore is None else ignore))
    return planes.float()
