"""Faces and poses in a user's own photos, with mediapipe (the extra `[faces]`).

`find_faces` gives the mesh and the 68 landmarks of each face, `face_parts` its parts as masks for
`conditions.face_edge_condition`, `find_pose` the joints for `conditions.pose_condition`. Points are
x, y in pixels, 0 being the left or upper edge of the photo. Each function raises CocosError where
mediapipe is missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from cocoscli.data.faces_models import available, run
from cocoscli.data.faces_parts import LANDMARKS, hair_and_skin, mesh_parts
from cocoscli.data.skeleton import JOINTS

__all__ = ["Face", "available", "face_parts", "find_faces", "find_pose"]

Box = tuple[float, float, float, float]  # left, top, right, bottom

SMALLEST = 1 / 64  # of the photo's longer side: smaller faces are not looked for
_MIN_TILE = 192  # pixels; the detector's input
_TILE_PER_FACE = 8  # it finds faces of an eighth of its tile's side and more
_VIEW = 384  # pixels a side of the picture that the mesh model sees
_HEAD_VIEW = 512  # and of the one that hair is sought in
_MESH_WINDOW, _HEAD_WINDOW = 2.2, 3.0  # sides of those windows, in sides of the face's box
_SAME_FACE = 0.4  # overlap (intersection over union) of two finds of one face
_LARGEST_POSE_PHOTO = 1024
_VISIBLE = _PERSON = 0.5
_POSE_POINTS = {  # joint: mediapipe's pose landmark
    **{"nose": 0, "r_shoulder": 12, "r_elbow": 14, "r_wrist": 16},
    **{"l_shoulder": 11, "l_elbow": 13, "l_wrist": 15, "r_hip": 24, "r_knee": 26, "r_ankle": 28},
    **{"l_hip": 23, "l_knee": 25, "l_ankle": 27, "r_eye": 5, "l_eye": 2, "r_ear": 8, "l_ear": 7},
}


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a photo."""

    mesh: np.ndarray  # (478, 2) float32 x, y in pixels; the last ten lie on the irises

    @property
    def landmarks(self) -> np.ndarray:
        """(68, 2) float32: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, lips 48-67."""
        return self.mesh[LANDMARKS]

    @property
    def box(self) -> Box:
        """Left, top, right, bottom of the mesh; a face cut by the photo's edge reaches beyond."""
        left, top = self.mesh.min(0).tolist()
        right, bottom = self.mesh.max(0).tolist()
        return left, top, right, bottom

    @property
    def size(self) -> float:
        """The longer side of the box, in pixels."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)


def find_faces(photo: np.ndarray, smallest: float = SMALLEST) -> list[Face]:
    """The faces of an (H, W, 3) uint8 RGB photo, the largest first.

    Faces smaller than `smallest` of the photo's longer side are not looked for (1/8 is quick and
    does for portraits), nor those of fewer than about 25 pixels.
    """
    faces: list[Face] = []
    for box in _distinct(_detect(photo, smallest)):
        face = _mesh(photo, box)
        if face is not None and all(_overlap(face.box, other.box) < _SAME_FACE for other in faces):
            faces.append(face)
    return sorted(faces, key=lambda face: -face.size)


def face_parts(photo: np.ndarray, face: Face) -> dict[str, np.ndarray]:
    """The (H, W) bool parts of a face by CelebAMask-HQ's names, absent ones left out.

    Known from the mesh: skin (which holds the others), brows, eyes, nose, lips, inner mouth.
    Approximate: hair, and the skin's border with it. Ears and glasses are not known. Left and
    right are the person's.
    """
    parts = mesh_parts(face.mesh, photo.shape[:2])
    view, place, scale = _window(photo, face.box, _HEAD_WINDOW, _HEAD_VIEW)
    person = np.asarray(run("person", view)) > _PERSON
    mesh = (face.mesh - np.array(place[:2])) * scale
    hair, skin = hair_and_skin(mesh, view, person)
    parts["skin"] = _unwindow(skin, place, photo.shape[:2]) | parts["skin"]
    if hair.any():
        parts["hair"] = _unwindow(hair, place, photo.shape[:2]) & ~parts["skin"]
    return {name: mask for name, mask in parts.items() if mask.any()}


def find_pose(photo: np.ndarray) -> np.ndarray | None:
    """The 18 joints of the clearest person in an (H, W, 3) uint8 RGB photo; None for nobody.

    (18, 2) float32 in the order of `skeleton.JOINTS`; NaN where a joint is hidden or outside.
    """
    height, width = photo.shape[:2]
    scale = min(1.0, _LARGEST_POSE_PHOTO / max(height, width))
    landmarks = run("pose", _resized(photo, scale))
    if landmarks is None:
        return None
    points = np.array([(p.x * width, p.y * height, p.visibility) for p in landmarks.landmark])
    inside = (points[:, :2] >= 0).all(1) & (points[:, 0] < width) & (points[:, 1] < height)
    points[~inside | (points[:, 2] < _VISIBLE)] = np.nan
    joints = np.full((len(JOINTS), 2), np.nan, np.float32)
    for name, index in _POSE_POINTS.items():
        joints[JOINTS.index(name)] = points[index, :2]
    shoulders = joints[[JOINTS.index("r_shoulder"), JOINTS.index("l_shoulder")]]
    joints[JOINTS.index("neck")] = shoulders.mean(0)
    return joints if np.isfinite(joints).any() else None


def _detect(photo: np.ndarray, smallest: float) -> list[tuple[float, Box]]:
    """Scores and boxes of what may be faces, in the photo and in ever smaller tiles of it."""
    height, width = photo.shape[:2]
    side, found = max(height, width), _detect_in(photo, "near faces")
    limit = max(_MIN_TILE, _TILE_PER_FACE * smallest * side)
    while True:
        for top in _starts(height, side):
            for left in _starts(width, side):
                tile = photo[top : top + side, left : left + side]
                found += _detect_in(tile, "far faces", left, top)
        side = (side + 1) // 2
        if side < limit:
            return found


def _starts(length: int, side: int) -> list[int]:
    """Where tiles of a side start so that they cover a length, each half over the next."""
    last = max(0, length - side)
    return [*range(0, last, (side + 1) // 2), last]


def _detect_in(
    tile: np.ndarray, detector: str, left: int = 0, top: int = 0
) -> list[tuple[float, Box]]:
    """Scores and boxes, in the photo, of what a detector takes for faces in a tile at left, top."""
    height, width = tile.shape[:2]
    found = []
    for detection in run(detector, _resized(tile, min(1.0, _VIEW / max(height, width)))) or ():
        box = detection.location_data.relative_bounding_box
        x, y = left + box.xmin * width, top + box.ymin * height
        ends = (x + box.width * width, y + box.height * height)
        found.append((float(detection.score[0]), (x, y, *ends)))
    return found


def _distinct(found: list[tuple[float, Box]]) -> list[Box]:
    """The boxes, the surest first, without those that mostly cover a surer one."""
    kept: list[Box] = []
    for _, box in sorted(found, key=lambda pair: -pair[0]):
        if all(_overlap(box, other) < _SAME_FACE for other in kept):
            kept.append(box)
    return kept


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / max(sum(areas) - shared, 1e-9)


def _mesh(photo: np.ndarray, box: Box) -> Face | None:
    """The face in a detector's box; None where the mesh model, which looks closer, sees none."""
    view, (left, top, width, height), _ = _window(photo, box, _MESH_WINDOW, _VIEW)
    found: list[Any] = run("mesh", view) or []
    faces = []
    for face in found:
        points = [(left + p.x * width, top + p.y * height) for p in face.landmark]
        faces.append(Face(np.array(points, np.float32)))
    return max(faces, key=lambda face: _overlap(face.box, box), default=None)


def _window(
    photo: np.ndarray, box: Box, factor: float, size: int
) -> tuple[np.ndarray, tuple[int, int, int, int], float]:
    """A view of a photo, `factor` boxes a side, cut at the photo's edge, scaled to `size` pixels.

    With it its left, top, width and height in the photo, and its scale.
    """
    half = factor * max(box[2] - box[0], box[3] - box[1]) / 2
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    left, top = max(0, int(x - half)), max(0, int(y - half))
    view = photo[top : math.ceil(y + half), left : math.ceil(x + half)]
    height, width = view.shape[:2]
    scale = size / max(height, width)
    return _resized(view, scale), (left, top, width, height), scale


def _unwindow(
    mask: np.ndarray, place: tuple[int, int, int, int], shape: tuple[int, int]
) -> np.ndarray:
    """An (H, W) bool mask of a window put back into the photo."""
    left, top, width, height = place
    soft = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    out = np.zeros(shape, bool)
    out[top : top + height, left : left + width] = soft > 0.5
    return out


def _resized(photo: np.ndarray, scale: float) -> np.ndarray:
    height, width = (max(1, round(length * scale)) for length in photo.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(photo, (width, height), interpolation=how))
