"""Matches against exact truth: known warps of faces, and generated scenes.

    python benchmarks/known_warps.py faces FOLDER --weights FILE --features VGG
    python benchmarks/known_warps.py scenes --weights FILE --features VGG

faces: FOLDER holds neutral/NNN.jpg, landmarks_neutral_189.json and test_people.txt. Each test
person's photo is the exemplar, and the photo under a known affine or thin-plate warp (seeded) the
input; counted are cells whose true match lies within the landmarks' hull. scenes: the label map of
one generated scene against the picture of another one; counted are cells whose object both show.

End-point error in pixels, PCK@0.05 and @0.1 of the image's side (pooled), beside the same matcher
on VGG's features at a quarter of the image, and beside cells taken not to move. Prints one
JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cocosnet
import numpy as np
import torch
from cocosnet import flow, matching
from cocosnet.descriptors import Side, describe
from cocosnet.features import Vgg, load_features
from scipy.interpolate import RBFInterpolator
from scipy.spatial import Delaunay
from torch import Tensor
from torch.nn import functional as F

from cocoscli.data.conditions import edge_condition
from cocoscli.data.images import read_photo
from cocoscli.data.planes import expand
from cocoscli.data.scenes import ELSEWHERE, correspondence, render
from cocoscli.data.scenes.layout import Layout
from cocoscli.data.scenes.style import Style
from cocoscli.engine.tensors import photo_tensor
from cocoscli.metrics.correspondence import pck

TEMPERATURE = 0.01
FEATURES = {16: "relu3_3", 19: "relu3_4"}
"""The deepest layer at a quarter of the image."""
KINDS = ("affine", "thin-plate")
SOURCE = 512
"""Side of the photos that landmarks are in."""

Warp = Callable[[np.ndarray], np.ndarray]
"""Places (N,2) in the input -> in the exemplar, both 0..1 over the image."""


class Pair(NamedTuple):
    photo: Tensor
    """(1,3,H,W) the input's own photo, -1..1."""
    condition: Tensor
    """(1,K,H,W)"""
    exemplar: Tensor
    """(1,3,H,W), -1..1"""
    truth: Tensor
    """(h,w,2) xy in exemplar pixels, NaN where a cell does not count."""


def affine(draw: np.random.Generator) -> Warp:
    """A turn by up to 15 degrees, a scale of 0.87 to 1.15, a shift by up to 0.08."""
    angle, scale = np.radians(draw.uniform(-15, 15)), np.exp(draw.uniform(-0.14, 0.14))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = draw.uniform(-0.08, 0.08, 2)
    return lambda places: (places - 0.5) @ turn.T + 0.5 + shift


def thin_plate(draw: np.random.Generator) -> Warp:
    """A grid of 4 x 4 points, each moved by up to 0.06 along x and y."""
    axis = np.linspace(0, 1, 4)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    moved = points + draw.uniform(-0.06, 0.06, points.shape)
    return RBFInterpolator(points, moved, kernel="thin_plate_spline")


def places(side: int) -> np.ndarray:
    """(side*side, 2): xy of pixel centres, 0..1."""
    axis = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


def warped(photo: Tensor, warp: Warp, side: int) -> Tensor:
    """The input (1,3,side,side) that shows at each place what the photo has at its match."""
    fine = 2 * side
    grid = torch.from_numpy(warp(places(fine)) * 2 - 1).float().view(1, fine, fine, 2)
    looked_up = F.grid_sample(photo, grid, padding_mode="border", align_corners=False)
    return F.avg_pool2d(looked_up, 2)


