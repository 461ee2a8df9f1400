"""Makeup against exact truth: strokes drawn by landmarks exist on every person.

    python benchmarks/makeup.py FOLDER [--weights FILE] [--via photo] [--targets 5]

FOLDER holds neutral/NNN.jpg (512 px), landmarks_neutral_189.json and test_people.txt. The first 4
of the test people wear makeup: lips, eye shadow, blush, a line across a cheek, a dot on the
forehead. The others are targets, each photo twice: turned by up to 20 degrees, scaled 0.8 to 1.2,
shifted by up to 10 %, and bent by a thin-plate spline whose 16 control points move by up to 8 %.

Beside `cocos makeup` stand the strokes unmoved, moved by the centres of both eyes, and moved by a
spline through all landmarks, which is about the best that can be had. Of each: IoU of every stroke,
CIEDE2000 within the true strokes, and the leak, the share of painted pixels outside of the face.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree
from skimage.color import deltaE_ciede2000, rgb2lab

from cocoscli.data.images import read_photo
from cocoscli.data.layouts import LAYOUTS
from cocoscli.data.makeup import blended
from cocoscli.data.originals import Original
from cocoscli.data.reading import ConditionReader
from cocoscli.data.wearing import Worn
from cocoscli.data.windows import whole
from cocoscli.engine.makeup import Applying, Makeup
from cocoscli.engine.makeup_items import MakeupReader, Target
from cocoscli.engine.makeup_sources import Source
from cocoscli.engine.models import bundled_weights, load_weights
from cocoscli.errors import BadInput

SIDE, SOURCES, CONTROL = 512, 4, 4
COLOURS = {
    "lips": (190, 30, 50), "shadow": (70, 70, 190), "blush": (240, 120, 130),
    "line": (30, 150, 70), "dot": (230, 190, 40),
}  # fmt: skip
AREAS = ("lips", "shadow", "blush")
LIPS = (87, 88, 89, 90, 91, 92, 93, 108, 107, 106, 105, 104)
LIDS = ((34, 35, 36, 37, 38), (39, 40, 41, 42, 43))
FACE = (*range(109, 115), *range(125, 134), *range(134, 145))
Places = np.ndarray
"""(SIDE,SIDE,2): for each pixel of a target, xy in the source."""


def outlines(marks: np.ndarray) -> dict[str, list[np.ndarray]]:
    """The polygons of each stroke from 189 landmarks (189,2); of the line its middle."""
    m = marks
    above = (
        np.stack([m[71], m[83], m[84], (m[84] + m[76]) / 2, m[76]]),
        np.stack([m[77], (m[77] + m[85]) / 2, m[85], m[86], m[82]]),
    )
    lids = [m[list(lid)] for lid in LIDS]
    eyes = np.linalg.norm(m[0] - m[1])
    cheeks = ((164, 165, 166, 159, 44), (167, 168, 169, 162, 49))
    return {
        "lips": [m[list(LIPS)]],
        "shadow": [
            np.concatenate([lid, (lid + 0.75 * (brow - lid))[::-1]])
            for lid, brow in zip(lids, above, strict=True)
        ],
        "blush": [
            ellipse((m[a] + m[b] + m[c]) / 3, 0.6 * (m[c] - m[a]), 0.4 * (m[d] - m[e]))
            for a, b, c, d, e in cheeks
        ],
        "line": [np.stack([m[163], (m[163] + m[113]) / 2 + 0.2 * (m[168] - m[163]), m[112]])],
        "dot": [
            ellipse(
                (m[138] + m[139] + m[50] + m[56]) / 4,
                np.array([0.08 * eyes, 0]),
                np.array([0, 0.08 * eyes]),
            )
        ],
    }


def ellipse(centre: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)[:, None]
    return centre + np.cos(angle) * across + np.sin(angle) * down


def draw(marks: np.ndarray) -> dict[str, np.ndarray]:
    """Each stroke's coverage (SIDE,SIDE) float32, and the face's."""
    width = 0.05 * float(np.linalg.norm(marks[0] - marks[1]))
    drawn = {}
    shapes = {**outlines(marks), "face": [cv2.convexHull(marks[list(FACE)].astype(np.float32))]}
    for name, polygons in shapes.items():
        canvas = np.zeros((4 * SIDE, 4 * SIDE), np.uint8)
        points = [np.round(4 * (p.reshape(-1, 2) + 0.5) - 0.5).astype(np.int32) for p in polygons]
        if name == "line":
            cv2.polylines(canvas, points, False, 255, max(1, round(4 * width)))
        else:
            cv2.fillPoly(canvas, points, 255)
        small = cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        drawn[name] = small.astype(np.float32) / 255
    return drawn


def grid() -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1).astype(np.float64)


def transform(seed: tuple[int, int]) -> Places:
    """Where each pixel of a target lies in the photo that it was made of."""
    draws = np.random.default_rng(seed)
    angle, scale = np.radians(draws.uniform(-20, 20)), draws.uniform(0.8, 1.2)
    shift = draws.uniform(-0.1, 0.1, 2) * SIDE
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    axis = np.linspace(0, SIDE - 1, CONTROL)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    moved = points + draws.uniform(-0.08, 0.08, points.shape) * SIDE
    bend = RBFInterpolator(points, moved, kernel="thin_plate_spline")
    middle = (SIDE - 1) / 2
    places = (bend(grid().reshape(-1, 2)) - middle - shift) @ turn.T + middle
    return places.reshape(SIDE, SIDE, 2)


def look(picture: np.ndarray, places: Places, border: int = cv2.BORDER_CONSTANT) -> np.ndarray:
    x, y = np.moveaxis(places.astype(np.float32), -1, 0)
    return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=border)


@dataclass(frozen=True)
class Face:
    """A photo with its landmarks and strokes."""

    name: str
    photo: np.ndarray
    marks: np.ndarray
    strokes: dict[str, np.ndarray]


def face(folder: Path, name: str, marks: np.ndarray) -> Face:
    photo = read_photo(folder / "neutral" / f"{name}.jpg", (SIDE, SIDE))
    return Face(name, photo, marks, draw(marks))


def moved(person: Face, seed: tuple[int, int]) -> Face:
    """The person turned, scaled, shifted and bent; landmarks to the nearest pixel."""
    places = transform(seed)
    nearest = cKDTree(places.reshape(-1, 2)).query(person.marks)[1]
    return Face(
        f"{person.name}-{seed[1]}",
        look(person.photo, places, cv2.BORDER_REPLICATE),
        np.stack([nearest % SIDE, nearest // SIDE], axis=-1).astype(np.float64),
        {name: look(stroke, places) for name, stroke in person.strokes.items()},
    )


def layer(strokes: dict[str, np.ndarray]) -> np.ndarray:
    """All strokes as a paint (SIDE,SIDE,4)."""
    paint = np.zeros((SIDE, SIDE, 4), np.float32)
    for name, colour in COLOURS.items():
        share = strokes[name][..., None]
        paint = paint * (1 - share)
        paint += share * np.array([*(c / 255 for c in colour), 1], np.float32)
    return paint


# The ways of moving strokes from a source to a target.


def unmoved(source: Face, target: Face) -> Places:
    return grid()


def by_eyes(source: Face, target: Face) -> Places:
    """Turned, scaled and shifted so that the centres of both eyes fall together."""
    (a, b), (c, d) = target.marks[:2], source.marks[:2]
    z = complex(*(d - c)) / complex(*(b - a))
    turn = np.array([[z.real, -z.imag], [z.imag, z.real]])
    return (grid() - (a + b) / 2) @ turn.T + (c + d) / 2


def by_landmarks(source: Face, target: Face) -> Places:
    """A thin-plate spline through all landmarks, evaluated at every 8th pixel."""
    _, kept = np.unique(target.marks, axis=0, return_index=True)
    spline = RBFInterpolator(target.marks[kept], source.marks[kept], kernel="thin_plate_spline")
    known = grid()[::8, ::8]
    moves = (spline(known.reshape(-1, 2)).reshape(known.shape) - known).astype(np.float32)
    return grid() + look(moves, grid() / 8, cv2.BORDER_REPLICATE)


BASELINES: dict[str, Callable[[Face, Face], Places]] = {
    "unmoved": unmoved, "eyes": by_eyes, "landmarks": by_landmarks,
}  # fmt: skip


def carried(source: Face, places: Places) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Each stroke and the whole paint where a baseline takes them."""
    strokes = {name: look(source.strokes[name], places) for name in COLOURS}
    return strokes, look(layer(source.strokes), places)


