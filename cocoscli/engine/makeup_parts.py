"""The parts of a source's face where no file says them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cocoscli.data.makeup_regions import landmark_parts
from cocoscli.data.model_face import LANDMARKS, model_windows
from cocoscli.data.originals import Original
from cocoscli.data.portraits import find_parts
from cocoscli.data.smooth_maps import affine, inverse, mapped
from cocoscli.data.windows import Window, whole
from cocoscli.engine.alignment import LEAST, Aligner

MARGIN = 0.15
"""What is looked at around the landmarks, as a share of their height."""


class PartFinder:
    """Finds the parts of centred portraits: with the extra `[faces]`, or roughly, by laying them
    over a face whose parts are known."""

    def __init__(self, aligner: Aligner, *, extra: bool) -> None:
        self.aligner, self.extra = aligner, extra

    def __call__(self, original: Original) -> Mapping[str, np.ndarray] | None:
        """(H,W) bool masks by name; None where no face is found."""
        return find_parts(original) if self.extra else self._by_match(original)

    def _by_match(self, original: Original) -> Mapping[str, np.ndarray] | None:
        portrait = whole(original)
        tried = [self._laid_over(model, portrait) for model in model_windows()]
        agreement, points = max(tried, key=lambda each: each[0])
        if agreement < LEAST:
            return None
        return landmark_parts(affine(portrait.place, points), original.size)

    def _laid_over(self, model: Window, portrait: Window) -> tuple[float, np.ndarray]:
        """How well a portrait agrees with the known face, and its landmarks in its window."""
        marks = affine(inverse(model.place), LANDMARKS)
        low, high = marks.min(axis=0), marks.max(axis=0)
        half = (0.5 + MARGIN) * float((high - low).max())
        x, y = (low + high) / 2
        with self.aligner.network.running():
            anchor = self.aligner.anchor(model, (x - half, y - half, x + half, y + half))
            (placement,) = self.aligner.align(anchor, [portrait])
        near = affine(inverse(anchor.view), marks)
        return placement.agrees, mapped(placement.map, near[:, None])[:, 0]
