"""The 18-joint OpenPose skeleton: reading its files, drawing it with OpenCV's integer shapes."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from cocoscli.data.wording import one_line, shown
from cocoscli.errors import BadInput

MAX_POSE_BYTES = 1_000_000
MAX_COORDINATE = 32_767  # pixels; OpenCV's shapes are exact within it
JOINTS = (
    *("nose", "neck", "r_shoulder", "r_elbow", "r_wrist", "l_shoulder", "l_elbow", "l_wrist"),
    *("r_hip", "r_knee", "r_ankle", "l_hip", "l_knee", "l_ankle"),
    *("r_eye", "l_eye", "r_ear", "l_ear"),
)
LIMBS = (  # pairs of joints, counted from 1
    *((2, 3), (2, 6), (3, 4), (4, 5), (6, 7), (7, 8), (2, 9), (9, 10), (10, 11)),
    *((2, 12), (12, 13), (13, 14), (2, 1), (1, 15), (15, 17), (1, 16), (16, 18)),
)
COLORS = (  # a joint's, and a limb's in the order of LIMBS; drawn as BGR, so red and blue swap
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0)),
    *((0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255)),
    *((0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
RADIUS = 4  # of a joint, and half the width of a limb, in pixels


def read_pose(candidate: Path, subset: Path) -> np.ndarray:
    """Read the first person of a pose: (18, 2) x and y in pixels, NaN where a joint is missing.

    `candidate` holds rows `x y score id`; a row of `subset` holds 18 row numbers, -1 for a
    missing joint. Raises BadInput.
    """
    points, people = _read_rows(candidate, 2), _read_rows(subset, len(JOINTS))
    if not people:
        raise BadInput(f"{shown(subset)}: no person; expected one row of 18 joints.", _NO_POSE)
    joints = np.full((len(JOINTS), 2), np.nan)
    for joint, index in enumerate(people[0][: len(JOINTS)]):
        if index == -1:
            continue
        if not index.is_integer() or not 0 <= index < len(points):
            raise BadInput(
                f"{shown(subset)}: joint {joint + 1} has index {index:g}; expected -1 or a row of "
                f"{candidate.name!r}, 0..{len(points) - 1}.",
                _NO_POSE,
            )
        x, y = points[int(index)][:2]
        if max(abs(x), abs(y)) > MAX_COORDINATE:
            raise BadInput(
                f"{shown(candidate)}: joint {joint + 1} lies at ({x:g}, {y:g}); expected pixels of "
                f"the photo, at most {MAX_COORDINATE:,}.",
                _NO_POSE,
            )
        joints[joint] = x, y
    if np.isnan(joints).all():
        raise BadInput(f"{shown(subset)}: a person without joints; expected some.", _NO_POSE)
    return joints


_NO_POSE = "Estimate the pose of this photo again, or leave the photo out."


def _read_rows(path: Path, columns: int) -> list[list[float]]:
    """The rows of numbers of a text file, all finite, each of at least so many columns."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POSE_BYTES + 1)
        if len(data) > MAX_POSE_BYTES:
            raise ValueError(f"larger than {MAX_POSE_BYTES:,} bytes")
        lines = (line.split("#")[0].split() for line in data.decode("ascii").splitlines())
        rows = [[float(cell) for cell in cells] for cells in lines if cells]
        for number, row in enumerate(rows, 1):
            if len(row) < columns:
                raise ValueError(f"row {number} has {len(row)} numbers")
            if not all(map(math.isfinite, row)):
                raise ValueError(f"row {number} is not finite")
        return rows
    except (ValueError, OSError) as error:
        raise BadInput(
            f"{shown(path)}: not a pose file ({one_line(error)}); expected rows of at least "
            f"{columns} numbers.",
            _NO_POSE,
        ) from error


def draw_skeleton(joints: np.ndarray, height: int, width: int) -> np.ndarray:
    """Draw (18, 2) joints, x and y in pixels (NaN where missing), as (H, W, 3) uint8 RGB.

    Joints are discs; each limb is then blended over what is there, 0.4 old and 0.6 new.
    """
    canvas: np.ndarray = np.zeros((height, width, 3), np.uint8)
    for (x, y), color in zip(joints.tolist(), COLORS, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            cv2.circle(canvas, (int(x), int(y)), RADIUS, color, thickness=-1)
    for limb, color in zip(LIMBS, COLORS, strict=False):
        polygon = limb_polygon(joints, limb)
        if polygon is not None:
            over = cv2.fillConvexPoly(canvas.copy(), polygon, color)
            canvas = cv2.addWeighted(canvas, 0.4, over, 0.6, 0)
    return np.ascontiguousarray(canvas[..., ::-1])


def draw_limbs(joints: np.ndarray, height: int, width: int) -> list[np.ndarray]:
    """The (H, W) bool mask of each of LIMBS; all false where one of its joints is missing."""
    masks = []
    for limb in LIMBS:
        mask = np.zeros((height, width), np.uint8)
        polygon = limb_polygon(joints, limb)
        if polygon is not None:
            cv2.fillConvexPoly(mask, polygon, 1)
        masks.append(mask.astype(bool))
    return masks


def limb_polygon(joints: np.ndarray, limb: tuple[int, int]) -> np.ndarray | None:
    """The ellipse between a limb's two joints as (n, 2) int points; None where one is missing.

    Centre, half-length and angle are cut to whole numbers before the ellipse is built.
    """
    ends = joints[[limb[0] - 1, limb[1] - 1]].astype(np.float64)
    if not np.isfinite(ends).all():
        return None
    x, y = ends.mean(axis=0).tolist()
    dx, dy = (ends[0] - ends[1]).tolist()
    half, angle = int(math.hypot(dx, dy) / 2), int(math.degrees(math.atan2(dy, dx)))
    return np.asarray(cv2.ellipse2Poly((int(x), int(y)), (half, RADIUS), angle, 0, 360, 1))
