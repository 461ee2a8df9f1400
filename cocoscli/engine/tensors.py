"""Pixels and condition arrays as networks take and give them, on their device."""

from __future__ import annotations

import numpy as np
import torch
from cocosnet import ConditionSchema
from torch import Tensor

from cocoscli.data.planes import expand


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """x on a device. Towards CUDA by pinned memory, so that nobody waits for the copy."""
    return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)


def photo_tensor(pixels: Tensor, device: torch.device) -> Tensor:
    """(B,H,W,3) uint8 -> (B,3,H,W), -1..1."""
    pixels = to_device(pixels, device).permute(0, 3, 1, 2)
    return pixels.float() / 127.5 - 1


def condition_tensor(arrays: Tensor, condition: ConditionSchema, device: torch.device) -> Tensor:
    """Condition arrays (B,P,H,W) integers -> (B,K,H,W), 0..1."""
    return expand(to_device(arrays, device), condition.kind, condition.channels)


def to_uint8(images: Tensor) -> np.ndarray:
    """(B,3,H,W), -1..1 -> (B,H,W,3) uint8, rounded."""
    scaled = (images.float().clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
