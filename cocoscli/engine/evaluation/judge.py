"""Figures of pairs: images -> features -> class means -> a number a pair, batch by batch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from cocoscli.data.planes import expand
from cocoscli.engine.evaluation.diversity import Diversity
from cocoscli.engine.evaluation.items import Pair
from cocoscli.engine.evaluation.matching import Matched, Matcher
from cocoscli.engine.evaluation.store import FeatureStore, mark_of
from cocoscli.engine.features import Features
from cocoscli.engine.tensors import photo_tensor, to_uint8
from cocoscli.metrics.baselines import class_colours, colour_transfer
from cocoscli.metrics.correspondence import copy_score, unmoved_transfer
from cocoscli.metrics.fidelity import feature_distance, psnr, ssim
from cocoscli.metrics.quality import Figures, style
from cocoscli.metrics.semantic import (
    COLOUR,
    LAYERS,
    TEXTURE,
    ClassFeatures,
    class_cosines,
    content_cosines,
    semantic_consistency,
    shared_areas,
)

RESULT = "results"
CLASS_COLOURS, TRANSFER, UNMOVED = "class colours", "colour transfer", "the exemplar, unmoved"
UNMATCHED = "no correspondence"
BASELINES = (CLASS_COLOURS, TRANSFER, UNMATCHED, UNMOVED)
VOID = 255
"""From this id on label maps say nothing where no other is set."""


@dataclass(frozen=True)
class Measured:
    """One row's images of a group of pairs, and their figures."""

    row: str
    pairs: list[int]
    """The pairs' numbers."""
    images: np.ndarray
    """(B,H,W,3) uint8."""
    figures: Figures


