"""Edited conditions: reading them, where they differ, and a photo that changes only there.

A condition to edit is one file: a label map, a drawing of edges (white on black), or a pose.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from cocoscli.data.conditions import CONDITIONS, FACE_CLASSES, FACE_PARTS, part_border
from cocoscli.data.images import (
    IMAGE_SUFFIXES,
    ColorTable,
    Size,
    check_aspect,
    image_size,
    is_image,
    read_labels,
)
from cocoscli.data.keypoints import read_openpose
from cocoscli.data.layouts.faces import FACE_PART_FILE, FaceMaskLayout
from cocoscli.data.layouts.folders import read_edges
from cocoscli.data.sources import Sources, pack_parts
from cocoscli.data.wording import shown
from cocoscli.errors import BadInput, UsageError

FROM_PHOTO = "edges"
"""The kind of condition that a photo has without a file: its Canny edges."""
OUTLINE = np.array([255, 0, 80], np.uint8)


def condition_suffixes(kind: str) -> tuple[str, ...]:
    """What files of a condition that can be edited end with. UsageError where there are none."""
    if kind == "chains":
        raise UsageError(
            f"the weights take {kind} conditions, which no single file holds.",
            "cocos edit takes label maps, drawings of edges and poses.",
        )
    return (".json",) if CONDITIONS[kind].is_pose else IMAGE_SUFFIXES


def is_condition(path: Path, kind: str) -> bool:
    """Whether a file of a folder is a condition of the kind, by its name."""
    if CONDITIONS[kind].is_pose:
        return path.suffix.lower() == ".json"
    return is_image(path) and not (kind == "celebahq-mask" and FACE_PART_FILE.fullmatch(path.stem))


def read_condition(
    path: Path, kind: str, photo: Path, native: Size, colors: ColorTable | None = None
) -> Sources:
    """What one file says of a condition, at its own size, or in the photo's pixels.

    Raises BadInput, also where a picture has another shape than the photo, of `native` size.
    """
    if CONDITIONS[kind].is_pose:
        if path.suffix.lower() != ".json":
            raise BadInput(
                f"{shown(path)}: a pose is expected as OpenPose's JSON.", "Give x_keypoints.json."
            )
        return Sources(kind, {"joints": read_openpose(path).astype(np.float32)}, native)
    size = image_size(path, upright=False)
    check_aspect(path, size, photo, native)
    if kind == "edges":
        return Sources(kind, {"edges": read_edges(path, size)}, size)
    if kind == "celebahq-mask":
        return FaceMaskLayout().sources(path, None, colors)
    ids = read_labels(path, None, colors)
    if kind in ("celebahq-edge", "face-edges"):
        parts = {part: ids == FACE_CLASSES.index(part) for part in FACE_PARTS}
        return Sources(kind, {"parts": pack_parts(parts, size)}, size)
    return Sources(kind, {"ids": ids}, size)


def differing(before: np.ndarray, after: np.ndarray, kind: str) -> np.ndarray:
    """(H,W) bool: where two condition arrays (P,H,W) show something else.

    Distance maps do not count: they change far from what is moved.
    """
    condition = CONDITIONS[kind]
    planes = len(before) if condition.is_labels else 3 if condition.is_pose else 1
    return (before[:planes] != after[:planes]).any(axis=0)


def weight(changed: np.ndarray, border: int) -> np.ndarray:
    """(H,W) float32 share of the new picture: 1 where `changed`, from there falling smoothly to 0
    at `border` pixels and beyond."""
    if not changed.any():
        return np.zeros(changed.shape, np.float32)
    away = np.where(changed, 0, 1).astype(np.uint8)
    distance = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    near = np.clip(1 - distance / max(border, 1), 0, 1)
    return (near * near * (3 - 2 * near)).astype(np.float32)


def blend(photo: np.ndarray, picture: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Two (H,W,3) uint8 pictures mixed by the (H,W) share of the second; at 0 the photo's own
    pixels as they are."""
    mixed = photo.copy()
    inside = share > 0
    old, new, part = photo[inside].astype(np.float32), picture[inside], share[inside][:, None]
    mixed[inside] = np.rint(old + part * (new - old)).astype(np.uint8)
    return mixed


def outlined(picture: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """The (H,W,3) picture with a line around what is `changed`."""
    drawn = picture.copy()
    drawn[part_border(changed)] = OUTLINE
    return drawn
