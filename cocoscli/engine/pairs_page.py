"""The page of prepared shards: photos, their conditions, and the exemplars chosen for them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cocoscli.data.building import build_condition, drawing_only
from cocoscli.data.conditions import preview
from cocoscli.data.encoding import thumbnail, thumbnail_size
from cocoscli.data.images import read_photo
from cocoscli.data.shards import Sample, ShardList
from cocoscli.data.sources import decode_sources
from cocoscli.engine.files import PRIVATE
from cocoscli.engine.gallery import thumb_name
from cocoscli.engine.output import OutputFolder
from cocoscli.report import Picture, Row, write_gallery

EXEMPLARS = 6
"""Exemplars of a sample that are shown at most."""
SCORED = ("layout", "photo", "generated")
"""Ways to ask whose scores mean something."""


def write_pairs(output: OutputFolder, index: Mapping[str, Any], count: int) -> Path:
    """`index.html` of a folder of shards, with the first `count` samples.

    `index` is what `index.json` holds. What is shown is read back from the shards.
    """
    shutil.rmtree(output.path / PRIVATE / "thumbs", ignore_errors=True)  # of an earlier page
    places = list(islice(_places(output.path, index), count))
    metas = (_meta(shard.sample(i, only=("meta",))) for shard, i in places)
    shown = min(max((len(meta["exemplars"]) for meta in metas), default=0), EXEMPLARS)
    columns = ["Photo", "Condition", *_heads(shown, index["settings"]["keep_all"])]
    page = _Page(output, shown)
    rows = (page.row(shard.sample(i)) for shard, i in places)
    total = sum(index["counts"].values())
    return write_gallery(output.path, "cocos prepare", columns, rows, _facts(index), total)


def _places(folder: Path, index: Mapping[str, Any]) -> Iterator[tuple[ShardList, int]]:
    """Where the samples lie; a shard is looked into when its turn comes."""
    for row in index["shards"]:
        shard = ShardList([folder / row["name"]])
        yield from ((shard, i) for i in range(len(shard)))


def _meta(sample: Sample) -> dict[str, Any]:
    return dict(json.loads(sample.members["meta.json"]))


def _heads(shown: int, keep_all: bool) -> list[str]:
    if shown == 2 and not keep_all:
        return ["First exemplar", "Last exemplar"]
    return [f"Exemplar {n + 1}" for n in range(shown)]


def _facts(index: Mapping[str, Any]) -> dict[str, str]:
    settings = index["settings"]
    facts = {
        "Source": settings["source"],
        "Layout": settings["layout"],
        "Conditions": index["kind"],
        "Samples": ", ".join(f"{split} {n:,}" for split, n in index["counts"].items()) or "none",
        "Exemplars by": index["query"],
        "Repeated photos": f"{index['duplicates']:,}",
    }
    if index["leaking"]:
        facts["Caution"] = "val and test asked with their own photos: such tests are too good"
    return facts


@dataclass
class _Page:
    """Writes previews as rows need them, each once."""

    output: OutputFolder
    shown: int
    _written: set[str] = field(default_factory=set)

    def row(self, sample: Sample) -> Row:
        meta, members = _meta(sample), sample.by_name()
        photo = self._photo(meta["key"], members["image"])
        pictures: list[Picture | None] = [photo, self._condition(meta, members)]
        for n, exemplar in enumerate(meta["exemplars"][: self.shown]):
            score = f"{exemplar['score']:.3f} · " if meta["query"].endswith(SCORED) else ""
            picture = self._photo(exemplar["key"], members[f"exemplar.{n}"])
            pictures.append(Picture(picture.src, picture.alt, f"{score}{exemplar['key']}"))
        pictures += [None] * (2 + self.shown - len(pictures))
        return Row(meta["key"], tuple(pictures), meta["split"])

    def _photo(self, key: str, member: tuple[str, bytes]) -> Picture:
        name = thumb_name(key, "photo")
        if name not in self._written:
            self._write(name, read_photo(Path(key), data=member[1]))
        return Picture(name, f"photo {key}")

    def _condition(self, meta: dict[str, Any], members: dict[str, tuple[str, bytes]]) -> Picture:
        """As it is made for a photo of a preview's size."""
        suffix, data = members["condition"]
        sources = drawing_only(decode_sources(meta["kind"], suffix, data, source=meta["key"]))
        size = thumbnail_size(sources.size)
        kept = members["image"][1]
        photo = read_photo(Path(meta["key"]), size, Image.Resampling.BILINEAR, data=kept)
        name = thumb_name(meta["key"], "condition")
        self._write(name, preview(build_condition(sources, photo, size), sources.kind))
        return Picture(name, f"condition of {meta['key']}")

    def _write(self, name: str, pixels: np.ndarray) -> None:
        self._written.add(name)
        self.output.write(name, thumbnail(pixels))
