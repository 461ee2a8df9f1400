"""Makeup as a layer over a portrait: pure functions on arrays.

A *paint* is (H,W,4) float32: colour times share, and the share, 0..1. Colours of a paint that was
computed for `multiply` may lie above 1: they brighten. Photos are (H,W,3) uint8.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

BLENDS = ("multiply", "alpha", "soft-light")
LEAST = 1 / 255
"""A smaller share is no paint."""
BRIGHTEST = 2.0
"""The most that computed makeup brightens."""

SMOOTH = 1 / 128
"""Computed makeup is smoothed over this share of the portrait's longer side: pores are the
target's own."""
SHIFT = 0.03
"""How far, as a share of the longer side, the portrait without makeup may lie off."""
COMPARED = 512
"""Pixels of the longer side at which two portraits are compared."""
AGREES = 0.6
"""How well two portraits of one person agree, at least; other people reach 0.3."""


def paint_of(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Strokes (H,W,3) uint8 and their (H,W) uint8 alpha as a paint.

    Without alpha they lie on white, for `multiply`: what white they hold is taken for transparent.
    """
    colour = pixels.astype(np.float32) / 255
    if alpha is not None:
        share = alpha.astype(np.float32)[..., None] / 255
        return np.concatenate([colour * share, share], axis=-1)
    share = 1 - colour.min(axis=-1, keepdims=True)
    return np.concatenate([colour - (1 - share), share], axis=-1)


def painted_box(paint: np.ndarray) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom (exclusive) of what is painted; None where nothing is."""
    there = paint[..., 3] > LEAST
    columns, rows = np.flatnonzero(there.any(axis=0)), np.flatnonzero(there.any(axis=1))
    if not len(columns):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def blended(photo: np.ndarray, paint: np.ndarray, blend: str) -> np.ndarray:
    """A photo with a paint over it, by one of `BLENDS`. Where the share is 0 the photo's pixels are
    as they were."""
    made = photo.copy()
    inside = paint[..., 3] > 0
    under = photo[inside].astype(np.float32) / 255
    colour, share = paint[inside][:, :3], paint[inside][:, 3:]
    if blend == "multiply":
        over = under * colour
    elif blend == "alpha":
        over = colour
    else:
        over = share * soft_light(under, colour / share)
    mixed = under * (1 - share) + over
    made[inside] = np.rint(255 * mixed.clip(0, 1)).astype(np.uint8)
    return made


def soft_light(under: np.ndarray, over: np.ndarray) -> np.ndarray:
    """Colours 0..1 lit by others: below 0.5 they darken, above they brighten."""
    towards = np.where(over <= 0.5, under - under**2, np.sqrt(under) - under)
    return under + (2 * over - 1) * towards


def solved(before: np.ndarray, after: np.ndarray, blend: str) -> np.ndarray:
    """The colours that a blend makes `after` of `before` with, all (...,3) float32 0..1."""
    if blend == "alpha":
        return after
    if blend == "multiply":
        return np.minimum(after / np.maximum(before, 1 / 255), BRIGHTEST)
    darker = after <= before
    towards = np.where(darker, before - before**2, np.sqrt(before) - before)
    return (0.5 + 0.5 * (after - before) / np.maximum(towards, 1e-3)).clip(0, 1)


def computed(before: np.ndarray, after: np.ndarray, blend: str) -> np.ndarray:
    """The paint that makes `after` of `before`, two aligned (H,W,3) uint8 portraits.

    Both are smoothed first, and what differs no more than they do nearly everywhere (noise of JPEG,
    a rest of a shift, light) is no makeup.
    """
    sigma = SMOOTH * max(before.shape[:2])
    old, new = (
        cv2.GaussianBlur(x.astype(np.float32) / 255, (0, 0), sigma) for x in (before, after)
    )
    change = np.abs(new - old).max(axis=-1)
    noise = max(4 / 255, 6 * float(np.median(change)))
    share = ((change - noise) / noise).clip(0, 1)
    share = cv2.morphologyEx(share, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    share = cv2.GaussianBlur(share, (0, 0), sigma)[..., None]
    share[share < LEAST] = 0
    return np.concatenate([solved(old, new, blend) * share, share], axis=-1)


def relative(
    portrait: np.ndarray, regions: Sequence[np.ndarray], skin: np.ndarray, blend: str
) -> np.ndarray:
    """The paint that makes skin look as a made-up portrait (H,W,3) uint8 does in regions, (H,W)
    bool each; `skin` (H,W) bool is where it wears none.

    An approximation: what a region's own colour is and what makeup cannot be told apart.
    """
    sigma = SMOOTH * max(portrait.shape[:2])
    colour = cv2.GaussianBlur(portrait.astype(np.float32) / 255, (0, 0), sigma)
    bare = np.broadcast_to(np.median(colour[skin], axis=0).astype(np.float32), colour.shape)
    paint = np.zeros((*portrait.shape[:2], 4), np.float32)
    for region in regions:
        share = cv2.GaussianBlur(region.astype(np.float32), (0, 0), 2 * sigma)[..., None]
        share[share < LEAST] = 0
        stronger = share > paint[..., 3:]
        made = np.concatenate([solved(bare, colour, blend) * share, share], axis=-1)
        paint = np.where(stronger, made, paint)
    return paint


def aligned(bare: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, float]:
    """`bare` moved and turned a little onto `source`, both (H,W,3) uint8 of one size, and how well
    they agree then: the correlation of their fine structure, -1..1.

    Where no small movement makes them agree, it stays where it is.
    """
    fine = _fine(bare), _fine(source)
    scale = max(bare.shape) / max(fine[0].shape)
    move = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-4)
    try:
        agreement, found = cv2.findTransformECC(
            fine[1],
            fine[0],
            move,
            cv2.MOTION_EUCLIDEAN,
            stop,
            np.full_like(fine[0], 1, np.uint8),
            5,
        )
    except cv2.error:  # it did not converge
        return bare, float(np.corrcoef(fine[0].ravel(), fine[1].ravel())[0, 1])
    move = np.asarray(found, np.float32)
    move[:, 2] *= scale
    size = bare.shape[1], bare.shape[0]
    moved = cv2.warpAffine(
        bare, move, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    far = np.hypot(*move[:, 2]) > SHIFT * max(bare.shape)
    return moved, -1.0 if far else float(agreement)


def _fine(photo: np.ndarray) -> np.ndarray:
    """(h,w) float32, at most `COMPARED` a side: brightness without what is coarser than a 32nd of
    the longer side."""
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    scale = min(1.0, COMPARED / max(grey.shape))
    grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = grey.astype(np.float32)
    side = max(grey.shape)
    return cv2.GaussianBlur(grey, (0, 0), side / 512) - cv2.GaussianBlur(grey, (0, 0), side / 32)