class Ours:
    """`cocos makeup` without its files."""

    def __init__(self, weights: Path, via: str, precision: str = "fp32") -> None:
        loaded = load_weights(weights, torch.device("cpu"))
        side = loaded.model.condition.size
        reader = MakeupReader(
            None,
            "centred",
            ConditionReader(LAYOUTS["edges"], 1),
            (side, side),  # type: ignore[arg-type]
        )
        self.model, self.reader = loaded.model, reader
        self.applying = Applying(device=torch.device("cpu"), precision=precision, via=via)

    def wearing(self, source: Face) -> Makeup:
        """The work for one source."""
        paint = layer(source.strokes)
        original = Original(source.photo, None, None)
        ys, xs = np.nonzero(paint[..., 3] > 0)
        box = int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1
        part = paint[box[1] : box[3], box[0] : box[2]].copy()
        sources = [Source(Path(source.name), whole(original), part, box)]
        return Makeup(self.model, self.reader, sources, self.applying)

    @staticmethod
    def carried(
        work: Makeup, source: Face, target: Face
    ) -> tuple[dict[str, np.ndarray], np.ndarray] | None:
        """Each stroke and the whole paint where we put them; None where no face was found."""
        original = Original(target.photo.copy(), None, None)
        (made,) = work.group([Target(0, [whole(original)])])
        if isinstance(made, BadInput):
            return None
        (worn,) = made.worn
        x0, y0, x1, y1 = work.sources[0].box
        strokes = {}
        for name in COLOURS:
            alone = np.zeros((*worn.paint.shape[:2], 4), np.float32)
            alone[..., 3] = source.strokes[name][y0:y1, x0:x1]
            strokes[name] = painted(Worn(alone, worn.place, worn.straight, worn.rest, worn.box),
                                    target)[..., 3]  # fmt: skip
        return strokes, painted(worn, target)


