"""The figures of one pair, by name: what each says, and which end is the better one."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from cocoscli.metrics.semantic import ClassFeatures, semantic_consistency, style_relevance

Figures = dict[str, Tensor]
"""(B,) by name."""


@dataclass(frozen=True)
class Figure:
    """What a figure is."""

    title: str
    better: str
    """`higher` or `lower`."""
    words: str


FIGURES = {
    "semantic_consistency": Figure(
        "Consistency", "higher", "with the input's real photo, class by class (Table 2)"
    ),
    "style_colour": Figure("Colour", "higher", "with the exemplar, class by class (Table 3)"),
    "style_texture": Figure("Texture", "higher", "with the exemplar, class by class (Table 3)"),
    "copy_score": Figure(
        "Copy", "higher",
        "L1 to the exemplar less that to another one; well below 0: copies its exemplar",
    ),
    "lpips": Figure("LPIPS", "higher", "between results of one input, under other exemplars"),
    "diversity": Figure(
        "Diversity", "higher", "VGG distance between results of one input, under other exemplars"
    ),
    "label_accuracy": Figure(
        "Labels", "higher", "cells whose class the exemplar's warped map tells"
    ),
    "label_miou": Figure("mIoU", "higher", "overlap of the exemplar's warped map, mean of classes"),
    "pck_05": Figure("PCK@0.05", "higher", "points matched within 0.05 of the exemplar's side"),
    "pck_10": Figure("PCK@0.1", "higher", "points matched within 0.1 of the exemplar's side"),
    "cycle_l1": Figure("Cycle", "lower", "L1 of the exemplar warped there and back"),
    "psnr": Figure("PSNR", "higher", "decibels, against the truth"),
    "ssim": Figure("SSIM", "higher", "against the truth"),
    "truth_distance": Figure("VGG distance", "lower", "to the truth"),
}  # fmt: skip
PCK = {"pck_05": 0.05, "pck_10": 0.1}
"""How far a match may lie off, as a share of the exemplar's longer side."""
SETS = {
    "fid": Figure("FID", "lower", "Inception's features of all results and all real photos"),
    "frechet_vgg": Figure(
        "Frechet (VGG)", "lower", "the same distance on the mean of VGG's relu5_2; not FID"
    ),
    "swd": Figure("SWD", "lower", "patches of Laplacian pyramids, x 1000"),
}
"""Figures of whole sets."""


def compare(image: ClassFeatures, photo: ClassFeatures, exemplar: ClassFeatures) -> Figures:
    """Images over their inputs' maps, with the inputs' photos and with exemplars."""
    return {"semantic_consistency": semantic_consistency(image, photo), **style(image, exemplar)}


def style(image: ClassFeatures, exemplar: ClassFeatures) -> Figures:
    """Images over their inputs' maps with exemplars over their own."""
    found = style_relevance(image, exemplar)
    return {"style_colour": found.colour, "style_texture": found.texture}
