"""Condition maps: what the networks see of an input, as pure functions from arrays to arrays.

A *condition array* is the compact form that is stored and moved: (P, H, W) uint8 or uint16.
`planes.expand` turns it into the (K, H, W) float32 planes in 0..1 that enter the network.

    kind            P   planes of the condition array
    labels          1   class ids
    ade20k          1   class ids
    celebahq-mask   2   class ids; glasses 0 or 1
    celebahq-edge  15   all edges 0/255; 13 distance maps; part borders 0/255
    deepfashion    20   skeleton drawing R, G, B; 17 distance maps
    pose            3   skeleton drawing R, G, B
    edges           1   edges 0/255
    face-edges      1   edges 0/255
    chains        1+C   all chains drawn 0/255; distance maps of the C chains

A distance map holds the L1 distance in pixels to the nearest border (or limb) divided by 3, cut to
0..255; where there is no border (or limb) at all it is 255 everywhere.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from cocoscli.data.polylines import FACE_LINES, draw_lines, hull_mask
from cocoscli.data.scenes import PALETTE as SCENES
from cocoscli.data.skeleton import LIMBS, draw_limbs, draw_skeleton
from cocoscli.data.wording import few
from cocoscli.errors import BadInput

IGNORE = 255
FACE_CLASSES = (
    *("background", "skin", "hair", "l_brow", "r_brow", "l_eye", "r_eye", "l_ear", "r_ear"),
    *("nose", "u_lip", "mouth", "l_lip", "neck", "cloth", "hat", "eye_g", "ear_r", "neck_l"),
)
GLASSES = FACE_CLASSES.index("eye_g")
FACE_PARTS = (
    *("skin", "l_brow", "r_brow", "l_eye", "r_eye", "l_ear", "r_ear", "nose"),
    *("u_lip", "mouth", "l_lip", "eye_g", "hair"),
)


@dataclass(frozen=True)
class Condition:
    """What is known of a kind of condition before any file is read."""

    kind: str
    channels: int | None  # planes that the network sees; None: the weights say
    planes: int | None  # planes of the condition array; None: as many as channels
    description: str
    is_labels: bool = False  # plane 0 holds class ids
    is_pose: bool = False  # drawn at the photo's own size, then resized
    classes: tuple[str, ...] = ()  # what the channels are, where known


CONDITIONS: dict[str, Condition] = {
    condition.kind: condition
    for condition in (
        Condition("labels", None, 1, "class ids of a label map", is_labels=True),
        Condition("ade20k", 151, 1, "ADE20K class ids, 0 unknown to 150", is_labels=True),
        Condition(
            "celebahq-mask",
            len(FACE_CLASSES),
            2,
            "CelebAMask-HQ face parts, glasses over the part beneath",
            is_labels=True,
            classes=FACE_CLASSES,
        ),
        Condition(
            "celebahq-edge",
            15,
            15,
            "face edges, distances to 13 part borders, part borders",
            classes=("edges", *FACE_PARTS, "borders"),
        ),
        Condition(
            "deepfashion",
            3 + len(LIMBS),
            3 + len(LIMBS),
            "18-joint skeleton drawn in colour, distances to 17 limbs",
            is_pose=True,
            classes=("red", "green", "blue", *(f"limb {a}-{b}" for a, b in LIMBS)),
        ),
        Condition(
            "pose",
            3,
            3,
            "18-joint skeleton drawn in colour",
            is_pose=True,
            classes=("red", "green", "blue"),
        ),
        Condition("edges", 1, 1, "edges, drawn or Canny's of the photo", classes=("edges",)),
        Condition(
            "face-edges",
            1,
            1,
            "68 face landmarks joined, Canny edges outside their hull",
            classes=("edges",),
        ),
        Condition("chains", None, None, "chains of joints drawn, distances to each chain"),
    )
}


def label_condition(ids: np.ndarray) -> np.ndarray:
    """(H, W) class ids to the (1, H, W) condition array, uint8 where they fit, else uint16."""
    return ids[None].astype(np.uint8 if ids.max(initial=0) <= 255 else np.uint16)


def face_mask_condition(ids: np.ndarray, glasses: np.ndarray | None = None) -> np.ndarray:
    """(H, W) face part ids and (H, W) bool glasses (None: no glasses) to (2, H, W)."""
    worn = np.zeros(ids.shape, bool) if glasses is None else glasses.astype(bool)
    plane = label_condition(ids)
    return np.concatenate([plane, worn[None].astype(plane.dtype)])


def edge_condition(photo: np.ndarray) -> np.ndarray:
    """Canny edges of an (H, W, 3) uint8 photo: (1, H, W) uint8, 0 or 255."""
    return canny_edges(photo)[None].astype(np.uint8) * 255


def face_edge_condition(photo: np.ndarray, parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """(H, W, 3) uint8 photo and (H, W) bool masks by part name to (15, H, W) uint8.

    A part of FACE_PARTS that `parts` lacks is absent from the face; other names are ignored.
    Within the inner face (every part but hair, and not under hair) only part borders are edges;
    outside it the photo's Canny edges are too.
    """
    absent = np.zeros(photo.shape[:2], bool)
    masks = {name: parts.get(name, absent) for name in FACE_PARTS}
    borders = {name: part_border(mask) for name, mask in masks.items()}
    all_borders = np.logical_or.reduce(list(borders.values()))
    inner = np.logical_or.reduce([mask for name, mask in masks.items() if name != "hair"])
    inner = inner & ~masks["hair"]
    edges = all_borders | (canny_edges(photo) & ~inner)
    maps = [distance_map(border) for border in borders.values()]
    return np.stack([edges.astype(np.uint8) * 255, *maps, all_borders.astype(np.uint8) * 255])


def pose_condition(
    joints: np.ndarray, native: tuple[int, int], size: tuple[int, int] | None = None
) -> np.ndarray:
    """(18, 2) joints as x, y in pixels (NaN where missing) to (20, H, W) uint8.

    Drawn in an image of `native` (width, height) and then resized to `size` (None: not resized):
    the drawing to the nearest pixel, the distance maps bilinearly.
    """
    width, height = native
    maps = [Image.fromarray(distance_map(m)) for m in draw_limbs(joints, height, width)]
    if size is not None and size != native:
        maps = [image.resize(size, Image.Resampling.BILINEAR) for image in maps]
    planes = np.stack([np.array(image) for image in maps])
    return np.concatenate([drawing_condition(joints, native, size), planes])


def drawing_condition(
    joints: np.ndarray, native: tuple[int, int], size: tuple[int, int] | None = None
) -> np.ndarray:
    """The first three planes of `pose_condition`: (3, H, W) uint8."""
    drawing = Image.fromarray(draw_skeleton(joints, native[1], native[0]))
    if size is not None and size != native:
        drawing = drawing.resize(size, Image.Resampling.NEAREST)
    return np.ascontiguousarray(np.array(drawing).transpose(2, 0, 1))


def landmark_condition(photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 photo and (68, 2) landmarks to (1, H, W) uint8, 0 or 255.

    The landmarks joined; outside their convex hull the photo's Canny edges too.
    """
    height, width = photo.shape[:2]
    lines = draw_lines(landmarks, FACE_LINES, height, width)
    edges = lines | (canny_edges(photo) & ~hull_mask(landmarks, height, width))
    return edges[None].astype(np.uint8) * 255


