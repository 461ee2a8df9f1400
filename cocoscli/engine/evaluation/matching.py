"""The pairs of a run matched by its weights: figures of the correspondence, and translations."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import cocosnet
import numpy as np
import torch
from cocosnet.flow import displacement_at
from torch import Tensor

from cocoscli.data.conditions import CONDITIONS
from cocoscli.data.images import Size
from cocoscli.data.points import PointFile, scaled
from cocoscli.data.reading import ConditionReader
from cocoscli.engine.evaluation.sources import Sources
from cocoscli.engine.items import (
    ExemplarImage,
    exemplar_image,
    matched_size,
    pad,
    parse_size,
)
from cocoscli.engine.models import Weights
from cocoscli.engine.network import Computing, Network
from cocoscli.engine.tensors import to_uint8
from cocoscli.errors import CocosError
from cocoscli.metrics.correspondence import cycle_error, label_transfer, pck
from cocoscli.metrics.quality import PCK, Figures

KEPT = 16
"""Encoded exemplars that are kept."""


@dataclass
class MatchInput:
    """What a pair is matched by, and drawn from."""

    exemplar: str
    """Its name."""
    condition: np.ndarray
    """(P,H,W) of the input, padded to what networks take."""
    size: Size
    """Its true (width, height)."""
    small: np.ndarray | None
    """(P,h,w): all of it at the size that is matched, where that is smaller."""
    image: ExemplarImage
    exemplar_map: np.ndarray | None
    """(P,h',w') of the exemplar as it is matched, where conditions are label maps."""
    points: tuple[np.ndarray, np.ndarray] | None
    """(N,2) xy of the points of both, in pixels of what is matched; of those known in both."""

    @property
    def matched(self) -> np.ndarray:
        """The condition as it is matched."""
        return self.condition if self.small is None else self.small

    @property
    def matched_size(self) -> Size:
        """Its true (width, height)."""
        return self.size if self.small is None else (self.small.shape[2], self.small.shape[1])


@dataclass(frozen=True)
class MatchReader:
    """Reads what pairs are matched by, as the run that is evaluated did."""

    sources: Sources
    conditions: ConditionReader
    with_condition: bool
    """Whether the network takes conditions of exemplars."""
    size: Size | None
    """(width, height) that inputs are brought to; None: their own."""
    match_size: int | None
    points: PointFile | None

    def read(self, key: str, exemplar: str) -> MatchInput:
        """An input and an exemplar. Raises BadInput."""
        condition = self.sources.inputs.condition(self.conditions, key, self.size)
        height, width = condition.shape[1:]
        matched = matched_size((width, height), self.match_size)
        small = None
        if matched:
            small = self.sources.inputs.condition(self.conditions, key, matched)
        photo = self.sources.exemplars.photo(exemplar)
        read = partial(self.sources.exemplars.condition, self.conditions, exemplar)
        given = read if self.with_condition else None
        image = exemplar_image(photo, self.size or photo.size, self.match_size, given)
        labels = CONDITIONS[self.conditions.layout.kind].is_labels
        seen = _size_of(image.matched)
        return MatchInput(
            exemplar, pad(condition), (width, height), small, image,
            exemplar_map=read(seen) if labels else None,
            points=self._points(key, matched or (width, height), exemplar, photo.size, seen),
        )  # fmt: skip

    def _points(
        self, key: str, size: Size, exemplar: str, photo: Size, seen: Size
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """The points that a file knows of both, in pixels of what is matched. Raises BadInput."""
        if self.points is None:
            return None
        file = self.sources.inputs.file_size(key)
        ours, theirs = self.points.of(key, file), self.points.of(exemplar, photo)
        place = {name: n for n, name in enumerate(theirs.names)}
        both = [(n, place[name]) for n, name in enumerate(ours.names) if name in place]
        a, b = np.array(both, int).reshape(-1, 2).T
        return scaled(ours.xy[a], file, size), scaled(theirs.xy[b], photo, seen)


def _size_of(photo: np.ndarray) -> Size:
    return photo.shape[1], photo.shape[0]


class Matched(NamedTuple):
    """What a network makes of a pair."""

    figures: Figures
    """(1,) each: of the correspondence."""
    unmoved: Figures
    """The same figures where everything stays in its place; those that need no label maps."""
    unmatched: np.ndarray | None
    """(H,W,3) uint8: its translation by the exemplar's mean colour alone."""
    image: np.ndarray | None
    """(H,W,3) uint8: its translation."""


