"""The pairs of a run matched again by its weights: figures of the correspondence itself."""

from __future__ import annotations

from dataclasses import dataclass

import cocosnet
import numpy as np
import torch
from torch import Tensor

from cocoscli.data.conditions import CONDITIONS
from cocoscli.data.reading import ConditionReader
from cocoscli.engine.evaluation.sources import Sources
from cocoscli.engine.items import multiple, pad
from cocoscli.engine.models import Weights
from cocoscli.engine.network import Computing, Network
from cocoscli.engine.tensors import to_uint8
from cocoscli.errors import CocosError
from cocoscli.metrics.correspondence import cycle_error, label_transfer
from cocoscli.metrics.quality import Figures


@dataclass(frozen=True)
class MatchInput:
    """What a pair is matched by."""

    condition: np.ndarray
    """(P,H,W) of the input, padded to what networks take."""
    exemplar: np.ndarray
    """(H',W',3) uint8"""
    exemplar_condition: np.ndarray | None
    """(P,H',W')"""


@dataclass(frozen=True)
class MatchReader:
    """Reads what pairs are matched by."""

    sources: Sources
    conditions: ConditionReader
    with_exemplars: bool
    """Whether exemplars' conditions are read: where the network takes them, or they are maps."""

    def read(self, key: str, exemplar: str, size: tuple[int, int]) -> MatchInput:
        """An input and an exemplar at the size of their result. Raises BadInput."""
        whole = (multiple(size[0], up=True), multiple(size[1], up=True))
        given = None
        if self.with_exemplars:
            given = self.sources.exemplar_condition_of(self.conditions, exemplar, whole)
        condition = self.sources.inputs.condition(self.conditions, key, size)
        return MatchInput(pad(condition), self.sources.exemplar(exemplar, whole), given)


class Matcher:
    """A network that matches pairs one by one."""

    def __init__(self, weights: Weights, sources: Sources, device: torch.device) -> None:
        self.model = weights.model
        self.labels = CONDITIONS[sources.layout.kind].is_labels
        channels = self.model.config.channels
        conditions = ConditionReader(sources.layout, channels, sources.ignore, sources.colors)
        self.network = Network(self.model, conditions, Computing(device=device), varied=False)
        self.reader = MatchReader(
            sources, conditions, self.labels or self.model.config.needs_exemplar_input
        )

    def measure(self, pair: MatchInput, size: tuple[int, int]) -> tuple[Figures, np.ndarray]:
        """A pair's figures, (1,) each, and its translation by the exemplar's mean colour alone.

        The latter is (H,W,3) uint8 at `size`, (width, height).
        """
        x, y = self.network.planes([pair.condition]), self.network.photos([pair.exemplar])
        theirs = pair.exemplar_condition
        given = None if theirs is None else self.network.planes([theirs])
        needed = given if self.model.config.needs_exemplar_input else None
        with self.network.running():
            match = self.model.match(x, self.model.encode_exemplar(y, needed))
            figures = {"cycle_l1": cycle_error(match, y)}
            if self.labels and given is not None:
                transfer = label_transfer(match, given, x)
                figures |= {"label_accuracy": transfer.accuracy, "label_miou": transfer.miou}
            return figures, to_uint8(self._by_mean_colour(x, match))[0, : size[1], : size[0]]

    def _by_mean_colour(self, x: Tensor, match: cocosnet.Match) -> Tensor:
        """The generator on an exemplar without any place: its mean colour everywhere."""
        shown = match.colours if self.model.config.form == "paper" else match.warped
        mean = shown.mean(dim=(2, 3), keepdim=True).expand_as(shown)
        return self.model.generator(mean.contiguous(), x)


def check_weights(weights: Weights, setting: str) -> None:
    """CocosError unless these are the weights that a run's settings name."""
    if setting not in (weights.sha256, weights.name):
        raise CocosError(
            f"--weights {weights.name}: other weights than the results are of (sha256 "
            f"{weights.sha256[:16]}, there {setting[:16]}).",
            "Give the weights that translated.",
        )
