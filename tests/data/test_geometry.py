"""Photos and sources move together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import Delaunay

from cocoscli.data import geometry
from cocoscli.data.geometry import Aligned
from cocoscli.data.sources import Sources

SIZE = (48, 32)


def labelled(ids: np.ndarray) -> Aligned:
    photo = np.repeat(ids[..., None] * 10, 3, axis=2).astype(np.uint8)
    return Aligned(photo, Sources("labels", {"ids": ids}, (ids.shape[1], ids.shape[0])))


def posed(points: np.ndarray, size: tuple[int, int] = SIZE) -> Aligned:
    photo = np.zeros((size[1], size[0], 3), np.uint8)
    return Aligned(photo, Sources("pose", {"joints": points.astype(np.float32)}, size))


@pytest.fixture
def gradient() -> Aligned:
    ids = np.arange(32 * 48).reshape(32, 48) % 25
    return labelled(ids.astype(np.uint8))


def joints(*given: tuple[float, float]) -> np.ndarray:
    points = np.full((18, 2), np.nan)
    points[: len(given)] = np.array(given).reshape(-1, 2)
    return points


def test_crop_takes_the_same_window_of_photo_planes_and_points(gradient: Aligned) -> None:
    cut = geometry.crop(gradient, 5, 3, (16, 8))
    assert cut.size == cut.sources.size == (16, 8)
    assert (cut.sources.arrays["ids"] == gradient.sources.arrays["ids"][3:11, 5:21]).all()
    assert (cut.photo[..., 0] == cut.sources.arrays["ids"] * 10).all()
    moved = geometry.crop(posed(joints((9, 7))), 5, 3, (16, 8)).sources.arrays["joints"]
    assert moved[0].tolist() == [4, 4]
    assert np.isnan(moved[1:]).all()


def test_flip_mirrors_and_swaps_left_and_right_joints(gradient: Aligned) -> None:
    mirrored = geometry.flip(gradient)
    assert (mirrored.photo == gradient.photo[:, ::-1]).all()
    assert (mirrored.sources.arrays["ids"] == gradient.sources.arrays["ids"][:, ::-1]).all()
    points = joints((0, 1), (2, 3), (4, 5))  # nose, neck, right shoulder
    found = geometry.flip(posed(points)).sources.arrays["joints"]
    assert found[0].tolist() == [47, 1]
    assert np.isnan(found[2]).all()
    assert found[5].tolist() == [43, 5]  # the left shoulder now


@pytest.mark.parametrize("kind", ["joints", "landmarks"])
def test_flipping_twice_changes_nothing(kind: str) -> None:
    count = {"joints": 18, "landmarks": 68}[kind]
    points = np.random.default_rng(0).uniform(0, 30, (count, 2)).astype(np.float32)
    photo = np.zeros((32, 48, 3), np.uint8)
    name = {"joints": "pose", "landmarks": "face-edges"}[kind]
    item = Aligned(photo, Sources(name, {kind: points}, SIZE))
    once = geometry.flip(item)
    assert not np.allclose(once.sources.arrays[kind], points)
    assert np.allclose(geometry.flip(once).sources.arrays[kind], points, atol=1e-5)


def test_landmarks_keep_their_side_of_the_face() -> None:
    points = np.zeros((68, 2), np.float32)
    points[36], points[45] = (10, 5), (30, 5)  # the outer corners of the eyes
    item = Aligned(
        np.zeros((32, 48, 3), np.uint8), Sources("face-edges", {"landmarks": points}, SIZE)
    )
    found = geometry.flip(item).sources.arrays["landmarks"]
    assert found[36, 0] < found[45, 0]


def test_a_warp_by_the_identity_changes_nothing(gradient: Aligned) -> None:
    same = geometry.warp(gradient, geometry.identity(SIZE))
    assert (same.photo == gradient.photo).all()
    assert (same.sources.arrays["ids"] == gradient.sources.arrays["ids"]).all()


def test_a_shift_moves_everything_by_as_much(gradient: Aligned) -> None:
    origins = geometry.affine(SIZE, 0, 1, (4, 2))
    moved = geometry.warp(gradient, origins)
    assert (moved.photo[2:, 4:] == gradient.photo[:-2, :-4]).all()
    point = geometry.warp(posed(joints((9, 7))), origins).sources.arrays["joints"][0]
    assert point == pytest.approx([13, 9], abs=1e-3)


def test_a_zoom_doubles_distances_from_the_centre() -> None:
    origins = geometry.affine(SIZE, 0, 2, (0, 0))
    point = geometry.warp(posed(joints((23.5 + 5, 15.5))), origins).sources.arrays["joints"][0]
    assert point == pytest.approx([23.5 + 10, 15.5], abs=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_points_go_where_their_pixels_go(seed: int) -> None:
    """Points of blobs end at the blobs' centres, under a turn and a bend together."""
    rng = np.random.default_rng(seed)
    size = (96, 96)
    turn = geometry.affine(size, rng.uniform(-20, 20), rng.uniform(0.8, 1.2), (3, -4))
    origins = geometry.chained(turn, geometry.bend(size, 0.08, rng))
    at = np.array([(30, 40), (60, 35), (48, 66)])
    found = geometry.warp(posed(joints(*at), size), origins).sources.arrays["joints"]
    for i, (x, y) in enumerate(at):
        photo = np.zeros((96, 96, 3), np.float32)
        ys, xs = np.mgrid[0:96, 0:96]
        photo[...] = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 8)[..., None] * 255
        item = Aligned(photo.astype(np.uint8), Sources("pose", {"joints": joints()}, size))
        blob = geometry.warp(item, origins).photo[..., 0].astype(float)
        centre = [(blob * grid).sum() / blob.sum() for grid in (xs, ys)]
        assert found[i] == pytest.approx(centre, abs=0.8)


