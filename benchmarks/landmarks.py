"""Matches between people: landmarks of one face looked for in another's.

    python benchmarks/landmarks.py FOLDER [--weights FILE] [--features VGG] [--size 128]

FOLDER holds neutral/NNN.jpg (512 px), landmarks_neutral_189.json and test_people.txt. Pairs are
those of makeup.py: the first 4 test people are exemplars, the others inputs, each turned, scaled,
shifted and bent twice. A landmark is found where the match of its place in the input lies within
0.05 (0.1) of the image's side of the exemplar's landmark. Beside the network stand the same matcher
on VGG's features at a quarter of the image, landmarks taken not to move, and landmarks moved by the
two eye centres. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cocosnet
import numpy as np
import torch
from cocosnet import flow
from cocosnet.descriptors import Side
from cocosnet.features import Vgg, load_features
from known_warps import by_vgg, found
from makeup import SIDE, Face, pairs
from torch import Tensor

from cocoscli.data.conditions import edge_condition
from cocoscli.data.planes import expand
from cocoscli.data.points import scaled
from cocoscli.data.resizing import resize_bicubic
from cocoscli.engine.models import bundled_weights
from cocoscli.engine.tensors import photo_tensor
from cocoscli.metrics.correspondence import pck

CPU = torch.device("cpu")


class Seen(NamedTuple):
    """A face at the side that is matched."""

    photo: Tensor
    """(1,3,H,W), -1..1"""
    edges: Tensor
    """(1,1,H,W)"""
    marks: Tensor
    """(N,2) x and y in its pixels."""


def seen(face: Face, side: int) -> Seen:
    pixels = resize_bicubic(face.photo, (side, side))
    edges = torch.from_numpy(edge_condition(pixels))[None].int()
    marks = scaled(face.marks, (SIDE, SIDE), (side, side))
    photo = photo_tensor(torch.from_numpy(pixels)[None], CPU)
    return Seen(photo, expand(edges, "edges", 1, None), torch.from_numpy(marks).float())


def by_eyes(marks: Tensor, exemplar: Tensor) -> Tensor:
    """The marks where a similarity takes them that puts both eye centres together."""
    a, b, c, d = (complex(*p.tolist()) for p in (*marks[:2], *exemplar[:2]))
    z = torch.view_as_complex(marks.double())
    return torch.view_as_real((z - a) * ((d - c) / (b - a)) + c).float()


def methods(
    model: cocosnet.CoCosNet, vgg: Vgg | None, ours: Seen, theirs: Seen
) -> Iterator[tuple[str, Side, Side]]:
    bank = model.encode_exemplar(theirs.photo).side
    yield "edges to photo", model.encode_input(ours.edges).side, bank
    yield "photo to photo", model.encode_photo(ours.photo).side, bank
    if vgg is not None:
        yield "VGG, photo to photo", by_vgg(vgg, ours.photo), by_vgg(vgg, theirs.photo)


@torch.inference_mode()
def measure(
    folder: Path, model: cocosnet.CoCosNet, vgg: Vgg | None, side: int
) -> dict[str, dict[str, float]]:
    collected: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for source, targets in pairs(folder, None):
        theirs = seen(source, side)
        for target in targets:
            ours = seen(target, side)
            results = {"unmoved": ours.marks, "eyes": by_eyes(ours.marks, theirs.marks)}
            for name, query, key in methods(model, vgg, ours, theirs):
                moves = flow.displacement_at(found(query, key)[None], ours.marks)[0]
                results[name] = ours.marks + moves
            for name, marks in results.items():
                collected.setdefault(name, []).append((marks, theirs.marks))
    report = {}
    for name, parts in collected.items():
        ours_at, truth = (torch.stack(column) for column in zip(*parts, strict=True))
        error = torch.linalg.vector_norm(ours_at - truth, dim=-1)
        figures = {"error": round(float(error.mean()) / side, 4)}
        for alpha in (0.05, 0.1):
            extent = torch.full((len(truth),), float(side))
            figures[f"pck@{alpha}"] = round(float(pck(ours_at, truth, extent, alpha).pooled), 3)
        report[name] = {**figures, "landmarks": int(np.prod(error.shape))}
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--features")
    parser.add_argument("--size", type=int, help="side in pixels; the weights' own by default")
    args = parser.parse_args()
    weights = args.weights or bundled_weights("edges", 1)
    model = cocosnet.load(weights)
    vgg = load_features(args.features) if args.features else None
    side = args.size or model.condition.size
    report = {"weights": weights.name, "side": side}
    print(json.dumps({**report, **measure(args.folder, model, vgg, side)}, indent=1))


if __name__ == "__main__":
    main()