@dataclass
class Matcher:
    """A network that matches pairs one by one, and draws what is asked for."""

    network: Network
    reader: MatchReader
    draws: bool
    """Whether pairs are translated."""
    compares: bool
    """Whether they are translated without their matches, too."""
    _banks: OrderedDict[tuple[Any, ...], cocosnet.ExemplarBank] = field(default_factory=OrderedDict)

    @staticmethod
    def of(
        weights: Weights,
        sources: Sources,
        settings: Mapping[str, Any],
        points: PointFile | None,
        device: torch.device,
        *,
        draws: bool,
        compares: bool,
    ) -> Matcher:
        """As the settings of a run say."""
        model = weights.model
        conditions = ConditionReader(
            sources.layout, model.config.channels, sources.ignore, sources.colors
        )
        size = parse_size(str(settings["size"]))
        reader = MatchReader(
            sources, conditions, model.config.needs_exemplar_input, size,
            settings.get("match_size"), points,
        )  # fmt: skip
        computing = Computing(device=device, precision=str(settings.get("precision", "fp32")))
        network = Network(model, conditions, computing, varied=size is None)
        return Matcher(network, reader, draws, compares)

    def measure(self, pair: MatchInput) -> Matched:
        """Match a pair, and draw it where that is wanted. MemoryError where it does not fit."""
        model, network = self.network.model, self.network
        height, width = pair.condition.shape[1:]
        network.check_room((width, height), 1)
        bank = self._bank(pair)
        x = network.planes([pair.condition])
        with network.running():
            features = network.features([pair])
            match = model.match(features, bank)
            figures = self._figures(pair, match) | _found(pair, match)
            placed = network.match(features, bank, pair) if self.draws or self.compares else match
            drawn = (
                model.render(x, placed).image if self.draws else None,
                self._by_mean_colour(x, placed) if self.compares else None,
            )
        image, unmatched = (None if y is None else _cut(y, pair.size) for y in drawn)
        return Matched(figures, _stayed(pair), unmatched, image)

    def _bank(self, pair: MatchInput) -> cocosnet.ExemplarBank:
        """The exemplar encoded, kept for the pairs that come."""
        key = (pair.exemplar, pair.image.photo.shape, pair.image.matched.shape)
        bank = self._banks.pop(key, None) or self.network.encode(pair.image)
        self._banks[key] = bank
        if len(self._banks) > KEPT:
            self._banks.popitem(last=False)
        return bank

    def _figures(self, pair: MatchInput, match: cocosnet.Match) -> Figures:
        """On the matching grid."""
        figures = {"cycle_l1": cycle_error(match, self.network.photos([pair.image.matched]))}
        if pair.exemplar_map is not None:
            given = self.network.planes([pair.exemplar_map])
            seen = self.network.planes([pair.matched])
            transfer = label_transfer(match, given, seen)
            figures |= {"label_accuracy": transfer.accuracy, "label_miou": transfer.miou}
        return figures

    def _by_mean_colour(self, x: Tensor, match: cocosnet.Match) -> Tensor:
        """The generator on an exemplar without any place: its mean colour everywhere."""
        shown = match.colours if self.network.model.config.form == "paper" else match.warped
        mean = shown.mean(dim=(2, 3), keepdim=True).expand_as(shown)
        return self.network.model.generator(mean.contiguous(), x)


def _cut(image: Tensor, size: Size) -> np.ndarray:
    return to_uint8(image)[0, : size[1], : size[0]]


def _found(pair: MatchInput, match: cocosnet.Match) -> Figures:
    """How close the matches of points come; {} where none are known."""
    if pair.points is None:
        return {}
    at = torch.from_numpy(pair.points[0]).to(match.refined_flow)
    found = at + displacement_at(match.refined_flow, at)[0]
    return _pck(found.cpu().double(), pair)


def _stayed(pair: MatchInput) -> Figures:
    """The same of points that stay at their place in the image."""
    if pair.points is None:
        return {}
    stayed = scaled(pair.points[0], pair.matched_size, _size_of(pair.image.matched))
    return _pck(torch.from_numpy(stayed), pair)


def _pck(found: Tensor, pair: MatchInput) -> Figures:
    assert pair.points is not None
    truth = torch.from_numpy(pair.points[1])
    extent = torch.tensor([float(max(_size_of(pair.image.matched)))])
    within = {name: pck(found[None], truth[None], extent, alpha) for name, alpha in PCK.items()}
    counted = torch.tensor([float(len(truth))])
    return {name: share.images for name, share in within.items()} | {"points": counted}


def check_weights(weights: Weights, setting: str) -> None:
    """CocosError unless these are the weights that a run's settings name."""
    if setting not in (weights.sha256, weights.name):
        raise CocosError(
            f"--weights {weights.name}: other weights than the results are of (sha256 "
            f"{weights.sha256[:16]}, there {setting[:16]}).",
            "Give the weights that translated.",
        )
