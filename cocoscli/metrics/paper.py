"""What the paper prints in its Tables 2 and 3, and how it was measured.

FID and SWD (Table 1) are left blank: that table is not legible in the copy at hand.
"""

from __future__ import annotations

ADE20K, OUTDOOR, FACES, FASHION = "ADE20k", "ADE20k-outdoor", "CelebA-HQ", "DeepFashion"
CONSISTENCY: dict[str, dict[str, float]] = {
    "Pix2pixHD": {ADE20K: 0.833, OUTDOOR: 0.848, FACES: 0.914, FASHION: 0.943},
    "SPADE": {ADE20K: 0.856, OUTDOOR: 0.867, FACES: 0.922, FASHION: 0.936},
    "MUNIT": {ADE20K: 0.723, OUTDOOR: 0.704, FACES: 0.848, FASHION: 0.910},
    "SIMS": {OUTDOOR: 0.822},
    "EGSC-IT": {ADE20K: 0.734, OUTDOOR: 0.723, FACES: 0.915, FASHION: 0.942},
    "the paper's": {ADE20K: 0.862, OUTDOOR: 0.873, FACES: 0.949, FASHION: 0.968},
}
"""Table 2, by method and image set."""
STYLE: dict[str, dict[str, tuple[float, float]]] = {
    "SPADE": {ADE20K: (0.874, 0.892), FACES: (0.955, 0.927), FASHION: (0.943, 0.904)},
    "MUNIT": {ADE20K: (0.745, 0.782), FACES: (0.939, 0.884), FASHION: (0.893, 0.861)},
    "EGSC-IT": {ADE20K: (0.781, 0.839), FACES: (0.965, 0.942), FASHION: (0.945, 0.916)},
    "the paper's": {ADE20K: (0.962, 0.941), FACES: (0.977, 0.958), FASHION: (0.982, 0.958)},
}
"""Table 3: colour and texture."""
COLUMNS = ("semantic_consistency", "style_colour", "style_texture", "fid", "swd")
FEATURES = "VGG-19"
SIZE = "256x256"
PAIRS = "exemplars retrieved from the training set"


def printed() -> list[tuple[str, str, dict[str, float]]]:
    """(image set, method, its figures by name), as the paper prints them."""
    found = []
    for images in (ADE20K, OUTDOOR, FACES, FASHION):
        for method, sets in CONSISTENCY.items():
            figures: dict[str, float] = {}
            if images in sets:
                figures["semantic_consistency"] = sets[images]
            if images in STYLE.get(method, {}):
                figures |= zip(COLUMNS[1:3], STYLE[method][images], strict=True)
            if figures:
                found.append((images, method, figures))
    return found
