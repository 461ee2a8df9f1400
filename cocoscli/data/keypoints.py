"""Files of joints and landmarks as (J, 2) float32 x and y in pixels, NaN where missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cocoscli.data.images import IMAGE_SUFFIXES
from cocoscli.data.skeleton import JOINTS, MAX_COORDINATE
from cocoscli.data.textfiles import once, read_json
from cocoscli.data.wording import one_line, shown
from cocoscli.errors import BadInput

POSES = (17, 18, 25)  # joints of COCO, OpenPose's COCO model and OpenPose's BODY_25
EXPECTED = (
    "{stem: [[x, y(, score)], ...]}, COCO's {images, annotations}, or a list of "
    "{image_id or file_name, keypoints}"
)
_COCO = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)  # -1: the neck
_BODY_25 = (*range(8), *range(9, 19))

Entry = np.ndarray | str
"""The points of a picture, or what is wrong with them."""


def pose18(points: np.ndarray) -> np.ndarray:
    """17 (COCO), 18 or 25 (OpenPose) joints in the order of JOINTS; ValueError for other counts.

    COCO has no neck: it is the middle of the shoulders.
    """
    if len(points) == len(JOINTS):
        return points
    if len(points) == 25:
        return points[list(_BODY_25)]
    if len(points) != 17:
        raise ValueError(f"{len(points)} joints; expected 17, 18 or 25")
    joints = points[list(_COCO)]
    joints[1] = (points[5] + points[6]) / 2
    return joints


@once
def read_keypoints(path: Path) -> Mapping[str, Entry]:
    """The points of every picture that a file names, by path or stem without suffix.

    Understands what EXPECTED says; of several people in a picture the best scored, else the
    largest. A faulty picture costs itself alone: its entry says what is wrong. Raises BadInput.
    """
    loaded = read_json(path, EXPECTED)
    if isinstance(loaded, dict) and isinstance(loaded.get("annotations"), list):
        people = loaded["annotations"]
        names = _file_names(loaded.get("images"))
    elif isinstance(loaded, list):
        people, names = loaded, {}
    elif isinstance(loaded, dict) and loaded:
        return {plain(name): _entry(rows) for name, rows in loaded.items() if rows is not None}
    else:
        people, names = [], {}
    found = _best_people(people, names)
    if not found:
        raise BadInput(f"{shown(path)}: no keypoints; expected {EXPECTED}.", "Correct the file.")
    return found


def lookup(path: Path, names: Iterable[str]) -> np.ndarray | None:
    """The points of the first of `names` that a file has; None where it has none of them.

    Raises BadInput for faulty points, and where all of them are missing.
    """
    entries = read_keypoints(path)
    for name in names:
        entry = entries.get(name)
        if isinstance(entry, str):
            raise BadInput(f"{shown(path)}: {name!r} {entry}.", "Correct or remove this entry.")
        if entry is not None:
            if np.isnan(entry).all():
                raise BadInput(f"{shown(path)}: {name!r} has no points; expected some.")
            return entry
    return None


def count_points(path: Path) -> int:
    """How many points a picture of the file has: those of its first good entry.

    Raises BadInput where it has none.
    """
    entries = read_keypoints(path)
    for entry in entries.values():
        if not isinstance(entry, str):
            return len(entry)
    name, fault = next(iter(entries.items()), ("", "nothing"))
    raise BadInput(f"{shown(path)}: {name!r} {fault}.", f"Expected {EXPECTED}.")


def read_openpose(path: Path) -> np.ndarray:
    """The first person of OpenPose's JSON, 18 or 25 joints, as (18, 2). Raises BadInput."""
    expected = "OpenPose's {people: [{pose_keypoints_2d: [x, y, score, ...]}]} of 18 or 25 joints"
    loaded = read_json(path, expected)
    try:
        people = loaded["people"] if isinstance(loaded, dict) else None
        if not isinstance(people, list) or not people:
            raise ValueError("no person")
        joints = pose18(_flat(people[0]["pose_keypoints_2d"]))
        if np.isnan(joints).all():
            raise ValueError("a person without joints")
        return joints
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise BadInput(
            f"{shown(path)}: {one_line(error)}; expected {expected}.",
            "Estimate the pose of this photo again, or leave the photo out.",
        ) from error


