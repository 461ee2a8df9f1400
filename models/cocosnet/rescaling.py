"""Features of any scale brought to the one that the losses' weights have their meaning for.

The weights of Eq. 8 and 10 are for Caffe-convention VGG features of pixels in 0..255. Other
networks' are far smaller: each layer is multiplied by one number, so that its mean activation on
given photos is the reference's.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cocosnet.features import Vgg

REFERENCE = {
    "relu1_2": 117.355,
    "relu2_2": 178.121,
    "relu3_2": 260.198,
    "relu4_2": 85.863,
    "relu5_2": 10.503,
}
"""Mean activations of Caffe's ImageNet VGG-16 (VGG-19's were not at hand) on scikit-image's
astronaut, chelsea, coffee and rocket: middle square, 256 px, bicubic."""


class Rescaled(nn.Module):
    """A feature network whose layers are multiplied by `scales`; it has no others."""

    def __init__(self, features: Vgg, scales: Mapping[str, float]) -> None:
        super().__init__()
        self.features, self.scales = features, dict(scales)

    def forward(self, image: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """As `Vgg.forward`. Raises ValueError for a layer without a scale."""
        if unknown := set(layers) - set(self.scales):
            raise ValueError(f"no scale for {', '.join(sorted(unknown))}")
        return {k: v * self.scales[k] for k, v in self.features(image, layers).items()}


@torch.no_grad()
def rescaled(features: Vgg, photos: Tensor, reference: Mapping[str, float] = REFERENCE) -> Rescaled:
    """`features` with each layer's mean on `photos` (B,3,H,W), -1..1, made `reference`'s.

    Caffe-convention weights are left as they are: scales of 1. Raises ValueError where a layer is
    silent or not finite.
    """
    if features.convention == "caffe":
        return Rescaled(features, dict.fromkeys(reference, 1.0))
    scales: dict[str, float] = {}
    for layer, activation in features(photos, tuple(reference)).items():
        mean = float(activation.double().mean())
        if not 0 < mean < torch.inf:
            raise ValueError(f"{features.name}: the mean activation of {layer} is {mean}")
        scales[layer] = reference[layer] / mean
    return Rescaled(features, scales)
