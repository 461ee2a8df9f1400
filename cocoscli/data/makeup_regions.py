"""Which parts of a face makeup belongs to: lips, eyes, cheeks and brows.

*Parts* are (H,W) bool masks by CelebAMask-HQ's names, from a parsing map, from 68 landmarks or
from the extra `[faces]`; `regions_of` makes the four regions of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import cv2
import numpy as np

from cocoscli.data.conditions import FACE_CLASSES
from cocoscli.data.images import Size, check_aspect, read_labels
from cocoscli.data.keypoints import lookup
from cocoscli.data.layouts.faces import landmarks
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput, UsageError

REGIONS = ("lips", "eyes", "cheeks", "brows")
NEEDED = ("l_eye", "r_eye", "u_lip", "l_lip")
"""The parts without which there are no regions."""
OUTLINES = {
    "skin": (*range(17), *range(26, 16, -1)),
    "r_brow": tuple(range(17, 22)), "l_brow": tuple(range(22, 27)),
    "r_eye": tuple(range(36, 42)), "l_eye": tuple(range(42, 48)),
    "u_lip": (48, 49, 50, 51, 52, 53, 54, 64, 63, 62, 61, 60),
    "l_lip": (54, 55, 56, 57, 58, 59, 48, 60, 67, 66, 65, 64),
}  # fmt: skip
"""Of the 68 common landmarks, by part."""
AROUND_EYES = 0.45
"""How far eye makeup reaches, in widths of an eye."""
CHEEK = (0.42, 0.3)
"""Half axes of a cheek's ellipse, in distances between the eyes."""


def parse_regions(text: str) -> frozenset[str]:
    """`lips,eyes` -> the regions. Raises UsageError."""
    names = frozenset(filter(None, (name.strip() for name in text.split(","))))
    if not names or not names <= set(REGIONS):
        raise UsageError(f"--regions {text}: expected some of {','.join(REGIONS)}.")
    return names


def read_parts(path: Path, photo: Path, native: Size, size: Size) -> dict[str, np.ndarray]:
    """Parts of a photo of `native` size at (width, height), from a parsing map of the 19 face
    classes, or from JSON of 68 landmarks in the photo's pixels. Raises BadInput."""
    if path.suffix.lower() == ".json":
        points = lookup(path, (photo.name, photo.stem))
        if points is None:
            raise BadInput(
                f"{shown(path)}: no landmarks of {photo.stem}.", 'Expected {"name": [[x, y], ...]}.'
            )
        points = landmarks(points, path) * np.divide(size, native)
        return _checked(landmark_parts(points, size), path)
    ids = read_labels(path)
    check_aspect(path, (ids.shape[1], ids.shape[0]), photo, native)
    ids = cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST)
    parts = {name: ids == n for n, name in enumerate(FACE_CLASSES)}
    return _checked({name: mask for name, mask in parts.items() if mask.any()}, path)


def _checked(parts: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    lacking = [name for name in NEEDED if name not in parts or not parts[name].any()]
    if lacking:
        raise BadInput(
            f"{shown(path)}: no {', '.join(lacking)} in it.",
            f"Expected the 19 face classes ({', '.join(FACE_CLASSES)}), or 68 landmarks.",
        )
    return parts


def landmark_parts(points: np.ndarray, size: Size) -> dict[str, np.ndarray]:
    """The 68 landmarks (68,2) in pixels -> parts at (width, height); skin ends at the brows."""
    parts = {}
    for name, outline in OUTLINES.items():
        canvas = np.zeros(size[::-1], np.uint8)
        cv2.fillPoly(canvas, [np.round(points[list(outline)]).astype(np.int32)], 1)
        parts[name] = canvas.astype(bool)
    return parts


def regions_of(parts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The (H,W) bool regions of a face; brows only where the parts have some."""
    eyes = {side: parts[f"{side}_eye"] for side in ("l", "r")}
    centres = {side: _centre(mask) for side, mask in eyes.items()}
    lips = parts["u_lip"] | parts["l_lip"]
    width = max(float(np.ptp(np.nonzero(mask)[1])) + 1 for mask in eyes.values())
    both = eyes["l"] | eyes["r"]
    near = cv2.distanceTransform((~both).astype(np.uint8), cv2.DIST_L2, 3) <= AROUND_EYES * width
    brows = _union(parts, ("l_brow", "r_brow"), lips.shape)
    regions = {
        "lips": lips,
        "eyes": near & ~both & ~brows & ~_union(parts, ("eye_g", "nose"), lips.shape),
        "cheeks": _cheeks(centres, _centre(lips), lips.shape) & ~near & ~lips,
        "brows": brows,
    }
    return {name: mask for name, mask in regions.items() if mask.any()}


def _cheeks(
    centres: Mapping[str, np.ndarray], mouth: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """An ellipse below and outside of each eye."""
    across = centres["l"] - centres["r"]
    between, middle = float(np.linalg.norm(across)), (centres["l"] + centres["r"]) / 2
    angle = float(np.degrees(np.arctan2(across[1], across[0])))
    canvas = np.zeros(shape, np.uint8)
    for eye in centres.values():
        x, y = eye + 0.55 * (mouth - middle) + 0.12 * (eye - middle)
        axes = (round(CHEEK[0] * between), round(CHEEK[1] * between))
        cv2.ellipse(canvas, (round(x), round(y)), axes, angle, 0, 360, 1, cv2.FILLED)
    return canvas.astype(bool)


def skin_of(parts: Mapping[str, np.ndarray], regions: Mapping[str, np.ndarray]) -> np.ndarray:
    """(H,W) bool: the skin without parts and regions."""
    others = [m for n, m in {**parts, **regions}.items() if n not in ("skin", "background")]
    bare = parts["skin"] if "skin" in parts else np.zeros(others[0].shape, bool)
    return bare & ~np.logical_or.reduce(others)


def nearest_region(regions: Mapping[str, np.ndarray], wanted: Collection[str]) -> np.ndarray:
    """(H,W) bool: pixels whose nearest region is one of `wanted`, so that each stroke has one."""
    away = [
        cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) for mask in regions.values()
    ]
    chosen = np.array([name in wanted for name in regions])
    return chosen[np.argmin(away, axis=0)]


def _union(
    parts: Mapping[str, np.ndarray], names: Collection[str], shape: tuple[int, ...]
) -> np.ndarray:
    there = [parts[name] for name in names if name in parts]
    return np.logical_or.reduce(there) if there else np.zeros(shape, bool)


def _centre(mask: np.ndarray) -> np.ndarray:
    """xy of the middle of a mask."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()])