@once
def read_skeleton(path: Path) -> tuple[tuple[int, ...], ...]:
    """The chains of joint numbers, from 0, of a skeleton file. Raises BadInput."""
    expected = 'a list of chains [[0, 1, 2], ...] of joint numbers from 0, or {"chains": [...]}'
    loaded = read_json(path, expected)
    chains = loaded.get("chains") if isinstance(loaded, dict) else loaded
    if isinstance(chains, list) and chains and len(chains) <= 254 and all(map(_is_chain, chains)):
        return tuple(map(tuple, chains))
    raise BadInput(f"{shown(path)}: expected {expected}.", "Correct the skeleton.")


def plain(name: str) -> str:
    """A picture's name as it is looked up: with / between folders, without an image's suffix."""
    path = PurePosixPath(name.replace("\\", "/").strip())
    bare = path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path
    return str(bare).lstrip("/")


def _is_chain(chain: object) -> bool:
    return (
        isinstance(chain, list)
        and 2 <= len(chain) <= 4096
        and all(type(joint) is int and 0 <= joint < 4096 for joint in chain)
    )


def _entry(rows: object) -> Entry:
    try:
        return parse_points(rows)
    except (ValueError, TypeError, OverflowError) as error:
        return f"is not usable ({one_line(error)}); expected [[x, y(, score)], ...]"


def parse_points(rows: object) -> np.ndarray:
    """Rows [x, y(, score)] or null to points; ValueError for anything else."""
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not 1 <= len(rows) <= 4096:
        raise ValueError("not a list of 1 to 4,096 points")
    points = np.full((len(rows), 2), np.nan, np.float32)
    for number, row in enumerate(rows):
        if row is None or None in row:
            continue
        if len(row) not in (2, 3):
            raise ValueError(f"point {number} has {len(row)} numbers")
        values = [float(value) for value in row if not isinstance(value, str | bool)]
        if len(values) < len(row) or not all(map(math.isfinite, values)):
            raise ValueError(f"point {number} is not of finite numbers")
        if max(map(abs, values[:2])) > MAX_COORDINATE:
            raise ValueError(f"point {number} lies beyond {MAX_COORDINATE:,} pixels")
        if len(row) == 2 or values[2] > 0:
            points[number] = values[:2]
    return points


def _flat(values: object) -> np.ndarray:
    """x, y, score, x, y, score, ... to points."""
    if not isinstance(values, list) or len(values) % 3:
        raise ValueError("keypoints that are no list of x, y, score")
    return parse_points([values[i : i + 3] for i in range(0, len(values), 3)])


def _file_names(images: object) -> dict[object, str]:
    """COCO's image ids with their file names."""
    found: dict[object, str] = {}
    for row in images if isinstance(images, list) else []:
        name, number = (row.get("file_name"), row.get("id")) if isinstance(row, dict) else (0, 0)
        if isinstance(name, str) and isinstance(number, int | str):
            found[number] = name
    return found


def _best_people(people: list[Any], names: Mapping[object, str]) -> dict[str, Entry]:
    best: dict[str, tuple[float, float]] = {}
    entries: dict[str, Entry] = {}
    for person in people:
        if not isinstance(person, dict) or "keypoints" not in person:
            continue
        rank = _number(person.get("score")), _number(person.get("area"))
        for name in _names(person, names):
            if name not in best or rank > best[name]:
                best[name] = rank
                entries[name] = _person(person["keypoints"])
    return entries


def _person(keypoints: object) -> Entry:
    try:
        nested = isinstance(keypoints, list) and keypoints and isinstance(keypoints[0], list)
        return parse_points(keypoints) if nested else _flat(keypoints)
    except (ValueError, TypeError, OverflowError) as error:
        return f"is not usable ({one_line(error)}); expected x, y, score of each joint"


def _names(person: dict[str, Any], names: Mapping[object, str]) -> list[str]:
    """The picture of a person: by file name, else by id, which COCO pads to 12 digits."""
    given, number = person.get("file_name"), person.get("image_id")
    if isinstance(given, str):
        return [plain(given)]
    if not isinstance(number, int | str):
        return []
    if number in names:
        return [plain(names[number])]
    return [plain(str(number)), str(number).zfill(12)]


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:
        return 0.0
