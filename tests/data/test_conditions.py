"""Condition maps: hand-derived small cases, then the maps of the released code."""

from __future__ import annotations

import numpy as np
import pytest

from cocoscli.data import conditions
from cocoscli.data.conditions import (
    CONDITIONS,
    FACE_CLASSES,
    FACE_PARTS,
    LANDSCAPE,
    PALETTE,
    check_ids,
    distance_map,
    edge_condition,
    face_edge_condition,
    face_mask_condition,
    label_condition,
    part_border,
    pose_condition,
    preview,
)
from cocoscli.data.layouts import LAYOUTS
from cocoscli.data.skeleton import LIMBS, draw_limbs, draw_skeleton, limb_polygon, read_pose
from cocoscli.errors import BadInput


def square(size: int, start: int, stop: int) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[start:stop, start:stop] = True
    return mask


# Labels


def test_label_condition_is_as_small_as_the_ids_allow():
    ids = np.array([[0, 255]], np.uint16)
    assert label_condition(ids).dtype == np.uint8
    assert label_condition(ids + 1).dtype == np.uint16
    assert label_condition(ids + 1).tolist() == [[[1, 256]]]


def test_ids_out_of_range_are_named():
    ids = np.array([[0, 19, 19, 255, 300]], np.uint16)
    with pytest.raises(BadInput) as caught:
        check_ids(ids, 19, 255, "a/b.png")
    assert caught.value.message == (
        "a/b.png: class id 19 (2 pixels), 300 (1 pixels); expected 0..18, or 255 to ignore."
    )
    with pytest.raises(BadInput, match="class id 255"):
        check_ids(np.array([[255]]), 19, None)
    with pytest.raises(BadInput, match="class id -1"):
        check_ids(np.array([[-1]]), 19)
    check_ids(np.array([[0, 18, 255]]), 19)


def test_glasses_are_a_second_plane():
    ids = np.array([[1, 1, 4, 255]], np.uint8)
    array = face_mask_condition(ids, np.array([[False, True, True, True]]))
    assert array.tolist() == [[[1, 1, 4, 255]], [[0, 1, 1, 1]]]
    assert face_mask_condition(ids)[1].max() == 0


# Face edges


def test_border_marks_both_sides():
    assert part_border(square(5, 2, 3)).astype(int).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0],
    ]
    assert not part_border(np.ones((3, 3), bool)).any()  # the picture's edge is no border


def test_distance_is_city_blocks_over_three_cut_down():
    target = np.zeros((3, 8), bool)
    target[0, 0] = True
    assert distance_map(target).tolist() == [
        [0, 0, 0, 1, 1, 1, 2, 2],
        [0, 0, 1, 1, 1, 2, 2, 2],
        [0, 1, 1, 1, 2, 2, 2, 3],
    ]
    wide = np.zeros((1, 1000), bool)
    wide[0, 0] = True
    assert distance_map(wide)[0, [764, 767, 999]].tolist() == [254, 255, 255]


def test_nothing_near_is_all_ones():
    assert (distance_map(np.zeros((4, 4), bool)) == 255).all()


def test_face_edges_by_plane():
    photo = np.full((32, 32, 3), 90, np.uint8)  # a flat photo has no Canny edges
    skin, nose = square(32, 4, 28), square(32, 14, 18)
    array = face_edge_condition(photo, {"skin": skin, "nose": nose, "hat": square(32, 0, 3)})
    assert array.shape == (15, 32, 32) and array.dtype == np.uint8
    borders = part_border(skin) | part_border(nose)
    np.testing.assert_array_equal(array[0], borders * 255)
    np.testing.assert_array_equal(array[14], borders * 255)
    np.testing.assert_array_equal(array[1], distance_map(part_border(skin)))
    np.testing.assert_array_equal(
        array[1 + FACE_PARTS.index("nose")][14], distance_map(part_border(nose))[14]
    )
    assert (array[1 + FACE_PARTS.index("hair")] == 255).all()  # an absent part is all ones


