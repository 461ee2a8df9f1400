"""What a network is: frozen, typed, saved inside every checkpoint.

`ModelConfig` holds the few things in which CoCosNets differ. The two forms, `paper` (Table 5) and
`released` (the authors' later code), differ in so many places that each has its own modules;
within a form the fields below choose. `presets` names the combinations.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

MULTIPLE = 32
"""Heights and widths of inputs are multiples of this (the generator starts at 1/32)."""
MINIMUM = 64
"""The smallest height or width: reflection padding needs more than one cell at 1/32."""
STRIDE = 4
"""Matching happens on a grid of 1/4 of the image (64x64 for 256 px, Appendix E)."""
FEATURE_LAYERS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")
"""The VGG layers that losses compare, shallow to deep."""
LARGEST = 65536
"""The most channels that a layer's width or a condition may ask for."""

Form = Literal["paper", "released"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of one CoCosNet.

    Raises ValueError where a field is out of range or the fields contradict each other.
    """

    form: Form
    """Table 5 of the paper, or the released code."""
    channels: int
    """Planes K of the condition map (classes of a mask, channels of an edge or pose map)."""
    width: int = 64
    """Channels of the first layer, `n` in Table 5; every other width is a multiple of it."""
    hidden: int = 128
    """Channels between a warped exemplar and the modulation parameters (style encoder, SPADE)."""
    adaptor_kernel: int = 4
    """Kernel of the two strided convolutions in the domain adaptors (3 in the released ADE20k)."""
    match_kernel: int = 1
    """Side of the patch that a descriptor covers: 1 in the paper, 3 in the release."""
    match_norm: Literal["channel", "spatial"] = "channel"
    """Which mean is taken off before correlating (Eq. 3; Figure 19 compares the two)."""
    temperature: float = 0.01
    """1/alpha of Eq. 4."""
    norm: Literal["position", "batch"] = "position"
    """Statistics that the generator modulates (Eq. 5; Figure 18 compares the two)."""
    mask_mix: bool = False
    """Released form: both condition maps enter the shared block, so exemplars need theirs."""
    exemplar_mask: bool = False
    """Paper form: F_B takes the exemplar's mask too (warm-up, Appendix E); zeros without."""
    warp_patch: bool = False
    """Warp whole 4x4 patches instead of the averaged colour."""
    warp_upsample: Literal["nearest", "bilinear"] = "bilinear"
    """How the warped exemplar comes back to full size."""

    def __post_init__(self) -> None:
        choices = {
            "form": ("paper", "released"),
            "match_norm": ("channel", "spatial"),
            "norm": ("position", "batch"),
            "warp_upsample": ("nearest", "bilinear"),
            "adaptor_kernel": (3, 4),
            "match_kernel": (1, 3),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected one of {allowed}")
        for name in ("channels", "width", "hidden"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= LARGEST:
                raise ValueError(f"{name} is {value!r}, expected a whole number, 1 to {LARGEST}")
        if self.width < 2:
            raise ValueError("width is 1, expected at least 2: the non-local block divides it by 2")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature!r}, expected a positive number")
        if self.match_norm == "spatial" and self.match_kernel != 1:
            raise ValueError("match_norm 'spatial' is defined for match_kernel 1 only")
        if self.form == "paper" and (self.mask_mix or self.warp_patch):
            raise ValueError("mask_mix and warp_patch belong to the released form")
        if self.form == "released" and self.exemplar_mask:
            raise ValueError("exemplar_mask belongs to the paper form")

    @property
    def needs_exemplar_input(self) -> bool:
        """Whether an exemplar cannot be encoded without its own condition map."""
        return self.mask_mix

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """Inverse of `to_dict`; ValueError names unknown and missing fields."""
        if not isinstance(values, dict):
            raise ValueError(f"the model settings are {values!r}, expected fields")
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown model settings: {', '.join(unknown)}")
        if missing := sorted({"form", "channels"} - set(values)):
            raise ValueError(f"missing model settings: {', '.join(missing)}")
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """The shape of the two-scale discriminator (section 3.3, Eq. 13)."""

    channels: int
    """Planes of the condition map that it sees beside the image; 0 for the image alone (paper)."""
    width: int = 64
    spectral_ends: bool = False
    """Spectral norm on the first and last convolution too (the paper's, not the release's)."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The terms of Eq. 14: their weights, and what the paper and the release define apart.

    A weight of 0 leaves a term out. `presets` has the paper's and the released ones.
    """

    form: Form
    """Whose definitions: the paper's, or the released code's."""
    feat: float
    """Eq. 8, L1 of features; only where the exemplar is a pseudo one."""
    perc: float
    """Eq. 10: L1 in the paper's form, squares in the release's."""
    perc_layer: str = "relu4_2"
    context: float = 10.0
    """Eq. 11."""
    context_layers: Mapping[str, float]
    """What each layer of Eq. 11 weighs."""
    context_bandwidth: float = 0.1
    """h of Eq. 11's affinities."""
    domain: float = 10.0
    """Eq. 9."""
    reg: float = 0.0
    """Eq. 12."""
    adversarial: float = 10.0
    """Eq. 13, in the generator's share."""
    discriminator_features: float = 0.0
    """L1 of the discriminator's features of result and photo (the release's)."""
    mask: float = 0.0
    """Cross-entropy of the warped exemplar's mask (Appendix E)."""
    mask_background: bool = False
    """Whether plane 0 is a class like others to it; False: unknown (ADE20k's 0), and left out."""
    warp_self: float = 0.0
    """L1 of the warp and the photo for pseudo exemplars (the release's, for DeepFashion)."""
    pixels: float = 0.0
    """L1 of the result and the photo for pseudo exemplars (ours; needs no other network)."""
    points: float = 0.0
    """Cross-entropy of matches at points known in both images (ours; needs no other network)."""

    def __post_init__(self) -> None:
        if self.form not in ("paper", "released"):
            raise ValueError(f"form is {self.form!r}, expected 'paper' or 'released'")
        weights = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        weights |= {f"context_layers.{k}": v for k, v in self.context_layers.items()}
        for name, value in weights.items():
            if isinstance(value, float | int) and not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value!r}, expected a number from 0 up")
        if self.context_bandwidth == 0:
            raise ValueError("context_bandwidth is 0, expected a positive number")
        for layer in (self.perc_layer, *self.context_layers):
            if layer not in FEATURE_LAYERS:
                raise ValueError(
                    f"feature layer {layer!r}, expected one of {', '.join(FEATURE_LAYERS)}"
                )

    @property
    def judges_images(self) -> bool:
        """Whether a term looks at what is drawn; where none does, the match alone is trained."""
        of_features = self.feat, self.perc, self.context
        return any((*of_features, self.pixels, self.adversarial, self.discriminator_features))

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "context_layers": dict(self.context_layers)}


@dataclass(frozen=True, kw_only=True)
class ConditionSchema:
    """What a model's condition maps are, so that data of another kind can be refused."""

    kind: str
    """`labels`, `edges`, ... or a released task's name; who makes the maps knows the names."""
    channels: int
    classes: tuple[str, ...] = ()
    """Names of the classes where known, by id."""
    size: int = 256
    """Side in pixels of the images that the weights were trained on."""

    def __post_init__(self) -> None:
        words = (self.kind, *self.classes)
        if isinstance(self.classes, str) or not all(isinstance(word, str) for word in words):
            raise ValueError("kind and classes of a condition are names")
        for name in ("channels", "size"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 1 <= value <= LARGEST:
                raise ValueError(f"{name} is {value!r}, expected a whole number, 1 to {LARGEST}")

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ConditionSchema:
        if not isinstance(values, dict):
            raise ValueError(f"a condition is {values!r}, expected its fields")
        classes = values.get("classes", ())
        return cls(
            **{**values, "classes": tuple(classes) if isinstance(classes, list) else classes}
        )
