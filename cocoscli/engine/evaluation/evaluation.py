"""One evaluation: the passes over results and photos, and its report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cocoscli.data.images import is_image
from cocoscli.data.points import read_points
from cocoscli.data.walking import walk_files
from cocoscli.data.wording import shown
from cocoscli.engine.batch import Decode, Loaded
from cocoscli.engine.evaluation.diversity import Diversity, load_lpips
from cocoscli.engine.evaluation.inception import load_inception
from cocoscli.engine.evaluation.items import Pair, PhotoReader, ResultReader
from cocoscli.engine.evaluation.judge import BASELINES, RESULT, Judge
from cocoscli.engine.evaluation.matching import Matcher, check_weights
from cocoscli.engine.evaluation.report import Report, check_comparable, finite, summarise
from cocoscli.engine.evaluation.sets import (
    SWD_MOST,
    Extractor,
    ImageSet,
    chosen,
    compare_sets,
    inception_extractor,
    remembering,
    vgg_extractor,
)
from cocoscli.engine.evaluation.sources import Sources
from cocoscli.engine.evaluation.store import FeatureStore, default_path
from cocoscli.engine.evaluation.subject import Subject
from cocoscli.engine.features import Features, resolve_features
from cocoscli.engine.models import load_weights
from cocoscli.engine.parallel import cut, read_in_order
from cocoscli.errors import CocosError, UsageError
from cocoscli.metrics.quality import FIGURES, PCK

ENOUGH = 2048
"""Images below which a Frechet distance is mostly the smallness of the sets."""
FILTER = "bicubic, antialiased"
NO_FEATURES = "none"
"""`--features` of figures that take no other network."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to evaluate."""

    weights: Path | None = None
    """Those that translated, to measure their correspondence."""
    points: Path | None = None
    """Points of inputs and exemplars that show the same."""
    features: str | None = None
    inception: Path | None = None
    baselines: bool = False
    limit: int | None = None
    seed: int = 0
    batch_size: int = 1
    workers: int = 0


