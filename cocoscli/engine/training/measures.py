"""What a training run measures, in words, and which measures share a chart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Chart:
    """One plot: `lines` is measure -> its name in the legend ("" where it is alone)."""

    title: str
    words: str
    lines: Mapping[str, str]
    better: str = ""
    """`lower`, `higher`, or "" where neither is."""


@dataclass(frozen=True)
class Section:
    """Charts under one heading, of measures of one `kind`: `terms`, `figures` or `machine`."""

    title: str
    words: str
    kind: str
    charts: tuple[Chart, ...]
    smooth: bool = True
    """Noisy measures, to be smoothed."""
    others: bool = True
    """Measures of the kind that no section knows stand here."""

    def all_charts(self, measured: Iterable[str]) -> Iterator[Chart]:
        """The charts, then one for every measured name that is in none."""
        yield from self.charts
        if self.others:
            known = {n for s in SECTIONS if s.kind == self.kind for c in s.charts for n in c.lines}
            yield from (Chart(_title(name), "", {name: ""}) for name in measured
                        if name not in known)  # fmt: skip


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _one(name: str, title: str, words: str, better: str = "") -> Chart:
    return Chart(title, words, {name: ""}, better)


SECTIONS = (
    Section(
        "Validation", "On the held-out samples.", "figures",
        (
            _one("reconstruction", "Reconstruction",
                 "L1 of photos drawn after themselves, bent; decides which weights are the best",
                 "lower"),
            _one("confidence", "Confidence", "of the match; 1: one sure match a position",
                 "higher"),
            _one("cycle_pixels", "Cycle, pixels",
                 "from a position to the best match of its best match", "lower"),
            _one("cycle", "Cycle, colours", "L1 of exemplars warped there and back", "lower"),
            _one("copy_score", "Copy score",
                 "well below 0, results copy their exemplars pixel by pixel", "higher"),
            _one("label_accuracy", "Label accuracy",
                 "pixels whose class the warped exemplar mask tells", "higher"),
            _one("label_miou", "Label IoU", "overlap of warped and true masks, mean of classes",
                 "higher"),
        ),
        smooth=False,
    ),
    Section(
        "Generator", "Loss terms times their weights: their sum is Eq. 14.", "terms",
        (
            _one("feat", "Features", "result and photo, where the exemplar is a pseudo one, Eq. 8"),
            _one("perc", "Perceptual", "content of result and photo, Eq. 10"),
            _one("context", "Contextual", "style of result and exemplar, Eq. 11"),
            _one("domain", "Domain", "alignment of condition and photo, Eq. 9"),
            _one("reg", "Cycle", "exemplars warped there and back, Eq. 12"),
            _one("adversarial", "Adversarial", "the generator's share of Eq. 13"),
            _one("discriminator_features", "Discriminator's features",
                 "of result and photo, L1"),
            _one("mask", "Mask", "cross-entropy of the warped exemplar mask"),
            _one("warp_self", "Warp of itself", "L1 of warp and photo, pseudo exemplars"),
            _one("pixels", "Pixels", "L1 of result and photo, pseudo exemplars"),
        ),
    ),
    Section(
        "Balance", "Generator against discriminator.", "terms",
        (
            Chart("Discriminator", "Eq. 13, weighted; both near 0: it has won; both at their "
                  "weight: it knows nothing",
                  {"discriminator_real": "photos", "discriminator_fake": "results"}),
            Chart("Gradient norms", "before clipping",
                  {"gradient_generator": "generator",
                   "gradient_discriminator": "discriminator"}),
        ),
        others=False,
    ),
    Section(
        "Machine", "", "machine",
        (
            _one("images_per_second", "Images a second", "over all processes"),
            _one("memory_mb", "Memory, MB", "the most that the first process has taken"),
        ),
    ),
)  # fmt: skip
