"""Where the faces of photos are: found by the extra `[faces]`, or taken to be in the middle."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from cocoscli.data.faces import Face, face_parts, find_faces
from cocoscli.data.originals import Original
from cocoscli.data.windows import Window, whole, window

FACES = ("auto", "largest", "all", "centred")
SEARCHED = 1280
"""Pixels of a photo's longer side as faces are sought in it."""
PORTRAIT = 1 / 8
"""The smallest face that is looked for, as a share of the longer side; where all are wanted a
fourth of it."""
AROUND = 2.2
"""The side of a face's window, in sides of its box: about what a portrait shows."""
LOWER = 0.1
"""How far below the middle of the box its middle lies, in sides of the box."""
_EYES = (slice(36, 42), slice(42, 48))


def find_windows(original: Original, faces: str) -> list[Window]:
    """The windows of a photo's faces, by one of `FACES` but auto; none where no face is found.

    Faces are turned upright. Raises CocosError without the extra.
    """
    if faces == "centred":
        return [whole(original)]
    seen, scale = _searched(original)
    found = find_faces(seen, PORTRAIT / 4 if faces == "all" else PORTRAIT)
    return [_around(original, face, scale) for face in (found if faces == "all" else found[:1])]


def find_parts(original: Original) -> Mapping[str, np.ndarray] | None:
    """The (H,W) bool parts of the largest face, by name; None where there is none. Raises
    CocosError without the extra."""
    seen, _ = _searched(original)
    found = find_faces(seen, PORTRAIT)
    if not found:
        return None
    parts = face_parts(seen, found[0])
    return {
        name: cv2.resize(mask.astype(np.uint8), original.size, interpolation=cv2.INTER_NEAREST) > 0
        for name, mask in parts.items()
    }


def _searched(original: Original) -> tuple[np.ndarray, float]:
    """A photo as faces are sought in it, and how much smaller that is."""
    small = original.shrunk(SEARCHED)
    return small.seen(small.pixels), min(1.0, SEARCHED / max(original.size))


def _around(original: Original, face: Face, scale: float) -> Window:
    right, left = (face.landmarks[eye].mean(axis=0) for eye in _EYES)
    x, y = left - right
    turn = float(np.arctan2(y, x))
    box = np.array(face.box).reshape(2, 2)
    down = np.array([-np.sin(turn), np.cos(turn)])
    centre = box.mean(axis=0) + LOWER * face.size * down
    return window(original, centre / scale, AROUND * face.size / scale, turn)