def test_canny_counts_outside_the_inner_face_and_under_hair():
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[:, 32:] = 200
    canny = conditions.canny_edges(photo)
    assert canny[8:56, 31:33].any(axis=1).all()
    everywhere = np.ones((64, 64), bool)
    hair = np.zeros((64, 64), bool)
    hair[:32] = True
    covered = face_edge_condition(photo, {"skin": everywhere})
    assert covered[0].max() == 0
    haired = face_edge_condition(photo, {"skin": everywhere, "hair": hair})
    expected = part_border(hair) | (canny & hair)
    np.testing.assert_array_equal(haired[0], expected * 255)
    np.testing.assert_array_equal(haired[14], part_border(hair) * 255)


def test_plain_edges_see_uint8_values():
    photo = np.zeros((32, 32, 3), np.uint8)
    photo[8:24, 8:24] = 255
    array = edge_condition(photo)
    assert array.shape == (1, 32, 32)
    assert set(np.unique(array)) == {0, 255}
    assert (edge_condition(np.zeros((1, 1, 3), np.uint8)) == 0).all()


# Pose


def joints(**known: tuple[float, float]) -> np.ndarray:
    """18 joints, missing but for those given as j<number from 1>=(x, y)."""
    array = np.full((18, 2), np.nan)
    for name, place in known.items():
        array[int(name[1:]) - 1] = place
    return array


def test_one_joint_is_a_disc_of_its_colour_with_red_and_blue_swapped():
    drawing = draw_skeleton(joints(j1=(10.9, 6.9)), 20, 24)
    assert drawing.shape == (20, 24, 3)
    assert drawing[6, 10].tolist() == [0, 0, 255]  # joint 1 is red as BGR
    assert drawing[6, 14].any() and drawing[10, 10].any()
    assert not drawing[6, 15].any()


def test_limb_is_blended_over_the_joints():
    drawing = draw_skeleton(joints(j2=(10, 20), j3=(30, 20)), 40, 40)
    # between the joints: 0.6 of limb 1's red, drawn as BGR
    assert drawing[20, 20].tolist() == [0, 0, 153]
    # over joint 2 (255, 85, 0): 0.4 of it and 0.6 of the limb
    assert drawing[20, 12].tolist() == [0, 34, 255]


def test_limb_is_an_ellipse_of_half_width_four():
    polygon = limb_polygon(joints(j2=(10, 20), j3=(30, 20)), (2, 3))
    assert polygon.min(axis=0).tolist() == [10, 16]
    assert polygon.max(axis=0).tolist() == [30, 24]


def test_missing_joints_draw_nothing_and_their_limbs_are_all_ones():
    array = pose_condition(joints(j2=(10, 20), j3=(30, 20)), (40, 40))
    assert array.shape == (20, 40, 40) and array.dtype == np.uint8
    assert array[3][20, 20] == 0
    assert (array[4:] == 255).all()
    masks = draw_limbs(joints(j2=(10, 20)), 40, 40)
    assert len(masks) == len(LIMBS) == 17
    assert not any(mask.any() for mask in masks)


def test_pose_is_drawn_at_its_own_size_and_resized():
    pose = joints(j2=(20, 40), j3=(60, 40))
    native, small = pose_condition(pose, (80, 60)), pose_condition(pose, (80, 60), (40, 30))
    assert native.shape == (20, 60, 80) and small.shape == (20, 30, 40)
    assert set(np.unique(small[:3])) <= set(np.unique(native[:3]))  # nearest makes no new colours


def test_joints_outside_the_picture_are_clipped():
    array = pose_condition(joints(j2=(-30_000, 5), j3=(30_000, 5)), (20, 10))
    assert array[3].min() == 0


def write_pose(folder, candidate: str, subset: str):
    files = folder / "x_candidate.txt", folder / "x_subset.txt"
    for file, text in zip(files, (candidate, subset), strict=True):
        file.write_text(text)
    return files


def test_read_pose_takes_the_first_person(tmp_path):
    first = "1 0" + " -1" * 16 + " 20.5 2\n"
    second = "0 0" + " -1" * 16 + " 30 2\n"
    pose = read_pose(*write_pose(tmp_path, "5 6 0.9 0\n7e0 8 0.8 1\n", first + second))
    assert pose[0].tolist() == [7, 8]
    assert pose[1].tolist() == [5, 6]
    assert np.isnan(pose[2:]).all()


