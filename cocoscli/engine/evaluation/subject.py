"""What is evaluated: results that were written, or pairs that weights translate on the way."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cocoscli.data.images import is_image
from cocoscli.data.inputs import open_shards
from cocoscli.data.layouts import LAYOUTS
from cocoscli.data.shards import is_shards
from cocoscli.data.storage import is_url
from cocoscli.data.walking import walk_files
from cocoscli.data.wording import shown
from cocoscli.engine.device import resolve_precision
from cocoscli.engine.evaluation.inputs import stored_name
from cocoscli.engine.evaluation.items import Row
from cocoscli.engine.evaluation.sources import Named, Sources, find_sources, plain_sources
from cocoscli.engine.items import PairReader, matching_layout, parse_size
from cocoscli.engine.manifest import DONE, latest_rows
from cocoscli.engine.models import Weights
from cocoscli.engine.output import RUN, OutputFolder
from cocoscli.engine.plan import PairOptions, find_weights, fitting_batch, match_setting, plan_pairs
from cocoscli.errors import CocosError, UsageError

TRY = (
    "Give the --output of a run of `cocos translate`, a folder of images, or shards and --weights."
)
OWN = "the samples' own"
"""`pairs` of samples with the exemplars that were stored with them."""


@dataclass(frozen=True)
class Subject:
    """Pairs in progress of being evaluated."""

    name: str
    folder: Path | None
    """Where the results are; None: they are drawn on the way."""
    rows: Sequence[Row]
    """key, input and exemplar of each pair (None: not known), and where its result is."""
    settings: Mapping[str, Any]
    """How they were translated, or are."""
    sources: Sources
    weights: Weights | None = None
    """Those that translated, where they are at hand."""


def find_subject(spec: str, asked: PairOptions, named: Named, device: torch.device) -> Subject:
    """By what a user gave: an output folder of `cocos translate`, a folder of images, or INPUTS
    that `asked` says how to translate. Raises CocosError and UsageError."""
    named.check()
    if is_url(spec) and not is_shards(spec):
        raise UsageError(
            f"{spec}: results in a store, and only local ones are evaluated.", "Copy them here."
        )
    folder = Path(spec)
    if (folder / RUN).is_file() and OutputFolder(folder).settings().get("command") != "prepare":
        return read_run(folder, named)
    if asked.weights is not None or is_shards(spec):
        if asked.exemplar is None:
            return _drawn_from_samples(spec, asked, named, device)
        return _drawn(asked, named)
    return _plain(folder, asked.exemplar, named)


def read_run(folder: Path, named: Named) -> Subject:
    """The finished results of a run of `cocos translate`, sorted by input. Raises CocosError."""
    settings = OutputFolder(folder).settings()
    if (made_by := settings.get("command")) != "translate":
        raise CocosError(f"{shown(folder)}: made by `cocos {made_by}`; expected translations.", TRY)
    rows = [row for row in latest_rows(folder) if row.get("status") == DONE]
    if not rows:
        raise CocosError(f"{shown(folder)}: no finished result in its manifest.", TRY)
    rows.sort(key=lambda row: (row["input"], row["key"]))
    return Subject(str(folder), folder, rows, settings, find_sources(settings, named))


def _plain(folder: Path, exemplar: str | None, named: Named) -> Subject:
    """Images that something else made: exemplars have their stems, or are one file."""
    if not folder.is_dir():
        raise CocosError(f"{shown(folder)}: no such folder.", TRY)
    names = sorted(os.path.relpath(path, folder) for path in walk_files(folder) if is_image(path))
    if not names:
        raise CocosError(f"{shown(folder)}: neither a {RUN} nor images in it.", TRY)
    sources, exemplar_of = plain_sources(exemplar, named)
    rows = [{"key": n, "input": n, "output": n, "exemplar": exemplar_of(n)} for n in names]
    formats = Counter(Path(name).suffix.lower().removeprefix(".") for name in names)
    settings = {
        "inputs": str(folder), "format": ", ".join(formats), "weights": None,
        "size": "their own", "pairs": "by stem" if exemplar else "none",
    }  # fmt: skip
    return Subject(str(folder), folder, rows, settings, sources)


def _drawn(asked: PairOptions, named: Named) -> Subject:
    """Pairs as `cocos translate` would form them."""
    plan = plan_pairs(asked)
    reader = plan.reader
    rows = [{"key": reader.key(k), **_pair(reader, k)} for k in range(len(reader.pairing))]
    sources = find_sources(plan.settings, named)
    return Subject(plan.settings["inputs"], None, rows, plan.settings, sources, plan.weights)


def _pair(reader: PairReader, k: int) -> dict[str, str]:
    i, j = reader.pairing.pair(k)
    if j is None:  # told by the input's content
        j = reader.load(k).exemplar
    return {"input": reader.inputs.key(i), "exemplar": reader.exemplars.names[j]}


def _drawn_from_samples(
    spec: str, asked: PairOptions, named: Named, device: torch.device
) -> Subject:
    """Samples of shards, each with the best exemplar that was stored with it."""
    if not is_shards(spec):
        raise UsageError(
            "no exemplar.", "Give --exemplar PHOTO or a folder of photos; shards hold their own."
        )
    weights = find_weights(asked, device, [])
    kind, model = weights.model.condition.kind, weights.model
    size = parse_size(text := asked.size or str(weights.model.condition.size))
    fitting_batch(1, size, model, device, draws=True)
    settings = {
        "inputs": spec, "exemplar": "", "pairs": OWN, "size": text,
        "layout": asked.layout or matching_layout(kind, LAYOUTS),
        "ignore_label": -1 if asked.ignore_label is None else asked.ignore_label,
        "precision": resolve_precision(asked.precision, device, model.config.width),
        "weights": weights.sha256 or weights.name,
        **match_setting(asked.match_size),
    }  # fmt: skip
    sources = find_sources(settings, named)
    keys = open_shards(spec).names
    rows = [{"key": key, "input": key, "exemplar": stored_name(key)} for key in keys]
    return Subject(spec, None, rows, settings, sources, weights)
