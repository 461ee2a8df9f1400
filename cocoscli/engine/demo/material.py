"""The pictures that `cocos demo` starts from, generated or taken from installed packages.

scenes/       masks, exemplars in other styles, and the exact truth, as `write_scenes` has them
edits/        edited masks of the scene PHOTO
portraits/    targets of makeup, and beside them made-up.png, who wears it, and strokes.png
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from skimage.data import astronaut

from cocoscli.data.makeup_regions import landmark_parts, regions_of
from cocoscli.data.model_face import LANDMARKS
from cocoscli.data.originals import Original
from cocoscli.data.scenes import (
    ELSEWHERE,
    Layout,
    save_image,
    save_mask,
    trace,
    write_scenes,
)
from cocoscli.data.scenes.edits import resized, turned_into, without
from cocoscli.data.scenes.items import Kind
from cocoscli.data.smooth_maps import affine, inverse
from cocoscli.data.windows import SIDE, Window, window

SEED = 700_025
"""Of the scenes: far from those that are trained on, and of five kinds of weather."""
MASKS, EXEMPLARS = 12, 5
PHOTO = 3
"""The exemplar whose mask is edited."""
EDITS = {
    "no-houses": lambda layout: without(layout, Kind.HOUSE),
    "higher-mountains": lambda layout: resized(layout, Kind.MOUNTAIN, 1.35),
    "other-trees": lambda layout: turned_into(layout, Kind.CONIFER, Kind.BROADLEAF),
}
FACE, FACE_SIZE = (225, 130), 256
"""Middle and side of the square of scikit-image's astronaut that is her portrait."""
TURN, DARKER = 0.14, 0.85
"""Radians and brightness of the target that she is herself, mirrored."""
HOPPER, HOPPER_SIZE = (266, 215), 400
"""The same of matplotlib's grace_hopper."""
PAINT = {
    "cheeks": ((235, 70, 90), 0.4, 12),
    "eyes": ((90, 70, 180), 0.5, 3),
    "lips": ((176, 20, 60), 0.8, 2),
}
"""Strokes: RGB 0..255, share, and how soft they are in pixels."""


def write_material(folder: Path, size: int) -> None:
    """Write all of it, scenes of `size` pixels. Raises OSError."""
    write_scenes(folder / "scenes", MASKS, EXEMPLARS, size=size, seed=SEED)
    layout = Layout.sample(SEED + ELSEWHERE + PHOTO)
    for name, change in EDITS.items():
        save_mask(trace(change(layout), size).labels, folder / f"edits/{name}.png")
    _write_portraits(folder / "portraits")


def find_hopper() -> Path | None:
    """matplotlib's portrait of Grace Hopper; None where the package is missing."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("mpl-data") / "sample_data" / "grace_hopper.jpg"
    return path if path.is_file() else None


def _write_portraits(folder: Path) -> None:
    collins = Original(astronaut(), None, None)
    source = window(collins, np.array(FACE), FACE_SIZE)
    save_image(source.pixels, folder / "made-up.png")
    Image.fromarray(_strokes(source)).save(folder / "strokes.png")
    mirrored = Original(np.ascontiguousarray(collins.pixels[:, ::-1]), None, None)
    place = np.array([collins.size[0] - 1 - FACE[0], FACE[1]])
    turned = window(mirrored, place, FACE_SIZE, TURN).pixels
    save_image(np.rint(DARKER * turned).astype(np.uint8), folder / "targets/eileen-collins.png")
    target = folder / "targets/grace-hopper.png"
    target.unlink(missing_ok=True)  # of an earlier demo
    if path := find_hopper():
        with Image.open(path) as photo:
            hopper = Original(np.array(photo.convert("RGB")), None, None)
        portrait = window(hopper, np.array(HOPPER), HOPPER_SIZE)
        save_image(portrait.pixels, target)


def _strokes(portrait: Window) -> np.ndarray:
    """Lips, eye shadow and blush, (SIDE,SIDE,4) uint8 RGBA."""
    regions = regions_of(landmark_parts(affine(inverse(portrait.place), LANDMARKS), (SIDE, SIDE)))
    eyes, rows = regions["eyes"], np.arange(SIDE)[:, None]
    regions["eyes"] = eyes & (rows < np.nonzero(eyes)[0].mean())  # lids and above
    layer = np.zeros((SIDE, SIDE, 4), np.float32)
    for name, (colour, share, softness) in PAINT.items():
        soft = cv2.GaussianBlur(regions[name].astype(np.float32), (0, 0), softness)
        alpha = 255 * share * soft
        layer[alpha > layer[..., 3], :3] = colour
        layer[..., 3] = np.maximum(layer[..., 3], alpha)
    return np.rint(layer).astype(np.uint8)