def levels(photo: Tensor) -> np.ndarray:
    """(1,3,H,W), -1..1 -> (H,W,3) uint8."""
    return ((photo[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()


def faces(folder: Path, side: int) -> Iterator[tuple[str, Pair]]:
    marks = json.loads((folder / "landmarks_neutral_189.json").read_text())
    for number, person in enumerate((folder / "test_people.txt").read_text().split()):
        path = folder / "neutral" / f"{person}.jpg"
        large = photo_tensor(torch.from_numpy(read_photo(path, (2 * side, 2 * side)))[None], CPU)
        exemplar = F.avg_pool2d(large, 2)
        hull = Delaunay((np.array(marks[person]) + 0.5) / SOURCE)
        for kind, make in zip(KINDS, (affine, thin_plate), strict=True):
            warp = make(np.random.default_rng([number, KINDS.index(kind)]))
            photo = warped(large, warp, side)
            edges = torch.from_numpy(edge_condition(levels(photo)))[None].int()
            true = warp(places(side // 4))
            true[hull.find_simplex(true) < 0] = np.nan
            truth = torch.from_numpy(true * side - 0.5).float().view(side // 4, side // 4, 2)
            yield kind, Pair(photo, expand(edges, "edges", 1, None), exemplar, truth)


def scenes(count: int, side: int, channels: int) -> Iterator[tuple[str, Pair]]:
    for i in range(count):
        first = render(Layout.sample(i), Style.sample(i), side)
        second = render(Layout.sample(ELSEWHERE + i), Style.sample(ELSEWHERE + i), side)
        photo, exemplar = (
            photo_tensor(torch.from_numpy(s.image)[None], CPU) for s in (first, second)
        )
        labels = torch.from_numpy(first.labels[None, None].astype(np.int32))
        at = correspondence(first, second)
        middle = np.mean([at[y::4, x::4] for y in (1, 2) for x in (1, 2)], axis=0)
        truth = torch.from_numpy(middle)  # NaN where one of the four is
        yield "scenes", Pair(photo, expand(labels, "labels", channels, None), exemplar, truth)


CPU = torch.device("cpu")


def by_vgg(vgg: Vgg, image: Tensor) -> Side:
    """What VGG's features at a quarter of the image give to match."""
    layer = FEATURES[vgg.depth]
    return describe(vgg(image, (layer,))[layer], 3)


def sides(model: cocosnet.CoCosNet, vgg: Vgg, pair: Pair) -> dict[str, tuple[Side, Side]]:
    """What is matched with what, by method."""
    seen = partial(by_vgg, vgg)
    bank = model.encode_exemplar(pair.exemplar).side
    picture = pair.condition.amax(dim=1, keepdim=True).expand(-1, 3, -1, -1) * 2 - 1
    methods = {
        "condition to photo": (model.encode_input(pair.condition).side, bank),
        "photo to photo": (model.encode_photo(pair.photo).side, bank),
        "VGG, photo to photo": (seen(pair.photo), seen(pair.exemplar)),
    }
    if model.condition.kind == "edges":
        methods["VGG, edges to photo"] = (seen(picture), seen(pair.exemplar))
    return methods


def found(query: Side, key: Side) -> Tensor:
    """(h,w,2): sub-pixel best matches."""
    stats = matching.statistics(query, key, TEMPERATURE)
    return flow.refined(query, key, stats.best)[0]


@torch.inference_mode()
def measure(
    model: cocosnet.CoCosNet, vgg: Vgg, pairs: Iterator[tuple[str, Pair]], side: int
) -> dict[str, dict[str, dict[str, float]]]:
    collected: dict[tuple[str, str], list[tuple[Tensor, Tensor]]] = {}
    for kind, pair in pairs:
        results = {name: found(*both) for name, both in sides(model, vgg, pair).items()}
        results["unmoved"] = flow.centres((side // 4, side // 4))
        known = pair.truth.isfinite().all(dim=-1)
        for name, match in results.items():
            collected.setdefault((kind, name), []).append((match[known], pair.truth[known]))
    report: dict[str, dict[str, dict[str, float]]] = {}
    for (kind, name), parts in collected.items():
        ours, truth = (torch.cat(column)[None] for column in zip(*parts, strict=True))
        error = torch.linalg.vector_norm(ours - truth, dim=-1)
        extent = torch.tensor([float(side)])
        figures = {"epe": round(float(error.mean()), 2), "median": round(float(error.median()), 2)}
        for alpha in (0.05, 0.1):
            figures[f"pck@{alpha}"] = round(float(pck(ours, truth, extent, alpha).pooled), 3)
        report.setdefault(kind, {})[name] = {**figures, "cells": error.numel()}
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("faces", "scenes"))
    parser.add_argument("folder", type=Path, nargs="?", help="for faces")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--features", required=True)
    parser.add_argument("--size", type=int, help="side in pixels; the weights' own by default")
    parser.add_argument("--count", type=int, default=48, help="pairs of scenes")
    args = parser.parse_args()
    if (args.what == "faces") != (args.folder is not None):
        parser.error("faces need a FOLDER, scenes take none")
    model, vgg = cocosnet.load(args.weights), load_features(args.features)
    side = args.size or model.condition.size
    if args.what == "faces":
        pairs = faces(args.folder, side)
    else:
        pairs = scenes(args.count, side, model.config.channels)
    report: dict[str, Any] = {"weights": str(args.weights), "side": side}
    print(json.dumps({**report, **measure(model, vgg, pairs, side)}, indent=1))


if __name__ == "__main__":
    main()