def groups(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Pairs that can be computed together: of one size, and with the same things known."""
    found: dict[tuple, list[Pair]] = defaultdict(list)
    for pair in pairs:
        known = (pair.exemplar, pair.other, pair.photo, pair.truth, pair.labels,
                 pair.exemplar_labels, pair.match)  # fmt: skip
        found[(pair.size, *(x is None for x in known))].append(pair)
    return list(found.values())


@dataclass
class ClassSums:
    """Cosines of each class over all results, by class id."""

    sums: dict[str, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    counts: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, name: str, cosines: Tensor, areas: Tensor, ids: list[int]) -> None:
        """Take cosines (B,K) of the classes `ids`, where their areas (B,K) are above 0."""
        there = areas > 0
        totals = torch.where(there, cosines, 0).double().sum(dim=0).tolist()
        for id, total, count in zip(ids, totals, there.sum(dim=0).tolist(), strict=True):
            if count:
                self.sums[name][id] = self.sums[name].get(id, 0.0) + total
                self.counts[name][id] = self.counts[name].get(id, 0) + count

    def means(self) -> dict[int, dict[str, float]]:
        """By class id: the mean of each figure over the results that have it, and `images`."""
        found: dict[int, dict[str, float]] = defaultdict(dict)
        for name, sums in self.sums.items():
            for id, total in sums.items():
                count = self.counts[name][id]
                found[id][name] = total / count
                found[id]["images"] = max(found[id].get("images", 0), count)
        return dict(sorted(found.items()))


@dataclass(frozen=True)
class Maps:
    """Label maps of a group with the classes that occur in it numbered anew, background first."""

    ids: list[int]
    """What the classes were."""
    labels: Tensor
    """(B,H,W); len(ids) where there is none."""
    exemplar_labels: Tensor | None

    @staticmethod
    def of(pairs: Sequence[Pair], ignore: int | None, device: torch.device) -> Maps:
        maps = [[p.labels for p in pairs], [p.exemplar_labels for p in pairs]]
        known = [np.stack(m).astype(np.int64) for m in maps if m[0] is not None]  # type: ignore[arg-type]
        present = set(np.unique(np.concatenate([m.ravel() for m in known])).tolist()) - {ignore}
        ids = sorted({0, *present})
        # Ids that are ignored stand behind the last class.
        table = np.full(max(max(ids), *(int(m.max()) for m in known)) + 1, len(ids))
        table[ids] = np.arange(len(ids))
        if ignore is not None and ignore < len(table):  # even where it is 0
            table[ignore] = len(ids)
        labels, *others = (torch.from_numpy(table[m]).to(device) for m in known)
        return Maps(ids, labels, others[0] if others else None)

    def unmoved(self) -> Figures:
        """How well the exemplars' maps fit the inputs' as they lie; {} without the former."""
        if self.exemplar_labels is None:
            return {}
        both = (self.exemplar_labels, self.labels)
        planes = (expand(ids[:, None], "labels", len(self.ids), None) for ids in both)
        accuracy, miou = unmoved_transfer(*planes)
        return {"label_accuracy": accuracy, "label_miou": miou}


class Judge:
    """Measures groups of pairs: their results, and baselines of the same pairs."""

    def __init__(
        self,
        features: Features | None,
        device: torch.device,
        ignore: int | None,
        baselines: bool,
        diversity: Diversity,
        matcher: Matcher | None,
        store: FeatureStore,
    ) -> None:
        """Without `features` images are compared by their pixels alone."""
        self.vgg = features.module if features else None
        self.network, self.store = features.identity if features else "", store
        self.device, self.ignore, self.baselines = device, ignore, baselines
        self.classes = ClassSums()
        self.diversity = diversity
        self.matcher = matcher

    @torch.inference_mode()
    def measure(self, pairs: list[Pair]) -> Iterator[Measured]:
        """The rows of a batch, group by group, the results of each first."""
        self.diversity.forget([pair.k for pair in pairs])
        for group in groups(pairs):
            yield from self._measure(group)

    def _measure(self, pairs: list[Pair]) -> Iterator[Measured]:
        matched = self.draw(pairs)
        exemplar = self._photos([pair.exemplar for pair in pairs])
        other = self._photos([pair.other for pair in pairs])
        truth = self._photos([pair.truth for pair in pairs])
        maps = None if pairs[0].labels is None else Maps.of(pairs, self.ignore, self.device)
        seen = None
        if self.baselines and maps and exemplar is not None:
            seen = self._activations(exemplar)
        compared = self._compared(pairs, seen, maps)
        true = None if truth is None else self._activations(truth)
        numbers = [pair.k for pair in pairs]
        of_match = {RESULT: joined([one.figures for one in matched]),
                    UNMOVED: joined([one.unmoved for one in matched])}  # fmt: skip
        for row, images in self._rows(pairs, exemplar, maps, matched):
            pixels = self._tensor(list(images))
            figures: Figures = dict(of_match.get(row, {}))
            activations = None
            if row == UNMOVED and seen:
                activations = seen
            elif maps or true or (row == RESULT and self.diversity.wanted):
                activations = self._activations(pixels)
            if maps and activations:
                own = ClassFeatures.of(activations, maps.labels, len(maps.ids))
                figures |= compared.figures(own)
                if row == RESULT:
                    compared.note(own, self.classes, maps.ids)
            if row == UNMOVED and maps and "label_miou" in of_match[RESULT]:
                figures |= maps.unmoved()
            if exemplar is not None and other is not None:
                figures["copy_score"] = copy_score(pixels, exemplar, other)
            if truth is not None:
                figures |= _against_truth(images, [p.truth for p in pairs])  # type: ignore[misc]
            if true and activations:
                figures["truth_distance"] = feature_distance(activations, true)
            if row == RESULT and activations and self.diversity.wanted:
                self.diversity.add(numbers, images, activations)
            yield Measured(row, numbers, images, figures)

    def _activations(self, images: Tensor) -> dict[str, Tensor] | None:
        return self.vgg(images, LAYERS) if self.vgg is not None else None

    def _rows(
        self,
        pairs: list[Pair],
        exemplar: Tensor | None,
        maps: Maps | None,
        matched: list[Matched],
    ) -> Iterator[tuple[str, np.ndarray]]:
        yield RESULT, np.stack([pair.result for pair in pairs])
        if not self.baselines or exemplar is None:
            return
        if maps and maps.exemplar_labels is not None:
            filled = class_colours(maps.labels, exemplar, maps.exemplar_labels, len(maps.ids))
            yield CLASS_COLOURS, to_uint8(filled)
        if pairs[0].photo is not None:
            moved = [colour_transfer(p.photo, p.exemplar) for p in pairs]  # type: ignore[arg-type]
            yield TRANSFER, np.stack(moved)
        unmatched = [one.unmatched for one in matched if one.unmatched is not None]
        if unmatched:
            yield UNMATCHED, np.stack(unmatched)
        yield UNMOVED, np.stack([pair.exemplar for pair in pairs])  # type: ignore[misc]

    @torch.inference_mode()
    def draw(self, pairs: list[Pair]) -> list[Matched]:
        """What the network makes of the pairs; those without an image take the one it draws."""
        if self.matcher is None or pairs[0].match is None:
            return []
        matched = [self.matcher.measure(pair.match) for pair in pairs if pair.match is not None]
        for pair, one in zip(pairs, matched, strict=True):
            pair.image = one.image if pair.image is None else pair.image
        return matched

    def _compared(
        self, pairs: list[Pair], seen: Mapping[str, Tensor] | None, maps: Maps | None
    ) -> Compared:
        """`seen` are the exemplars' activations, where they are needed anyway."""
        if maps is None or self.vgg is None:
            return Compared(None, None)
        classes = len(maps.ids)
        photo = self._described([(p.photo, p.labels) for p in pairs], maps.labels, classes)
        if maps.exemplar_labels is None:
            return Compared(photo, None)
        if seen:
            return Compared(photo, ClassFeatures.of(seen, maps.exemplar_labels, classes))
        both = [(p.exemplar, p.exemplar_labels) for p in pairs]
        return Compared(photo, self._described(both, maps.exemplar_labels, classes))

    def _described(
        self,
        images: list[tuple[np.ndarray | None, np.ndarray | None]],
        labels: Tensor,
        classes: int,
    ) -> ClassFeatures | None:
        """Photos over their maps, computed where the store has not seen them; None without any."""
        known = [(photo, ids) for photo, ids in images if photo is not None and ids is not None]
        if not known:
            return None

        def compute(new: list[int]) -> list[np.ndarray]:
            activations = self._activations(self._tensor([known[n][0] for n in new]))
            assert activations is not None
            found = ClassFeatures.of(activations, labels[new], classes)
            return [found.pack(b) for b in range(len(new))]

        marks = [mark_of(self.network, str(self.ignore), *both) for both in known]
        return ClassFeatures.unpack(self.store.recall(marks, compute), labels, classes)

    def _photos(self, photos: list[np.ndarray | None]) -> Tensor | None:
        known = [photo for photo in photos if photo is not None]
        return self._tensor(known) if known else None

    def _tensor(self, photos: list[np.ndarray]) -> Tensor:
        return photo_tensor(torch.from_numpy(np.stack(photos)), self.device)


def joined(figures: Sequence[Figures]) -> Figures:
    """Figures of pairs, each (1,), as one of all: (B,) by name."""
    names = figures[0] if figures else ()
    return {name: torch.cat([one[name] for one in figures]) for name in names}


@dataclass(frozen=True)
class Compared:
    """What images of a group are compared with, class by class."""

    photo: ClassFeatures | None
    exemplar: ClassFeatures | None

    def figures(self, image: ClassFeatures) -> Figures:
        found: Figures = {}
        if self.photo is not None:
            found["semantic_consistency"] = semantic_consistency(image, self.photo)
        if self.exemplar is not None:
            found |= style(image, self.exemplar)
        return found

    def note(self, image: ClassFeatures, classes: ClassSums, ids: list[int]) -> None:
        """Add each class's cosines to the sums."""
        if self.photo is not None:
            cosines = content_cosines(image, self.photo)
            classes.add("semantic_consistency", cosines, image.areas, ids)
        if self.exemplar is not None:
            shared = shared_areas(image, self.exemplar)
            for name, layer in (("style_colour", COLOUR), ("style_texture", TEXTURE)):
                classes.add(name, class_cosines(image, self.exemplar, layer), shared, ids)


def _against_truth(images: np.ndarray, truths: list[np.ndarray]) -> Figures:
    both = list(zip(images, truths, strict=True))
    return {
        "psnr": torch.tensor([psnr(*pair) for pair in both], dtype=torch.float64),
        "ssim": torch.tensor([ssim(*pair) for pair in both], dtype=torch.float64),
    }
