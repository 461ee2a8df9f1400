"""CoCosNet: correspondence and translation in one module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cocosnet.config import MINIMUM, MULTIPLE, STRIDE, ConditionSchema, ModelConfig
from cocosnet.correspondence import Correspondence, ExemplarBank, InputFeatures, Match
from cocosnet.domain import PaperShared
from cocosnet.flow import centres
from cocosnet.generator import PaperGenerator, ReleasedGenerator
from cocosnet.layers import GAIN, PAPER_GAIN, initialise


@dataclass(frozen=True)
class Output:
    """A translation."""

    image: Tensor
    """(B,3,H,W), -1..1."""
    warped: Tensor
    """(B,3,H,W), -1..1: the exemplar warped by the match (Eq. 4)."""
    match: Match


def check_size(height: int, width: int) -> None:
    """ValueError unless both are multiples of 32 from 64 up."""
    if min(height, width) < MINIMUM or height % MULTIPLE or width % MULTIPLE:
        raise ValueError(
            f"size {width}x{height}: both sides must be multiples of {MULTIPLE} from {MINIMUM} up"
        )


def positions_within(
    features: InputFeatures, size: tuple[int, int], part: tuple[int, int]
) -> Tensor:
    """(H/4,W/4,2): the cells of an image of `size` (H,W), xy in pixels of the one matched, which
    shows the upper left `part` (h,w) of it. ValueError for a part that is none."""
    if not all(0 < side <= whole for side, whole in zip(part, size, strict=True)):
        raise ValueError(f"part {part[1]}x{part[0]} of an image of {size[1]}x{size[0]}")
    matched = [STRIDE * side for side in features.side.grid]
    own = centres((size[0] // STRIDE, size[1] // STRIDE), features.side.features.device)
    scale = own.new_tensor([matched[1] / part[1], matched[0] / part[0]])
    return (own + 0.5) * scale - 0.5


class CoCosNet(nn.Module):
    """The network of a `ModelConfig`; `presets` has the paper's and the released ones.

    `condition` says what the condition maps are and `provenance` where the weights come from; both
    travel in the checkpoint. `spectral` False leaves spectral norm out, as folding does.
    """

    def __init__(
        self,
        config: ModelConfig,
        condition: ConditionSchema | None = None,
        *,
        spectral: bool = True,
    ) -> None:
        super().__init__()
        self.config = config
        self.condition = condition or ConditionSchema(kind="labels", channels=config.channels)
        if self.condition.channels != config.channels:
            raise ValueError(
                f"the condition has {self.condition.channels} planes, the network {config.channels}"
            )
        self.provenance: dict[str, Any] = {}
        self.correspondence = Correspondence(config, spectral)
        paper = config.form == "paper"
        generator = PaperGenerator if paper else ReleasedGenerator
        self.generator = generator(config, spectral)

    def initialise(self) -> CoCosNet:
        """Start values for training: Xavier, of `GAIN` or, in the paper's form, `PAPER_GAIN`.

        There the shared block's residual blocks start as identities, and alpha at 1.
        """
        initialise(self, PAPER_GAIN if self.config.form == "paper" else GAIN)
        if isinstance(self.correspondence.shared, PaperShared):
            self.correspondence.shared.start_as_identity()
        if isinstance(self.generator, PaperGenerator):
            for i in range(len(self.generator.blocks)):
                bias = self.generator.get_parameter(f"blocks.{i}.style.heads.bias")
                bias.data[: len(bias) // 2] = 1.0
        return self

    def to_precision(self, dtype: torch.dtype) -> CoCosNet:
        """Bring the weights to a precision, for inference; matching is in fp32 all the same.

        Batch norms, whose few numbers scale whole planes, and the convolution that draws are in
        fp32 at least.
        """
        self.to(dtype)
        finer = torch.promote_types(dtype, torch.float32)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.to(finer)
        self.generator.out.to(finer)
        return self

    def encode_input(self, input: Tensor) -> InputFeatures:
        """Condition maps (B,K,H,W), 0..1 -> what `match` needs of them, reusable."""
        if input.ndim != 4 or input.shape[1] != self.config.channels:
            raise ValueError(
                f"input has shape {tuple(input.shape)}, expected (B,{self.config.channels},H,W)"
            )
        check_size(*input.shape[-2:])
        return self.correspondence.encode_input(input)

    def encode_exemplar(
        self,
        exemplar: Tensor,
        exemplar_input: Tensor | None = None,
        colours: Tensor | None = None,
    ) -> ExemplarBank:
        """Photos (B,3,H,W), -1..1 -> a bank that any number of inputs can be matched against.

        `exemplar_input` (B,K,H,W) is the exemplar's own condition map: needed where the weights
        mix it in (`config.needs_exemplar_input`), ValueError without it. `colours` (B,3,H',W') are
        the same photos at the size of the results, where `match` is at a smaller one.
        """
        if colours is not None:
            check_size(*colours.shape[-2:])
        self._check_photo(exemplar, exemplar_input)
        return self.correspondence.encode_exemplar(exemplar, exemplar_input, colours)

    def encode_photo(self, photo: Tensor, photo_input: Tensor | None = None) -> InputFeatures:
        """Photos (B,3,H,W), -1..1, as inputs: to match photo with photo.

        The exemplar's adaptor takes them too, for the domain loss (Eq. 9) aligns both adaptors'
        results. `photo_input` is as in `encode_exemplar`.
        """
        self._check_photo(photo, photo_input)
        return self.correspondence.encode_photo(photo, photo_input)

    def _check_photo(self, exemplar: Tensor, exemplar_input: Tensor | None) -> None:
        if exemplar.ndim != 4 or exemplar.shape[1] != 3:
            raise ValueError(f"exemplar has shape {tuple(exemplar.shape)}, expected (B,3,H,W)")
        check_size(*exemplar.shape[-2:])
        if exemplar_input is None and self.config.needs_exemplar_input:
            raise ValueError(
                "these weights mix the exemplar's condition in: give exemplar_input (B,K,H,W)"
            )
        expected = (len(exemplar), self.config.channels, *exemplar.shape[-2:])
        if exemplar_input is not None and tuple(exemplar_input.shape) != expected:
            shape = tuple(exemplar_input.shape)
            raise ValueError(f"exemplar_input has shape {shape}, expected {expected}")

    def match(
        self,
        input: Tensor | InputFeatures,
        bank: ExemplarBank,
        size: tuple[int, int] | None = None,
        part: tuple[int, int] | None = None,
    ) -> Match:
        """Section 3.1: the dense correspondence of inputs and a bank (of 1 or B exemplars).

        Matched at one size and rendered at a larger one: `size` (H,W) is what the input is rendered
        at, and the flow between the cells of the match then leads to the colours of the bank.
        `part` (h,w) is what of it, from its upper left corner, was matched: all, unless what is
        rendered is padded and what is matched is not.
        """
        features = input if isinstance(input, InputFeatures) else self.encode_input(input)
        if 1 != len(bank) != len(features) != 1:
            raise ValueError(f"{len(features)} inputs against a bank of {len(bank)}")
        if size is None:
            if part is not None:
                raise ValueError("a part without the size that it is of")
            return self.correspondence.match(features, bank)
        check_size(*size)
        at = positions_within(features, size, part or size)
        return self.correspondence.match(features, bank, at)

    def render(self, input: Tensor, match: Match) -> Output:
        """Section 3.2: the translation of `input` under a match.

        A match of one exemplar against a batch of inputs serves the whole batch, and so does a
        match of one input against many exemplars (`input` is then repeated).
        """
        warped = match.colours if self.config.form == "paper" else match.warped
        image = self.generator(warped, input.expand(len(match.colours), -1, -1, -1))
        return Output(image=image, warped=match.warped, match=match)

    def forward(
        self, input: Tensor, exemplar: Tensor, exemplar_input: Tensor | None = None
    ) -> Output:
        """input (B,K,H,W) 0..1, exemplar (B,3,H,W) -1..1 -> translation, Eq. 1-7."""
        bank = self.encode_exemplar(exemplar, exemplar_input)
        return self.render(input, self.match(input, bank))
