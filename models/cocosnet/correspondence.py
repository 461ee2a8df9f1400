"""The correspondence network (section 3.1): adapt both images to domain S, match, warp."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cocosnet import flow, matching
from cocosnet.config import STRIDE, ModelConfig
from cocosnet.descriptors import Side, describe
from cocosnet.domain import PaperAdaptor, PaperShared, ReleasedAdaptor, ReleasedShared
from cocosnet.layers import Spade, add_spectral_norm, as_weights


@dataclass(frozen=True)
class InputFeatures:
    """An encoded input, reusable against any number of exemplars."""

    side: Side

    def __len__(self) -> int:
        return len(self.side.features)


@dataclass(frozen=True)
class ExemplarBank:
    """An encoded exemplar, reusable for any number of inputs."""

    side: Side
    colours: Tensor
    """(B,3,h,w) the exemplar at 1/4, or (B,48,h,w) its patches: what Eq. 4 averages. Finer than the
    side's grid where the match is coarser than what it warps."""

    def __len__(self) -> int:
        return len(self.side.features)

    @staticmethod
    def stack(banks: list[ExemplarBank]) -> ExemplarBank:
        """One bank of a batch from banks of the same size, in order."""
        if len(banks) == 1:
            return banks[0]
        side = Side.stack([bank.side for bank in banks])
        return ExemplarBank(side, torch.cat([bank.colours for bank in banks]))

    @property
    def nbytes(self) -> int:
        tensors = [x for x in (*self.side, self.colours) if x is not None]
        return sum(x.numel() * x.element_size() for x in tensors)


class Match:
    """The correspondence of inputs and exemplars; each quantity is streamed when asked for."""

    def __init__(
        self, query: Side, bank: ExemplarBank, config: ModelConfig, at: Tensor | None = None
    ) -> None:
        self.query = query
        self.bank = bank
        self.config = config
        self.at = at
        """(H',W',2): where warps lie, xy in pixels of the matched input; None: at its cells."""

    def warp(self, values: Tensor) -> Tensor:
        """Eq. 4 for anything aligned with the exemplar.

        values (B or 1, D, H', W'), averaged down to the exemplar's matching grid where larger ->
        (B,D,h,w) on the input's matching grid, 1/4 of the image. Where warps are finer than the
        match (`at`), the values are taken from where the flow between its cells leads.
        """
        self._check(values, len(self.bank))
        if self.at is not None:
            return self._sampled(values, self.at)
        grid = matching.to_grid(values, self.bank.side.grid)
        return matching.warp(self.query, self.bank.side, grid, self.config.temperature)

    def _sampled(self, values: Tensor, at: Tensor) -> Tensor:
        """Values (B or 1,D,H,W), of any size, at the matches of positions: (B,D,H',W')."""
        height, width = self.bank.side.grid
        size = STRIDE * at.new_tensor([width, height])
        found = at + flow.displacement_at(self.refined_flow, at)
        values = values.float().expand(len(found), -1, -1, -1)
        places = 2 * (found + 0.5) / size - 1
        return F.grid_sample(values, places, padding_mode="border", align_corners=False)

    def warp_back(self, values: Tensor) -> Tensor:
        """Eq. 12's way back: (B,D,h,w) on the input's grid -> on the exemplar's grid."""
        self._check(values, len(self.query.features))
        grid = matching.to_grid(values, self.query.grid)
        return matching.warp(self.bank.side, self.query, grid, self.config.temperature)

    def _check(self, values: Tensor, side: int) -> None:
        batch = max(len(self.query.features), len(self.bank))
        if values.ndim != 4 or len(values) not in {1, side, batch}:
            shape = tuple(values.shape)
            raise ValueError(f"values of shape {shape}, expected (1 or {batch},D,H,W)")

    @cached_property
    def colours(self) -> Tensor:
        """The warped exemplar on the matching grid: (B,3,h,w), or (B,48,h,w) patches."""
        return self.warp(self.bank.colours)

    @cached_property
    def warped(self) -> Tensor:
        """The warped exemplar r (Eq. 4) at the image's size: (B,3,H,W), -1..1."""
        if self.config.warp_patch:
            return matching.from_patches(self.colours)
        mode = self.config.warp_upsample
        flag = None if mode == "nearest" else False
        return F.interpolate(self.colours, scale_factor=4, mode=mode, align_corners=flag)

    @cached_property
    def statistics(self) -> matching.Statistics:
        return matching.statistics(self.query, self.bank.side, self.config.temperature)

    @cached_property
    def flow(self) -> Tensor:
        """(B,h,w,2): xy of each cell's best match in exemplar pixels."""
        return flow.positions(self.statistics.best, self.bank.side.grid[1])

    @cached_property
    def refined_flow(self) -> Tensor:
        """(B,h,w,2): the same to a fraction of a cell, at the top of the correlation."""
        return flow.refined(self.query, self.bank.side, self.statistics.best)

    @cached_property
    def soft_flow(self) -> Tensor:
        """(B,h,w,2): xy of the mean position under Eq. 4's softmax, in exemplar pixels."""
        return flow.pixels(self.statistics.mean)

    @cached_property
    def spread(self) -> Tensor:
        """(B,h,w,3): xx, xy and yy of the covariance of positions under it, in squared pixels."""
        return self.statistics.covariance * STRIDE**2

    @cached_property
    def back_flow(self) -> Tensor:
        """(B,h',w',2): xy of each exemplar cell's best match in input pixels."""
        return flow.positions(self.statistics.best_back, self.query.grid[1])

    @cached_property
    def confidence(self) -> Tensor:
        """(B,h,w), 0..1: one minus the normalised entropy of the match."""
        height, width = self.bank.side.grid
        return flow.confidence(self.statistics.entropy, height * width)

    @cached_property
    def cycle_error(self) -> Tensor:
        """(B,h,w): pixels between a cell and the best match of its best match."""
        return flow.cycle_error(self.statistics)

    @cached_property
    def mutual(self) -> Tensor:
        """(B,h,w) bool: whether a cell is the best match of its best match."""
        return flow.mutual(self.statistics)

    @cached_property
    def usage(self) -> Tensor:
        """(B,h',w') long: how many cells have each exemplar cell as their best match."""
        return flow.usage(self.statistics)


