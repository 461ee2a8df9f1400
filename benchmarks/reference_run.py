"""The reference run's figures: how well weights translate masks to faces, beside plain baselines.

    python benchmarks/reference_run.py FOLDER --weights FILE --features VGG
    python benchmarks/reference_run.py FOLDER --features VGG       # the baselines alone

FOLDER holds images/, masks/ (class ids) and val.txt (stems). Photos are resized (bicubic) to --load
and cropped to their middle; photo i's exemplar is photo i+10. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cocosnet
import numpy as np
import torch
from cocosnet.features import Vgg, load_features
from torch import Tensor
from torchvision.utils import make_grid, save_image

from cocoscli.data.conditions import PALETTE
from cocoscli.data.images import IMAGE_SUFFIXES, read_labels, read_photo
from cocoscli.data.planes import expand
from cocoscli.data.textfiles import read_lines
from cocoscli.data.walking import find_stem
from cocoscli.metrics.baselines import class_colours
from cocoscli.metrics.correspondence import (
    cycle_error,
    label_transfer,
    mean_l1,
    unmoved_transfer,
)
from cocoscli.metrics.quality import Figures, compare
from cocoscli.metrics.semantic import LAYERS, ClassFeatures, describe
from cocoscli.metrics.summary import Mean

CLASSES = 19
STEP = 10
"""From a photo to its exemplar, in the order of the list."""
BATCH = 10
PANELS = 8


class Pairs(NamedTuple):
    """Photos with their exemplars."""

    photo: Tensor
    """(B,3,H,W), -1..1"""
    labels: Tensor
    """(B,H,W)"""
    exemplar: Tensor
    exemplar_labels: Tensor
    other: Tensor
    """The next pair's exemplar."""

    @property
    def masks(self) -> tuple[Tensor, Tensor]:
        """The planes (B,K,H,W) of the inputs and of the exemplars."""
        both = (self.labels, self.exemplar_labels)
        mask, exemplar_mask = (expand(ids[:, None], "labels", CLASSES) for ids in both)
        return mask, exemplar_mask


def read_pairs(folder: Path, load: int, size: int) -> Iterator[Pairs]:
    """The pairs of the list, in batches."""
    offset = (load - size) // 2
    window = slice(offset, offset + size)
    photos, labels = [], []
    for stem in read_lines(folder / "val.txt"):
        photo, mask = (find_stem(folder / f, stem, IMAGE_SUFFIXES) for f in ("images", "masks"))
        if photo is None or mask is None:
            raise SystemExit(f"{folder}: no photo or no mask of {stem}, which val.txt names")
        photos.append(read_photo(photo, (load, load))[window, window])
        labels.append(read_labels(mask, (load, load))[window, window].astype(np.int64))
    images = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float() / 127.5 - 1
    maps = torch.from_numpy(np.stack(labels))
    for rows in torch.arange(len(images)).split(BATCH):
        chosen, following = ((rows + step) % len(images) for step in (STEP, STEP + 1))
        yield Pairs(images[rows], maps[rows], images[chosen], maps[chosen], images[following])