def chain_condition(
    joints: np.ndarray, chains: Sequence[Sequence[int]], size: tuple[int, int]
) -> np.ndarray:
    """(J, 2) joints and chains of their numbers to (1 + C, H, W) uint8 at (width, height)."""
    width, height = size
    drawn = [draw_lines(joints, [chain], height, width) for chain in chains]
    whole = np.logical_or.reduce([np.zeros((height, width), bool), *drawn])
    return np.stack([whole.astype(np.uint8) * 255, *map(distance_map, drawn)])


def is_empty(array: np.ndarray, kind: str = "edges") -> bool:
    """Whether a condition array shows nothing at all: no edge, no joint. Never of label maps."""
    condition = CONDITIONS[kind]
    return not condition.is_labels and not array[: 3 if condition.is_pose else 1].any()


def canny_edges(photo: np.ndarray) -> np.ndarray:
    """(H, W) bool edges of an (H, W, 3) uint8 photo: Canny with scikit-image's defaults.

    Those defaults are thresholds for 0..255: the grey image must stay uint8.
    """
    from skimage.feature import canny  # slow to import, and only edges need it

    grey = np.array(Image.fromarray(photo).convert("L"))
    return canny(grey)


def has_clear_edge(photo: np.ndarray) -> bool:
    """Whether an (H, W, 3) uint8 photo surely has Canny edges, told in a tenth of their time.

    Its steepest step is far above the upper threshold, 51, of Sobel's sums after smoothing.
    """
    grey = np.array(Image.fromarray(photo).convert("L"), np.float32)
    smooth = cv2.GaussianBlur(grey, (0, 0), 1)
    steps = [cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx) for dx in (0, 1)]
    return bool(cv2.magnitude(*steps)[2:-2, 2:-2].max(initial=0) > 64)


