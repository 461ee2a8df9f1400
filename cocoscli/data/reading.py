"""Condition arrays for one network, from files or from a shard's samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cocoscli.data.conditions import CONDITIONS, check_ids
from cocoscli.data.images import ColorTable, Size, read_photo
from cocoscli.data.layouts.layout import Layout
from cocoscli.data.shards import Sample, decode_key
from cocoscli.data.sources import build_condition, decode_sources
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput


@dataclass(frozen=True)
class ConditionReader:
    """Reads condition arrays of one layout for one network."""

    layout: Layout
    channels: int
    ignore: int | None = 255
    colors: ColorTable | None = None

    def read(self, item: Path, size: Size | None) -> np.ndarray:
        """(P,H,W) at (width, height), or the item's own size; ids checked. Raises BadInput."""
        return self.check(self.layout.read(item, size, self.colors), shown(item))

    def read_sample(self, sample: Sample, size: Size | None) -> np.ndarray:
        """The same from a shard's sample. Raises BadInput."""
        name = decode_key(sample.key)
        members = sample.by_name()
        if "condition" not in members or "image" not in members:
            raise BadInput(f"{name}: a sample without image or condition.", "Prepare it again.")
        suffix, data = members["condition"]
        kind, path = self.layout.kind, Path(name)
        sources = decode_sources(kind, suffix, data, source=name)
        size = size or sources.size
        photo = None
        if sources.needs_photo:
            photo = read_photo(path, size, Image.Resampling.BILINEAR, data=members["image"][1])
        return self.check(build_condition(sources, photo, size), name)

    def check(self, array: np.ndarray, source: str) -> np.ndarray:
        """The array, if it is one that the weights take. Raises BadInput."""
        if CONDITIONS[self.layout.kind].is_labels:
            check_ids(array[0], self.channels, self.ignore, source=source)
        elif len(array) != self.channels:
            raise BadInput(
                f"{source}: its condition has {len(array)} planes, "
                f"the weights take {self.channels}.",
                "Give weights for this skeleton.",
            )
        return array