class Correspondence(nn.Module):
    """F_A, F_B and the shared block; what it returns is matched without further weights."""

    def __init__(self, config: ModelConfig, spectral: bool = True) -> None:
        super().__init__()
        self.config = config
        exemplar_channels = 3 + (config.channels if config.exemplar_mask else 0)
        paper = config.form == "paper"
        adaptor = PaperAdaptor if paper else ReleasedAdaptor
        self.input_adaptor = adaptor(config.channels, config)
        self.exemplar_adaptor = adaptor(exemplar_channels, config)
        self.shared = PaperShared(config) if paper else ReleasedShared(config)
        if spectral and paper:
            add_spectral_norm(self)
        elif spectral:
            add_spectral_norm(self.input_adaptor, skip=(Spade,))
            add_spectral_norm(self.exemplar_adaptor, skip=(Spade,))

    def adapt_input(self, x: Tensor) -> Tensor:
        """Eq. 1: condition maps (B,K,H,W) -> domain S (B,4n,H/4,W/4)."""
        return self.input_adaptor(as_weights(self, x))

    def adapt_exemplar(self, y: Tensor, condition: Tensor | None = None) -> Tensor:
        """Eq. 2: photos (B,3,H,W), -1..1 -> domain S (B,4n,H/4,W/4).

        `condition` (B,K,H,W) is used by weights that were warmed up with masks; zeros without.
        """
        if self.config.exemplar_mask:
            if condition is None:
                condition = y.new_zeros(len(y), self.config.channels, *y.shape[-2:])
            y = torch.cat([y, condition.to(y.dtype)], dim=1)
        return self.exemplar_adaptor(as_weights(self, y))

    def encode_input(self, x: Tensor) -> InputFeatures:
        features = self.shared.input_features(self.adapt_input(x), x)
        return InputFeatures(self._describe(features))

    def encode_exemplar(
        self, y: Tensor, condition: Tensor | None = None, colours: Tensor | None = None
    ) -> ExemplarBank:
        side = self.encode_photo(y, condition).side
        return ExemplarBank(side, self._colours(y if colours is None else colours))

    def encode_photo(self, y: Tensor, condition: Tensor | None = None) -> InputFeatures:
        """A photo in the input's place, by the exemplar's adaptor."""
        features = self.shared.exemplar_features(self.adapt_exemplar(y, condition), condition)
        return InputFeatures(self._describe(features))

    def match_adapted(
        self,
        adapted_input: Tensor,
        adapted_exemplar: Tensor,
        x: Tensor,
        y: Tensor,
        condition: Tensor | None,
    ) -> Match:
        """Section 3.1 past the adaptors, for both branches at once, as training takes them.

        Both adaptors' results (B,4n,h,w), input x (B,K,H,W), exemplar y (B,3,H,W), its condition.
        """
        ours, theirs = self.shared.both(adapted_input, adapted_exemplar, x, condition)
        return self._matched(ours, theirs, self._colours(y))

    def match_photos(
        self, photo: Tensor, exemplar: Tensor, colours: Tensor, conditions: Tensor | None
    ) -> Match:
        """The match of photo to photo, past the adaptor, as training takes it.

        What F_B made of both, (B,4n,h,w) each, the exemplar's `colours`, and the conditions
        (2B,K,H,W) of both, the exemplar's first, where the network is given them.
        """
        features = self.shared.exemplar_features(torch.cat([exemplar, photo]), conditions)
        theirs, ours = features.chunk(2)
        return self._matched(ours, theirs, colours)

    def _matched(self, ours: Tensor, theirs: Tensor, colours: Tensor) -> Match:
        """Of features (B,4n,h,w) of both branches, and what the exemplar's warp averages."""
        bank = ExemplarBank(self._describe(theirs), colours)
        return Match(self._describe(ours), bank, self.config)

    def _colours(self, y: Tensor) -> Tensor:
        """What Eq. 4 averages of photos (B,3,H,W): their grid of colours, or of patches."""
        if self.config.warp_patch:
            return matching.to_patches(y)
        return matching.to_grid(y, (y.shape[-2] // STRIDE, y.shape[-1] // STRIDE))

    def _describe(self, features: Tensor) -> Side:
        return describe(features, self.config.match_kernel, self.config.match_norm)

    def match(self, features: InputFeatures, bank: ExemplarBank, at: Tensor | None = None) -> Match:
        return Match(features.side, bank, self.config, at)