def test_bends_stay_within_their_strength() -> None:
    moves = geometry.bend((64, 64), 0.1, np.random.default_rng(3)) - geometry.identity((64, 64))
    assert 1 < np.abs(moves).max() < 1.3 * 6.4  # cubic interpolation may overshoot a little


def test_points_between_known_ones_are_carried_by_their_triangles() -> None:
    draw = np.random.default_rng(0)
    known = draw.uniform(0, 127, (40, 2))
    turn, shift = np.array([[0.9, 0.2], [-0.1, 1.1]]), np.array([3, -2])
    unknown = np.full((1, 4), np.nan)
    points = np.vstack([np.hstack([known, known @ turn + shift]), unknown])
    drawn = geometry.between(points, 500, 128, draw)
    assert drawn.shape == (500, 4) and len(np.unique(drawn[:, 0])) == 500
    assert drawn[:, 2:] == pytest.approx(drawn[:, :2] @ turn + shift)
    hull = Delaunay(known)
    assert (hull.find_simplex(drawn[:, :2]) >= 0).all()
    quarters = np.histogram2d(*drawn[:, :2].T, bins=2, range=[[0, 127]] * 2)[0]
    assert quarters.min() > 80, "evenly, not by the count of triangles"


def test_no_points_lie_between_what_is_folded_flat_or_elsewhere() -> None:
    draw = np.random.default_rng(0)
    corners = np.array([(10.0, 10), (50, 10), (10, 50)])
    far, line = corners + 300, np.array([(0.0, 0), (1, 1), (2, 2)])
    for first, second in (
        (corners, corners[[0, 2, 1]]), (corners[:2], corners[:2]), (line, corners), (corners, far)
    ):  # fmt: skip
        assert geometry.between(np.hstack([first, second]), 5, 64, draw).shape == (0, 4)
    assert len(geometry.between(np.hstack([corners, corners + 5]), 5, 64, draw)) == 5