def painted(worn: Worn, target: Face) -> np.ndarray:
    """The paint (SIDE,SIDE,4) as it lies on a target."""
    return worn.on(target.photo, grid())


def judge(target: Face, strokes: dict[str, np.ndarray], paint: np.ndarray) -> dict[str, float]:
    found = {}
    for name in COLOURS:
        ours, true = strokes[name] > 0.5, target.strokes[name] > 0.5
        found[name] = float((ours & true).sum() / max((ours | true).sum(), 1))
    truth = layer({name: target.strokes[name] for name in COLOURS})
    inside = truth[..., 3] > 0.5
    made, wanted = (blended(target.photo, p, "multiply")[inside] for p in (paint, truth))
    found["ciede2000"] = float(deltaE_ciede2000(rgb2lab(made), rgb2lab(wanted)).mean())
    covered = paint[..., 3] > 0.5
    outside = covered & (target.strokes["face"] < 0.5)
    found["leak"] = float(outside.sum() / max(covered.sum(), 1))
    return found


def pairs(folder: Path, count: int | None) -> Iterator[tuple[Face, list[Face]]]:
    known = json.loads((folder / "landmarks_neutral_189.json").read_text())
    people = (folder / "test_people.txt").read_text().split()
    faces = [face(folder, name, np.array(known[name])) for name in people]
    targets = [
        moved(person, (n, turn)) for n, person in enumerate(faces[SOURCES:][:count])
        for turn in (0, 1)
    ]  # fmt: skip
    for source in faces[:SOURCES]:
        yield source, targets


def measure(folder: Path, weights: Path, via: str, count: int | None) -> dict[str, Any]:
    ours = Ours(weights, via)
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in (*BASELINES, "cocos")}
    refused = 0
    for source, targets in pairs(folder, count):
        work = ours.wearing(source)
        for target in targets:
            for name, way in BASELINES.items():
                rows[name].append(judge(target, *carried(source, way(source, target))))
            found = ours.carried(work, source, target)
            refused += found is None
            nothing = {name: np.zeros((SIDE, SIDE), np.float32) for name in COLOURS}
            empty = nothing, np.zeros((SIDE, SIDE, 4), np.float32)
            rows["cocos"].append(judge(target, *(found or empty)))
    table = {
        name: {key: round(float(np.mean([row[key] for row in each])), 4) for key in each[0]}
        for name, each in rows.items()
    }
    share = {name: round(table["cocos"][name] / table["landmarks"][name], 3) for name in COLOURS}
    return {
        "weights": weights.name, "via": via, "pairs": len(rows["cocos"]), "refused": refused,
        "mean": table, "share_of_landmarks": share,
        "median_iou": {
            name: {key: round(float(np.median([row[key] for row in each])), 4) for key in AREAS}
            for name, each in rows.items()
        },
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--via", choices=("photo", "condition", "both"), default="photo")
    parser.add_argument("--targets", type=int, help="of the people, the first so many")
    args = parser.parse_args()
    weights = args.weights or bundled_weights("edges", 1)
    print(json.dumps(measure(args.folder, weights, args.via, args.targets), indent=1))


if __name__ == "__main__":
    main()
