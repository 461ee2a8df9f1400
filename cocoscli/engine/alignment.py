"""Where each part of a source portrait lies in a target: coarse over the whole window, then close
up around the makeup, twice, with the target moved to where it was found.

Maps lead from the source to the target, because that is how the target is looked at; `Placement`
turns them around.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from cocosnet.registration import Registration, features_of, register
from torch import Tensor

from cocoscli.data.conditions import edge_condition
from cocoscli.data.smooth_maps import affine, cells, inverse, inverted, mapped, smoothed
from cocoscli.data.windows import SIDE, Window
from cocoscli.engine.network import Network

SEEN = 128
"""Pixels of a side of close-ups as networks see them: a face about as large as weights trained at
256 px have seen it, in a fourth of the time."""
FAR = 96
"""The same of whole windows, where a face is only found."""
WHOLE = np.array([[SIDE / FAR, 0, (SIDE / FAR - 1) / 2], [0, SIDE / FAR, (SIDE / FAR - 1) / 2]])
"""xy in pixels of the whole window at that size -> of the window."""


Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Look:
    """How a target is looked at in one round."""

    reach: int
    """Cells that a displacement may have."""
    spread: float
    """Cells over which neighbours decide together."""
    tolerance: float
    """Pixels that matches may lie off the smooth map before they are doubted."""


FIRST = Look(reach=9, spread=1.2, tolerance=18)
CLOSE = Look(reach=6, spread=1.2, tolerance=12)
CLOSE_LOOKS = 2
"""With one, makeup lies clearly worse; with more, no better."""
VIA = ("auto", "photo", "condition", "both")
"""What targets may be matched by."""
APART, ALIKE = 0.2, 0.4
"""Agreements of which makeup fades out, and is put on wholly."""
LEAST = 0.3
"""A face agrees with the source's at least so much."""
CYCLE = 8.0
"""Pixels of cycle error at which a match counts for little."""


@dataclass(frozen=True)
class Anchor:
    """A source as targets are laid over it."""

    view: np.ndarray
    """(2,3): xy in pixels of the close-up -> of the source's window."""
    far: Tensor
    """(1,h,w,C): the features of the whole window."""
    near: Tensor
    """(1,h,w,C): those of the close-up."""

    @property
    def grid(self) -> tuple[int, int]:
        return self.near.shape[1], self.near.shape[2]


@dataclass(frozen=True)
class Placement:
    """Where a source lies in a target's window."""

    map: np.ndarray
    """(h,w,2): of each cell of the close-up, xy in the target's window."""
    agreement: np.ndarray
    """(h,w): how alike the two are there, -1..1."""
    cycle_error: np.ndarray
    """(h,w), pixels of the close-up."""

    @property
    def agrees(self) -> float:
        """How alike they are in the whole close-up."""
        return float(self.agreement.mean())

    def near(self, places: np.ndarray) -> np.ndarray:
        """xy (H,W,2) in the target's window -> in pixels of the source's close-up."""
        return inverted(self.map, places)

    @property
    def share(self) -> np.ndarray:
        """(h,w), 0..1: how much of the makeup is put on; none where there is no match."""
        agree = ((self.agreement - APART) / (ALIKE - APART)).clip(0, 1)
        return agree * np.exp(-((self.cycle_error / (2 * CYCLE)) ** 2))


class Aligner:
    """Lays targets over sources by a network's features."""

    def __init__(self, network: Network, via: str) -> None:
        self.network, self.via = network, via

    def anchor(self, window: Window, box: Box) -> Anchor:
        """A source whose makeup lies within a square of its window: left, top, right, bottom."""
        left, top, right, bottom = box
        scale = (right - left) / SEEN
        middle = np.array([left + right, top + bottom]) / 2
        view = np.array([[scale, 0, 0], [0, scale, 0]])
        view[:, 2] = middle - scale * (SEEN - 1) / 2
        far, near = self.whole(window, FAR), window.look(affine(view, pixels(SEEN)))
        return Anchor(view, self._features([far], source=True), self._features([near], source=True))

    def align(self, anchor: Anchor, windows: Sequence[Window]) -> list[Placement]:
        """Where the source lies in each target."""
        maps = self._coarse(anchor, windows)
        for _ in range(CLOSE_LOOKS):
            views = [
                window.look(mapped(there, pixels(SEEN)))
                for window, there in zip(windows, maps, strict=True)
            ]
            found = register(anchor.near, self._features(views), CLOSE.reach, CLOSE.spread)
            maps = [
                mapped(there, cells(anchor.grid) + moves)
                for there, moves in zip(maps, _smooth(found, CLOSE), strict=True)
            ]
        agreement, errors = (x.cpu().numpy() for x in (found.agreement, found.cycle_error))
        parts = zip(maps, agreement, errors, strict=True)
        return [Placement(*part) for part in parts]

    def _coarse(self, anchor: Anchor, windows: Sequence[Window]) -> list[np.ndarray]:
        """The map (h,w,2) of the close-up's cells to each target, from whole windows."""
        views = [self.whole(window, FAR) for window in windows]
        found = register(anchor.far, self._features(views), FIRST.reach, FIRST.spread)
        places = affine(inverse(WHOLE), affine(anchor.view, cells(anchor.grid)))
        return [
            mapped(affine(WHOLE, cells(moves.shape[:2]) + moves), places)
            for moves in _smooth(found, FIRST)
        ]

    def whole(self, window: Window, side: int) -> np.ndarray:
        """All of a window, (side,side,3) uint8."""
        return window.look((pixels(side) + 0.5) * (SIDE / side) - 0.5)

    def _features(self, views: Sequence[np.ndarray], *, source: bool = False) -> Tensor:
        """Features (B,h,w,C) of views: as photos, by their edges, or both beside each other, each
        at one strength. By `condition` a source is a photo and a target its edges."""
        model, network = self.network.model, self.network
        sides = []
        if self.via != "condition" or source:
            sides.append(model.encode_photo(network.photos(views)).side)
        if self.via == "both" or (self.via == "condition" and not source):
            edges = network.planes([edge_condition(view) for view in views])
            sides.append(model.encode_input(edges).side)
        found = [features_of(side) for side in sides]
        return torch.cat(
            [x / x.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() for x in found], -1
        )


def pixels(side: int) -> np.ndarray:
    """(side,side,2): xy of a square's pixels."""
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    return np.stack([x, y], axis=-1).astype(np.float64)


def _smooth(found: Registration, look: Look) -> Iterator[np.ndarray]:
    """The smooth displacements (h,w,2) of each target."""
    trust = found.certainty * torch.exp(-((found.cycle_error / CYCLE) ** 2))
    for moves, weight in zip(found.moves.cpu().numpy(), trust.cpu().numpy(), strict=True):
        yield smoothed(moves, weight, look.tolerance)