class Judge:
    """Measures batches of pairs: the baselines, and the network where there is one."""

    def __init__(self, vgg: Vgg, model: cocosnet.CoCosNet | None) -> None:
        self.vgg, self.model = vgg, model

    def rows(self, pairs: Pairs) -> Iterator[tuple[str, Figures]]:
        photo = describe(self.vgg, pairs.photo, pairs.labels, CLASSES)
        activations = self.vgg(pairs.exemplar, LAYERS)
        exemplar = ClassFeatures.of(activations, pairs.exemplar_labels, CLASSES)

        def quality(image: Tensor) -> Figures:
            return compare(describe(self.vgg, image, pairs.labels, CLASSES), photo, exemplar)

        if self.model is not None:
            image, figures = self._translated(self.model, pairs)
            yield "network", quality(image) | figures
        filled = class_colours(pairs.labels, pairs.exemplar, pairs.exemplar_labels, CLASSES)
        yield "class colours", quality(filled)
        unmoved = ClassFeatures.of(activations, pairs.labels, CLASSES)
        mask, exemplar_mask = pairs.masks
        accuracy, miou = unmoved_transfer(exemplar_mask, mask)
        labels = {"label_accuracy": accuracy, "label_miou": miou}
        yield "the exemplar, unmoved", compare(unmoved, photo, exemplar) | labels

    def _translated(self, model: cocosnet.CoCosNet, pairs: Pairs) -> tuple[Tensor, Figures]:
        out = translate(model, pairs)
        mask, exemplar_mask = pairs.masks
        transfer = label_transfer(out.match, exemplar_mask, mask)
        return out.image, {
            "label_accuracy": transfer.accuracy,
            "label_miou": transfer.miou,
            "cycle_l1": cycle_error(out.match, pairs.exemplar),
            "l1_own_exemplar": mean_l1(out.image, pairs.exemplar),
            "l1_other_exemplar": mean_l1(out.image, pairs.other),
        }


def translate(model: cocosnet.CoCosNet, pairs: Pairs) -> cocosnet.Output:
    mask, exemplar_mask = pairs.masks
    given = exemplar_mask if model.config.needs_exemplar_input else None
    return model(mask, pairs.exemplar, given)


def evaluate(batches: list[Pairs], vgg: Vgg, model: cocosnet.CoCosNet | None) -> dict:
    """The mean of every column, by row; pairs without a figure are counted."""
    found: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
    judge = Judge(vgg, model)
    for pairs in batches:
        for row, figures in judge.rows(pairs):
            for column, values in figures.items():
                found[row][column].append(values)
    return {
        row: {column: shown(Mean.of(torch.cat(parts))) for column, parts in columns.items()}
        for row, columns in found.items()
    }


def shown(mean: Mean) -> float | dict | None:
    value = None if math.isnan(mean.value) else round(mean.value, 4)
    return {"mean": value, "left_out": mean.left_out} if mean.left_out else value


def save_panels(path: Path, model: cocosnet.CoCosNet, pairs: Pairs) -> None:
    """A row a pair: input, exemplar, warp, result, truth."""
    first = Pairs(*(x[:PANELS] for x in pairs))
    out = translate(model, first)
    drawn = torch.from_numpy(PALETTE)[first.labels].permute(0, 3, 1, 2) / 127.5 - 1
    columns = (drawn, first.exemplar, out.warped, out.image, first.photo)
    cells = torch.stack(columns, dim=1).flatten(0, 1).clamp(-1, 1)
    save_image(make_grid((cells + 1) / 2, nrow=len(columns), padding=4, pad_value=1), path)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, help="a checkpoint of 19 label planes")
    parser.add_argument("--features", type=Path, required=True, help="VGG-16 or VGG-19")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--load", type=int, default=143)
    parser.add_argument("--panels", type=Path, help="a picture of the first pairs")
    args = parser.parse_args()
    if args.panels and not args.weights:
        parser.error("--panels shows what --weights draw: give both")
    model = cocosnet.load(args.weights) if args.weights else None
    if model and (model.condition.kind, model.config.channels) != ("labels", CLASSES):
        condition = f"{model.condition.kind}, {model.config.channels} planes"
        parser.error(f"{args.weights}: takes {condition}; expected labels, {CLASSES} planes")
    vgg = load_features(args.features)
    batches = list(read_pairs(args.folder, args.load, args.size))
    rows = evaluate(batches, vgg, model)
    facts = {"weights": args.weights and str(args.weights), "features": vgg.name, "size": args.size,
             "load": args.load, "pairs": sum(len(b.photo) for b in batches)}  # fmt: skip
    print(json.dumps({**facts, "rows": rows}, indent=1))
    if args.panels and model:
        save_panels(args.panels, model, batches[0])


if __name__ == "__main__":
    main()