@pytest.mark.parametrize(
    ("candidate", "subset", "words"),
    [
        ("5 6 1 0\n", "", "no person"),
        ("5 6 1 0\n", "-1 " * 18, "without joints"),
        ("5 6 1 0\n", "1 " + "-1 " * 17, r"index 1; expected -1 or a row"),
        ("5 6 1 0\n", "0.5 " + "-1 " * 17, "index 0.5"),
        ("5 6 1 0\n", "-2 " + "-1 " * 17, "index -2"),
        ("5 6 1 0\n", "0 0 0", "row 1 has 3 numbers"),
        ("nan 6 1 0\n", "0 " + "-1 " * 17, "not finite"),
        ("1e9 6 1 0\n", "0 " + "-1 " * 17, "32,767"),
        ("five 6 1 0\n", "0 " + "-1 " * 17, "not a pose file"),
        ("5 6 1 0\n" * 130_000, "0 " + "-1 " * 17, "larger than"),
        ("5 6 1 0\n", "0 é", "not a pose file"),
    ],
)
def test_malformed_poses(tmp_path, candidate, subset, words):
    with pytest.raises(BadInput, match=words) as caught:
        read_pose(*write_pose(tmp_path, candidate, subset))
    assert str(tmp_path) in caught.value.message


# Pictures and the registry


def test_preview_of_each_kind():
    labels = np.array([[[0, 1, 255]]], np.uint8)
    assert preview(labels, "labels").tolist() == [LANDSCAPE[[0, 1, 255]].tolist()]
    assert preview(labels, "ade20k", np.array([[1, 2, 3], [4, 5, 6]])).tolist() == [
        [[1, 2, 3], [4, 5, 6], [4, 5, 6]]
    ]
    face = np.array([[[1, 1]], [[0, 1]]], np.uint8)
    assert preview(face, "celebahq-mask").tolist() == [PALETTE[[1, 16]].tolist()]
    edges = np.array([[[0, 255]]], np.uint8)
    assert preview(edges, "edges").tolist() == [[[0, 0, 0], [255, 255, 255]]]
    pose = np.zeros((20, 1, 1), np.uint8)
    pose[:3, 0, 0] = 7, 8, 9
    assert preview(pose, "deepfashion").tolist() == [[[7, 8, 9]]]


def test_palette_has_256_distinct_colours():
    assert PALETTE.shape == (256, 3)
    for colours in (PALETTE, LANDSCAPE):
        assert len(np.unique(colours, axis=0)) == 256


def test_registry_is_consistent():
    assert list(CONDITIONS) == [
        *("labels", "ade20k", "celebahq-mask", "celebahq-edge", "deepfashion", "pose"),
        *("edges", "face-edges", "chains"),
    ]
    for kind, condition in CONDITIONS.items():
        assert condition.kind == kind
        if condition.classes:
            assert len(condition.classes) == condition.channels
    assert len(FACE_CLASSES) == 19
    assert {layout.kind for layout in LAYOUTS.values()} == set(CONDITIONS)


# The released code's maps

SAMPLES = {
    "ade20k": {
        "ADE_val_00001232": "annotations/validation/ADE_val_00001232.png",
        "ADE_val_00001349": "annotations/validation/ADE_val_00001349.png",
    },
    "celebahq-mask": {
        "29922": "CelebAMask-HQ-mask-anno/all_parts_except_glasses/29922.png",
        "29883": "CelebAMask-HQ-mask-anno/all_parts_except_glasses/29883.png",
    },
    "celebahq-edge": {"29642": "CelebA-HQ-img/29642.jpg", "29539": "CelebA-HQ-img/29539.jpg"},
    "deepfashion": {
        "id_00000244_02_1_front": "img/WOMEN/Dresses/id_00000244/02_1_front.jpg",
        "id_00000203_03_1_front": "img/WOMEN/Dresses/id_00000203/03_1_front.jpg",
    },
}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("task", "key", "item"),
    [(task, key, item) for task, items in SAMPLES.items() for key, item in items.items()],
)
def test_agrees_with_the_released_code_in_every_pixel(shared, task, key, item):
    folder = shared / "released" / "conditions" / task
    expected = np.load(folder / f"expected_{key}.npz")["condition"]
    array = LAYOUTS[task].read(folder / item, (256, 256))
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)
