"""From sources to condition arrays: the dispatch over their kinds.

Face parts are packed in one plane, since they overlap; chains in one table, since they differ in
length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cocoscli.data import conditions
from cocoscli.data.conditions import FACE_PARTS
from cocoscli.data.images import Size

if TYPE_CHECKING:
    from cocoscli.data.sources import Sources


def build_condition(
    sources: Sources, photo: np.ndarray | None = None, size: Size | None = None
) -> np.ndarray:
    """The condition array at `size` (width, height; None: the sources' own).

    `photo` is (H, W, 3) uint8 at that size; only sources that need a photo look at it.
    A pose is drawn at the sources' size and then resized, as the release does.
    """
    size = sources.size if size is None else size
    if not conditions.CONDITIONS[sources.kind].is_pose:
        sources = sources.resized(size)
    if not sources.needs_photo:
        photo = np.empty((0, 0, 3), np.uint8)
    elif photo is None or photo.shape != (size[1], size[0], 3):
        found = "none" if photo is None else f"one of shape {photo.shape}"
        raise ValueError(f"{sources.kind}: a photo of {size[0]}x{size[1]} is needed, got {found}")
    return _BUILDERS[sources.kind](sources, photo, size)


def shows_nothing(sources: Sources, photo: np.ndarray) -> bool:
    """Whether the condition of sources and their photo is empty: no edge, no joint.

    Never of label maps. `photo` is (H, W, 3) uint8 of the sources' size.
    """
    if conditions.CONDITIONS[sources.kind].is_labels:
        return False
    if sources.needs_photo and conditions.has_clear_edge(photo):
        return False
    sources = drawing_only(sources)
    return conditions.is_empty(build_condition(sources, photo), sources.kind)


def drawing_only(sources: Sources) -> Sources:
    """The sources of what a preview shows: of DeepFashion's the skeleton without the distances."""
    return replace(sources, kind="pose") if sources.kind == "deepfashion" else sources


def pack_parts(parts: Mapping[str, np.ndarray], size: Size) -> np.ndarray:
    """(H, W) bool masks by part name to (H, W) uint16, a bit for each name of FACE_PARTS."""
    packed = np.zeros((size[1], size[0]), np.uint16)
    for bit, name in enumerate(FACE_PARTS):
        if name in parts:
            packed |= parts[name].astype(np.uint16) << bit
    return packed


def unpack_parts(packed: np.ndarray) -> dict[str, np.ndarray]:
    """The inverse of `pack_parts`: (H, W) bool masks by part name."""
    return {name: (packed >> bit & 1).astype(bool) for bit, name in enumerate(FACE_PARTS)}


def join_chains(chains: Sequence[Sequence[int]]) -> np.ndarray:
    """Lists of joint numbers to (C, L) int16, -1 behind the shorter ones."""
    table = np.full((len(chains), max(map(len, chains), default=0)), -1, np.int16)
    for row, chain in zip(table, chains, strict=True):
        row[: len(chain)] = chain
    return table


def _split_chains(table: np.ndarray) -> list[list[int]]:
    return [[joint for joint in row if joint >= 0] for row in table.tolist()]


def _labels(sources: Sources, photo: np.ndarray, size: Size) -> np.ndarray:
    return conditions.label_condition(sources.arrays["ids"])


def _face_mask(sources: Sources, photo: np.ndarray, size: Size) -> np.ndarray:
    return conditions.face_mask_condition(sources.arrays["ids"], sources.arrays["glasses"])


def _face_parts(sources: Sources, photo: np.ndarray, size: Size) -> np.ndarray:
    return conditions.face_edge_condition(photo, unpack_parts(sources.arrays["parts"]))


def _pose(sources: Sources, photo: np.ndarray, size: Size) -> np.ndarray:
    return conditions.pose_condition(sources.arrays["joints"], sources.size, size)


def _drawing(sources: Sources, photo: np.ndarray, size: Size) -> np.ndarray:
    return conditions.drawing_condition(sources.arrays["joints"], sources.size, size)


def _edges(sources: Sources, photo: np.ndarray, size: Size) -> np.ndarray:
    drawn = sources.arrays.get("edges")
    return conditions.edge_condition(photo) if drawn is None else drawn[None].copy()


def _face_edges(sources: Sources, photo: np.ndarray, size: Size) -> np.ndarray:
    if "landmarks" in sources.arrays:
        return conditions.landmark_condition(photo, sources.arrays["landmarks"])
    if "parts" in sources.arrays:
        return _face_parts(sources, photo, size)[:1]
    return conditions.edge_condition(photo)


def _chains(sources: Sources, photo: np.ndarray, size: Size) -> np.ndarray:
    chains = _split_chains(sources.arrays["chains"])
    return conditions.chain_condition(sources.arrays["joints"], chains, size)


_BUILDERS: dict[str, Callable[[Sources, np.ndarray, Size], np.ndarray]] = {
    "labels": _labels,
    "ade20k": _labels,
    "celebahq-mask": _face_mask,
    "celebahq-edge": _face_parts,
    "deepfashion": _pose,
    "pose": _drawing,
    "edges": _edges,
    "face-edges": _face_edges,
    "chains": _chains,
}