def part_border(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose left, right, upper or lower neighbour differs from them."""
    border = np.zeros(mask.shape, bool)
    across = mask[:, 1:] != mask[:, :-1]
    down = mask[1:] != mask[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    return border


def distance_map(target: np.ndarray) -> np.ndarray:
    """(H, W) bool to uint8: L1 distance to the nearest true pixel / 3, cut to 0..255."""
    if not target.any():
        return np.full(target.shape, 255, np.uint8)
    away = np.where(target, 0, 255).astype(np.uint8)
    distance = cv2.distanceTransform(away, cv2.DIST_L1, 3)
    return np.clip(distance / 3, 0, 255).astype(np.uint8)


def check_ids(
    ids: np.ndarray, channels: int, ignore: int | None = IGNORE, source: str = "label map"
) -> None:
    """Raise BadInput unless every id is 0..channels-1 or `ignore`; `source` names the file."""
    if ids.min(initial=0) >= 0 and ids.max(initial=0) < channels:
        return
    bad = (ids < 0) | (ids >= channels)
    if ignore is not None:
        bad &= ids != ignore
    if not bad.any():
        return
    values, counts = np.unique(ids[bad], return_counts=True)
    pairs = zip(values.tolist(), counts.tolist(), strict=True)
    named = few([f"{value} ({count:,} pixels)" for value, count in pairs])
    also = "" if ignore is None else f", or {ignore} to ignore"
    raise BadInput(
        f"{source}: class id {named}; expected 0..{channels - 1}{also}.",
        "Use weights for these classes, correct the map, or set --ignore-label.",
    )


def preview(array: np.ndarray, kind: str, palette: np.ndarray | None = None) -> np.ndarray:
    """A picture of a condition array: (H, W, 3) uint8.

    Ids take their colour from `palette`, (N, 3) uint8, which repeats after N; by default from
    PALETTE, label maps of no dataset's own from LANDSCAPE.
    """
    if CONDITIONS[kind].is_labels:
        usual = LANDSCAPE if kind == "labels" else PALETTE
        colors = usual if palette is None else np.asarray(palette, np.uint8)
        picture = colors[array[0].astype(np.intp) % len(colors)]
        if kind == "celebahq-mask":
            picture[array[1] > 0] = colors[GLASSES % len(colors)]
        return picture
    planes = array[:3] if CONDITIONS[kind].is_pose else array[[0, 0, 0]]
    return planes.transpose(1, 2, 0).copy()


def _palette() -> np.ndarray:
    """256 distinct colours: 0 near black, 255 light grey, between them hues a golden step apart."""
    rows = [(0.12, 0.12, 0.14)]
    for i in range(254):
        saturation, value = 0.45 + 0.15 * (i % 3), 0.95 - 0.12 * (i // 3 % 4)
        rows.append(colorsys.hsv_to_rgb((0.58 + i * 0.618034) % 1, saturation, value))
    rows.append((0.85, 0.85, 0.85))
    return np.array([[round(255 * part) for part in row] for row in rows], np.uint8)


PALETTE = _palette()
"""(256, 3) uint8: the fixed colour of each class id in pictures."""
LANDSCAPE = np.concatenate([SCENES, PALETTE[len(SCENES) :]])
"""The same, where the first ids have the colours of the generated scenes' classes."""
