"""Face parts from a face mesh: pure functions on the mesh's points, the photo and a person mask.

Indices are those of mediapipe's face mesh (468 points, and 10 more on the irises). Left and right
are the person's, as in CelebAMask-HQ: `l_eye` is on the right of the picture. Outlines were chosen
by their overlap with CelebAMask-HQ's masks.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import binary_fill_holes

LANDMARKS = np.array(
    [
        *(127, 234, 93, 132, 58, 172, 150, 176, 152),  # 0-8 jaw, down the left of the picture
        *(400, 379, 397, 288, 361, 323, 454, 356),  # 9-16 and up the right, evenly spaced
        *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # 17-26 brows
        *(168, 197, 5, 4, 98, 97, 2, 326, 327),  # 27-35 nose: bridge, then base
        *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # 36-47 eyes
        *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # 48-59 lips, outside
        *(78, 82, 13, 312, 308, 317, 14, 87),  # 60-67 and inside
    ]
)
"""(68,) the mesh's point for each of the 68 common landmarks."""

OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
OUTLINES = {
    "l_brow": (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
    "r_brow": (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
    "l_eye": (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
    "r_eye": (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    "nose": (
        *(168, 193, 245, 188, 174, 217, 209, 49, 102, 64, 98, 97),
        *(2, 326, 327, 294, 331, 279, 429, 437, 399, 412, 465, 417),
    ),
    "u_lip": (
        *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
        *(308, 415, 310, 311, 312, 13, 82, 81, 80, 191, 78),
    ),
    "mouth": (
        *(78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
        *(324, 318, 402, 317, 14, 87, 178, 88, 95),
    ),
    "l_lip": (
        *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
        *(308, 324, 318, 402, 317, 14, 87, 178, 88, 95, 78),
    ),
}
_TOP, _CHIN, _TEMPLES = 10, 152, (127, 356)
_EYE_CORNERS, _INNER_LIPS = (33, 133, 362, 263), (13, 14)
_OPEN_MOUTH = 0.03  # of the distance between the eyes; a smaller gap is no mouth
_FOREHEAD = 1.6  # the oval ends below the hairline: how far above the temples skin may reach
_HAIR_FROM = 1.5  # whatever of a person lies above the oval raised so far is hair
_HAIR_TO = -1.6  # face lengths below the temples where hair ends at the latest
_HAIR_COLOR = 30  # distance in Lab (0..255) to the hair's colours
_SKIN_COLOR = 12


def mesh_parts(mesh: np.ndarray, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """(468+, 2) mesh points in pixels to (H, W) bool masks by name, absent ones left out.

    `skin` is the mesh's oval and holds all the others, as in CelebAMask-HQ; it lacks the upper
    forehead. The others are disjoint; a closed mouth has none.
    """
    parts = {"skin": fill(mesh[list(OVAL)], shape)}
    parts |= {name: fill(mesh[list(outline)], shape) for name, outline in OUTLINES.items()}
    for upper, lower in (("mouth", "u_lip"), ("mouth", "l_lip"), ("u_lip", "l_lip")):
        parts[lower] &= ~parts[upper]  # neighbours share the pixels of their border
    parts["skin"] = np.logical_or.reduce(list(parts.values()))  # a nose in profile stands out
    if _mouth_gap(mesh) < _OPEN_MOUTH:
        del parts["mouth"]
    return {name: mask for name, mask in parts.items() if mask.any()}


def fill(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: a polygon of (n, 2) points and the pixels on its border."""
    canvas = np.zeros(shape, np.uint8)
    fixed = np.round((points - 0.5) * 16).astype(np.int32)  # in sixteenths from pixel centres
    cv2.fillPoly(canvas, [fixed], 1, shift=4)
    return canvas.astype(bool)


def hair_and_skin(
    mesh: np.ndarray, photo: np.ndarray, person: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Approximate (H, W) bool hair, and skin with the whole forehead, of one face.

    Hair is what of the (H, W) bool `person` lies above the forehead, and whatever touches it and
    has its colours rather than the face's, outside the mesh's oval. A hat counts as hair; a bald
    head has none.
    """
    shape = person.shape
    oval = fill(mesh[list(OVAL)], shape)
    person = _touching(person | oval, oval)
    lab = cv2.cvtColor(cv2.GaussianBlur(photo, (0, 0), 1.5), cv2.COLOR_RGB2LAB).astype(np.float32)
    to_skin = _color_distance(lab, oval)
    top = person & ~fill(_raised(mesh, _HAIR_FROM), shape) & (_height(mesh, shape) > 0)
    if (top & (to_skin > _SKIN_COLOR)).sum() < 0.2 * top.sum():
        top &= False
    to_hair = _color_distance(lab, top & (to_skin > _SKIN_COLOR))
    like = (to_hair < _HAIR_COLOR) & (to_hair < to_skin) & (_height(mesh, shape) > _HAIR_TO)
    hair = _touching((like | top) & person & ~oval, top)
    kernel = np.ones((5, 5), np.uint8)
    closed = cv2.morphologyEx(hair.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    hair = cv2.medianBlur(closed, 17).astype(bool) & person & ~oval
    forehead = fill(_raised(mesh, _FOREHEAD), shape) & person & ~hair
    skin = oval | _touching(oval | forehead, oval)
    return binary_fill_holes(hair | skin) & ~skin if hair.any() else hair, skin


def _color_distance(lab: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(H, W) distance of each pixel to the nearest of three colours that stand for `where`."""
    pixels = lab[where]
    if len(pixels) < 30:
        return np.full(where.shape, np.inf, np.float32)
    pixels = pixels[:: max(1, len(pixels) // 2000)]
    order = pixels[:, 0].argsort()  # three bands of lightness: no random start, so repeatable
    bands = np.zeros(len(pixels), np.int32)
    bands[order] = np.arange(len(pixels)) * 3 // len(pixels)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 10, 1.0)
    centres = cv2.kmeans(pixels, 3, bands[:, None], criteria, 1, cv2.KMEANS_USE_INITIAL_LABELS)[2]
    return np.min([np.linalg.norm(lab - centre, axis=-1) for centre in centres], axis=0)


def _touching(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The connected pieces of an (H, W) bool mask, freed of thin threads, that hold a seed."""
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, pieces = cv2.connectedComponents(opened)
    kept = np.zeros(count, bool)
    kept[pieces[seeds]] = True
    kept[0] = False
    return kept[pieces]


def _raised(mesh: np.ndarray, factor: float) -> np.ndarray:
    """The oval, (36, 2), with what is above the temples stretched away from the chin."""
    oval, up = mesh[list(OVAL)], _up(mesh)
    height = (oval - mesh[list(_TEMPLES)].mean(0)) @ up
    return oval + np.outer(np.maximum(height, 0) * (factor - 1), up)


def _height(mesh: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W): how far each pixel lies above the temples, in face lengths."""
    up, length = _up(mesh), np.linalg.norm(mesh[_TOP] - mesh[_CHIN])
    x, y = mesh[list(_TEMPLES)].mean(0)
    rows, columns = np.arange(shape[0])[:, None] - y, np.arange(shape[1])[None] - x
    return (rows * up[1] + columns * up[0]) / length


def _up(mesh: np.ndarray) -> np.ndarray:
    up = mesh[_TOP] - mesh[_CHIN]
    return up / np.linalg.norm(up)


def _mouth_gap(mesh: np.ndarray) -> float:
    """Gap between the inner lips in distances between the eyes."""
    corners = mesh[list(_EYE_CORNERS)]
    between = np.linalg.norm(corners[:2].mean(0) - corners[2:].mean(0))
    upper, lower = mesh[list(_INNER_LIPS)]
    return float(np.linalg.norm(upper - lower) / between)