class Evaluation:
    """Pairs in progress; `steps` does the work, `report` says what it found."""

    def __init__(self, subject: Subject, options: Options, device: torch.device) -> None:
        """Read what is named, cheap checks first. Raises CocosError."""
        self.subject, self.options, self.device = subject, options, device
        self.rows, self.settings = subject.rows[: options.limit], subject.settings
        self.sources = subject.sources
        self.matcher = self._matcher()
        self.reader = ResultReader(
            subject.folder,
            self.rows,
            self.sources,
            options.seed,
            self.matcher.reader if self.matcher else None,
        )
        self.photos = _real_photos(self.sources, self.rows)
        self.notes: list[str] = []
        self.features = self._features()
        self.store = FeatureStore(default_path())
        self.extractor, self.extractor_facts = self._extractor()
        self.judge = Judge(
            self.features, device, self.sources.ignore, options.baselines,
            self._diversity(), self.matcher, self.store,
        )  # fmt: skip
        self.sets: dict[str, ImageSet] = {}
        self.real = ImageSet(self.extractor, options.seed)
        names = [RESULT, *(BASELINES if options.baselines else ())]
        self.values: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
        self.faults: dict[int, str] = {}
        self.lacking: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def __len__(self) -> int:
        """Images that are read: results and real photos."""
        return len(self.reader) + len(self.photos)

    @property
    def numbers(self) -> dict[str, int]:
        """Of the pairs, by key."""
        return {str(row["key"]): k for k, row in enumerate(self.rows)}

    @property
    def named_features(self) -> dict[str, str]:
        """What pairs are compared by, as reports say it."""
        if self.features is None:
            return {"name": NO_FEATURES, "sha256": ""}
        return {"name": self.features.name, "sha256": self.features.sha256}

    def check_comparable(self, other: Report) -> None:
        """CocosError unless another run's report compares with what this one will say."""
        check_comparable(self.named_features, {str(row["key"]) for row in self.rows}, other)

    def plan(self) -> dict[str, Any]:
        """What is there to be measured, and by what."""
        return {
            "results": len(self.rows),
            "real_photos": len(self.photos.names),
            "layout": self.sources.layout.name,
            "features": self.named_features["name"],
            "set_features": self.extractor_facts["name"],
            "rows": list(self.values),
        }

    def steps(self) -> Iterator[None]:
        """Do the work; yields after each image. Raises CocosError."""
        count = min(len(self.rows), len(self.photos.names), SWD_MOST)
        sliced = chosen([str(row["key"]) for row in self.rows], count, self.options.seed)
        for batch in self._read(self.reader):
            self._measure(batch, sliced)
            yield from (None for _ in batch)
        if len(self.faults) == len(self.rows):
            raise CocosError(
                f"{shown(self.subject.name)}: none of its {len(self.rows)} results can be compared;"
                f" the first: {self.faults[0]}",
                "Give the files back, or translate again.",
            )
        sliced = chosen([Path(name).stem for name in self.photos.names], count, self.options.seed)
        for photos in self._read(self.photos):
            for x in photos:
                if x.item is not None:
                    self.real.add(x.item[None], [x.k in sliced])
                else:
                    self._lack("a real photo of the set", x.fault)
                yield
        self.store.save()

    def _read(self, reader: Any) -> Iterator[list[Loaded[Any]]]:
        batches = cut(range(len(reader)), self.options.batch_size)
        return read_in_order(Decode(reader), batches, self.options.workers)

    def _measure(self, batch: list[Loaded[Any]], sliced: set[int]) -> None:
        for x in batch:
            if x.item is None:
                self.faults[x.k] = x.fault
            for what, fault in x.item.lacking if x.item is not None else ():
                self._lack(what, fault)
        for measured in self.judge.measure([x.item for x in batch if x.item is not None]):
            for name, values in measured.figures.items():
                self._column(measured.row, name)[measured.pairs] = values.double().cpu().numpy()
            if self.photos.names:
                known = self.sets.setdefault(
                    measured.row, ImageSet(self.extractor, self.options.seed)
                )
                known.add(measured.images, [k in sliced for k in measured.pairs])

    def _column(self, row: str, name: str) -> np.ndarray:
        return self.values[row].setdefault(name, np.full(len(self.rows), np.nan))

    def _lack(self, what: str, fault: str) -> None:
        """Count what could not be read, and keep the first fault of its kind."""
        self.lacking[what] += 1
        self.first.setdefault(what, fault)

    def pair(self, k: int) -> Pair:
        """Pair k as it was measured, drawn where its result is nowhere else. Raises BadInput."""
        pair = self.reader.load(k)
        if pair.image is None:
            self.judge.draw([pair])
        return pair

    def _matcher(self) -> Matcher | None:
        """The network that translated, where it is given. Raises CocosError."""
        weights, options = self.subject.weights, self.options
        if weights is None and options.weights is not None:
            weights = load_weights(options.weights, self.device)
            check_weights(weights, str(self.settings["weights"]))
        if weights is None:
            if options.points is not None:
                raise UsageError("--points needs --weights.", "Give the weights that translated.")
            return None
        points = read_points(options.points) if options.points is not None else None
        return Matcher.of(
            weights, self.sources, self.settings, points, self.device,
            draws=self.subject.folder is None, compares=options.baselines,
        )  # fmt: skip

    def _features(self) -> Features | None:
        """What compares images; None where they are compared by pixels alone. Raises CocosError."""
        if self.options.features == NO_FEATURES:
            return None
        found = resolve_features(self.options.features, self.device)
        self.notes += [found.warning] if found.warning else []
        return found

    def _diversity(self) -> Diversity:
        """By LPIPS where it can be had, else by VGG under a name of its own; a note says why."""
        found = Diversity([str(row["input"]) for row in self.rows])
        found.wanted &= self.features is not None
        if found.wanted:
            try:
                found.lpips = load_lpips(self.device)
            except CocosError as error:
                words = "Diversity is a VGG distance instead, and not called LPIPS."
                self.notes.append(f"{error} {words}")
        return found

    def _extractor(self) -> tuple[Extractor | None, dict[str, str]]:
        """Inception where it can be had, else VGG under a name of its own; a note says why."""
        if self.features is None:
            return None, self.named_features
        vgg = vgg_extractor(self.features.module, self.device)
        if not self.photos.names:
            return vgg, self.named_features
        try:
            inception = load_inception(self.options.inception, self.device)
        except CocosError as error:
            self.notes.append(
                f"{error} The Frechet distance is on VGG's features instead, and not called FID."
            )
            return remembering(vgg, self.features.identity, self.store), self.named_features
        facts = {"name": inception.name, "sha256": inception.sha256}
        extractor = inception_extractor(inception, self.device)
        return remembering(extractor, inception.sha256, self.store), facts

    def report(self) -> Report:
        """All figures, with how they were measured."""
        diversity = self.judge.diversity
        if diversity.wanted:
            done = [k for k in range(len(self.rows)) if k not in self.faults]
            self._column(RESULT, diversity.name)[done] = [diversity.figure(k) for k in done]
        counted = len(self.rows) - len(self.faults)
        return {
            "output": self.subject.name,
            "inputs": str(self.settings["inputs"]),
            "images": counted,
            "real_images": self.real.count,
            "left_out": [{"key": self.rows[k]["key"], "error": e} for k, e in self.faults.items()],
            "notes": [*self.notes, *self._counted()],
            "features": self.named_features,
            "set_features": self.extractor_facts,
            "resize": FILTER,
            "format": str(self.settings.get("format", "not stored")),
            "real_formats": _formats(self.photos.names),
            "translation": {n: self.settings.get(n) for n in ("weights", "pairs", "size")},
            "seed": self.options.seed,
            "rows": {n: self._row(n) for n in self.values if n in self.sets or self.values[n]},
            "classes": [
                {"id": id, "name": self.sources.class_names.get(id, f"class {id}"), **figures}
                for id, figures in self.judge.classes.means().items()
            ],
            "items": [self._item(k) for k in range(len(self.rows)) if k not in self.faults],
        }

    def _row(self, name: str) -> dict[str, Any]:
        kept = [k for k in range(len(self.rows)) if k not in self.faults]
        columns: dict[str, Any] = {
            figure: summarise(figure, self.values[name][figure][kept])
            for figure in FIGURES if figure in self.values[name]
        }  # fmt: skip
        for figure in PCK.keys() & columns.keys():
            share, points = (self.values[name][what][kept] for what in (figure, "points"))
            columns[figure]["pooled"] = finite(np.nansum(share * points) / max(points.sum(), 1))
        if name in self.sets and self.real.count:
            columns |= compare_sets(self.sets[name], self.real)
        return columns

    def _item(self, k: int) -> dict[str, Any]:
        row = self.rows[k]
        figures = {name: finite(values[k]) for name, values in self.values[RESULT].items()}
        return {"key": row["key"], "input": row["input"], "exemplar": row["exemplar"], **figures}

    def _counted(self) -> Iterator[str]:
        """What the user must know of the figures."""
        for what, count in self.lacking.items():
            yield f"{what} could not be read {count} times; the first: {self.first[what]}"
        if not self.photos.names:
            yield "no real photos are known (--real DIR): no distances of sets."
        elif self.features and (least := min(len(self.rows), self.real.count)) < ENOUGH:
            yield (
                f"the Frechet distance is of {least} images: below {ENOUGH} it is mostly the "
                "smallness of the sets, and compares only with sets of the same size."
            )


def _real_photos(sources: Sources, rows: Sequence[dict[str, Any]]) -> PhotoReader:
    """All photos of --real, or else those of the inputs, each once."""
    if sources.real is not None:
        names = sorted(str(path) for path in walk_files(sources.real) if is_image(path))
        return PhotoReader(names)
    keys = sorted({str(row["input"]) for row in rows})
    return PhotoReader([key for key in keys if sources.inputs.has_photo(key)], sources)


def _formats(names: Sequence[str]) -> str:
    """How the real photos are stored, most frequent first."""
    counts = Counter(os.path.splitext(name)[1].lower().removeprefix(".") for name in names)
    return ", ".join(f"{suffix} {n}" for suffix, n in counts.most_common())
