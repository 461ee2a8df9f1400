"""What held-out samples say of a network in training: figures that need no download, and panels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cocosnet
import numpy as np
import torch
from torch import Tensor

from cocoscli.data.conditions import CONDITIONS, preview
from cocoscli.data.encoding import encode_image
from cocoscli.data.training import TrainingItem
from cocoscli.engine.device import autocast
from cocoscli.engine.tensors import condition_tensor, photo_tensor, to_uint8
from cocoscli.engine.training.loading import Loaded
from cocoscli.metrics.correspondence import copy_score, cycle_error, label_transfer

BATCH = 4
PANELS = 6
"""Samples that previews show."""
PANEL_COLUMNS = ("input", "exemplar", "warp", "result", "truth")
GAP = 4


@dataclass(frozen=True)
class HeldOut:
    """Fixed samples: with their best exemplars, and with themselves, bent, as exemplars."""

    real: list[TrainingItem]
    bent: list[TrainingItem]


@dataclass(frozen=True)
class Judge:
    """Runs a network over held-out samples."""

    device: torch.device
    precision: str
    samples: HeldOut

    @torch.inference_mode()
    def figures(self, model: cocosnet.CoCosNet) -> dict[str, float]:
        """Means over the samples:

        reconstruction    L1 (-1..1) of the photo drawn after itself, bent; lower is better
        confidence        of the match, 0..1 (1: one sure match a position)
        cycle_pixels      from a position to the best match of its best match
        cycle             L1 (-1..1) of the exemplar warped there and back
        copy_score        below 0: results resemble their exemplars pixel by pixel
        label_accuracy, label_miou    of the warped exemplar masks, for label maps
        """
        sums: dict[str, list[float]] = {}

        def note(**values: Tensor) -> None:
            for name, value in values.items():
                sums.setdefault(name, []).extend(value.flatten().tolist())

        for batch, out in self._run(model, self.samples.bent):
            photo = photo_tensor(batch.photo, self.device)
            note(reconstruction=(out.image - photo).abs().mean(dim=(1, 2, 3)))
        for batch, out in self._run(model, self.samples.real):
            exemplar = photo_tensor(batch.exemplar, self.device)
            note(
                confidence=out.match.confidence.mean(dim=(1, 2)),
                cycle_pixels=out.match.cycle_error.mean(dim=(1, 2)),
                cycle=cycle_error(out.match, exemplar),
            )
            if len(exemplar) > 1:
                note(copy_score=copy_score(out.image, exemplar, exemplar.roll(1, dims=0)))
            if self._labels(model) and batch.exemplar_condition is not None:
                note(**self._transfer(model, batch, out.match))
        return {name: float(np.mean(values)) for name, values in sums.items()}

    def _labels(self, model: cocosnet.CoCosNet) -> bool:
        return CONDITIONS[model.condition.kind].is_labels

    def _transfer(
        self, model: cocosnet.CoCosNet, batch: Loaded, match: cocosnet.Match
    ) -> dict[str, Tensor]:
        assert batch.exemplar_condition is not None
        mask = self._planes(model, batch.condition)
        exemplar_mask = self._planes(model, batch.exemplar_condition)
        accuracy, miou = label_transfer(match, exemplar_mask, mask)
        return {"label_accuracy": accuracy, "label_miou": miou}

    def _run(
        self, model: cocosnet.CoCosNet, items: list[TrainingItem]
    ) -> Iterator[tuple[Loaded, cocosnet.Output]]:
        for start in range(0, len(items), BATCH):
            part = items[start : start + BATCH]
            batch = Loaded.of(part, tuple(range(start, start + len(part))))
            yield batch, self._output(model, batch)

    def _output(self, model: cocosnet.CoCosNet, batch: Loaded) -> cocosnet.Output:
        given = None
        if model.config.needs_exemplar_input and batch.exemplar_condition is not None:
            given = self._planes(model, batch.exemplar_condition)
        with autocast(self.precision, self.device):
            exemplar = photo_tensor(batch.exemplar, self.device)
            return model(self._planes(model, batch.condition), exemplar, given)

    def _planes(self, model: cocosnet.CoCosNet, arrays: Tensor) -> Tensor:
        return condition_tensor(arrays, model.condition, self.device)

    @torch.inference_mode()
    def panels(self, model: cocosnet.CoCosNet) -> bytes:
        """A JPEG: a row a sample, `PANEL_COLUMNS` across."""
        rows: list[list[np.ndarray]] = []
        for batch, out in self._run(model, self.samples.real[:PANELS]):
            kind = model.condition.kind
            columns = (
                (preview(array, kind) for array in batch.condition.numpy()),
                batch.exemplar.numpy(),
                to_uint8(out.warped),
                to_uint8(out.image),
                batch.photo.numpy(),
            )
            rows += map(list, zip(*columns, strict=True))
        return encode_image(_sheet(rows), "jpg", 90)


def _sheet(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Pictures of one size in rows, a white gap between."""
    height, width = rows[0][0].shape[:2]
    sheet = np.full(
        (len(rows) * (height + GAP) - GAP, len(rows[0]) * (width + GAP) - GAP, 3), 255, np.uint8
    )
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            top, left = y * (height + GAP), x * (width + GAP)
            sheet[top : top + height, left : left + width] = picture
    return sheet


def warnings(figures: dict[str, float], terms: dict[str, float], weight: float) -> Iterator[str]:
    """What is going wrong, in words, with a remedy: from validation and the last steps' terms.

    `weight` is that of the adversarial terms.
    """
    if figures.get("confidence", 1.0) < UNSURE:
        yield (
            f"matches are unsure (confidence {figures['confidence']:.2f}): every position takes a "
            "little of everything. It passes early in training; else raise losses.domain, or check "
            "that conditions belong to their photos."
        )
    if figures.get("copy_score", 0.0) < COPYING:
        yield (
            f"results copy their exemplars pixel by pixel (copy score {figures['copy_score']:.2f})"
            ": raise losses.perc, add 'warp' or 'crop' to data.pseudo, or lower "
            "data.exemplars.pseudo."
        )
    real, fake = terms.get("discriminator_real"), terms.get("discriminator_fake")
    if real is not None and fake is not None and real + fake < WON * weight:
        yield (
            "the discriminator has won (it tells results from photos without fail): lower "
            "optimiser.lr_discriminator, or train on more photos."
        )


UNSURE = 0.1
COPYING = -0.35
WON = 0.02
"""Past these `warnings` speaks; a discriminator that knows nothing has a loss of 2."""
