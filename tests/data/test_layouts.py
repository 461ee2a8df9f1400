"""Layouts: made trees of each dataset, names that nobody would choose, and what is missing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocoscli.data.layouts import LAYOUTS
from cocoscli.data.walking import walk_files
from cocoscli.errors import BadInput, CocosError


def image(path: Path, size: tuple[int, int] = (8, 6), value: int = 1, mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value,) * 3).save(path)
    return path


def names(layout: str, root: Path) -> list[str]:
    base = root if root.is_dir() else root.parent
    return [path.relative_to(base).as_posix() for path in LAYOUTS[layout].walk(root)]


# Walking


def test_walk_is_sorted_by_path_and_skips_hidden_names(tmp_path):
    made = ["b.txt", "a/z.txt", "a/b/c.txt", "a.txt", "Z.txt", ".hidden", ".git/x.txt", "a/.x"]
    for name in made:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    walked = list(walk_files(tmp_path))
    assert walked == sorted(walked)
    assert [path.relative_to(tmp_path).as_posix() for path in walked] == [
        *("Z.txt", "a/b/c.txt", "a/z.txt", "a.txt", "b.txt")
    ]


def test_links_are_followed_once_and_loops_end(tmp_path):
    image(tmp_path / "a" / "x.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "self").symlink_to("self")
    outside = image(tmp_path.parent / f"{tmp_path.name}-outside" / "y.png").parent
    (tmp_path / "c").symlink_to(outside)
    assert names("labels", tmp_path) == ["a/x.png", "c/y.png"]


def test_a_very_deep_tree_is_walked(tmp_path):
    deep = tmp_path
    for _ in range(600):
        deep = deep / "d"
        deep.mkdir()
    (deep / "x.png").touch()
    assert list(walk_files(tmp_path)) == [deep / "x.png"]


def test_broken_links_are_items_so_that_they_are_reported(tmp_path):
    (tmp_path / "x.png").symlink_to("nowhere.png")
    (item,) = LAYOUTS["labels"].walk(tmp_path)
    with pytest.raises(BadInput, match="no such file"):
        LAYOUTS["labels"].read(item)


def test_walking_streams(tmp_path):
    for folder in ("a", "b"):
        image(tmp_path / folder / "x.png")
    items = LAYOUTS["labels"].walk(tmp_path)
    assert next(items).parent.name == "a"
    image(tmp_path / "b" / "y.png")  # b is not listed yet
    assert [item.name for item in items] == ["x.png", "y.png"]


STRANGE = ("a b.c.d.png", 'it\'s "q".png', "line\nbreak.png", "写真 é.png", "-x.png", "x.png")


def test_strange_names_are_found_read_and_matched(tmp_path):
    layout = LAYOUTS["labels"]
    for name in STRANGE:
        image(tmp_path / "masks" / "in side" / name, value=3)
        image(tmp_path / "images" / "in side" / name, mode="RGB").rename(
            tmp_path / "images" / "in side" / f"{Path(name).stem}.JPG"
        )
    items = list(layout.walk(tmp_path))
    assert sorted(item.name for item in items) == sorted(STRANGE)
    for item in items:
        assert layout.read(item, (4, 4)).tolist() == np.full((1, 4, 4), 3).tolist()
        photo = layout.photo(item)
        assert photo == tmp_path / "images" / "in side" / f"{item.stem}.JPG"
        assert layout.item_for_photo(photo) == item


# What is missing


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_root_that_is_missing_or_empty_or_holds_other_things(tmp_path, layout):
    with pytest.raises(CocosError, match="no such file"):
        LAYOUTS[layout].walk(tmp_path / "none")
    with pytest.raises(CocosError, match="no such file"):
        LAYOUTS[layout].walk(tmp_path / ("x" * 300))
    with pytest.raises(CocosError, match="found nothing"):
        list(LAYOUTS[layout].walk(tmp_path))
    for i in range(7):
        (tmp_path / f"note{i}.txt").touch()
    with pytest.raises(CocosError) as caught:
        list(LAYOUTS[layout].walk(tmp_path))
    found = "found note0.txt, note1.txt, note2.txt, note3.txt, note4.txt and 2 more"
    assert found in caught.value.message
    assert caught.value.hint == LAYOUTS[layout].expects


@pytest.mark.parametrize(
    ("layout", "partner", "missing"),
    [
        ("labels", "images", "masks/"),
        ("ade20k", "images", "annotations/"),
        ("celebahq-mask", "CelebA-HQ-img", "CelebAMask-HQ-mask-anno/all_parts_except_glasses/"),
        ("celebahq-edge", "CelebAMask-HQ-mask-anno", "CelebA-HQ-img/"),
        ("deepfashion", "pose", "img/"),
    ],
)
def test_half_a_dataset_says_which_folder_is_missing(tmp_path, layout, partner, missing):
    image(tmp_path / partner / "1.png")
    with pytest.raises(CocosError, match=re.escape(missing)) as caught:
        LAYOUTS[layout].walk(tmp_path)
    assert f"found {partner}" in caught.value.message


# labels


def test_labels_layout(tmp_path):
    mask = image(tmp_path / "masks" / "train" / "a.png", (9, 7))
    photo = image(tmp_path / "images" / "train" / "a.jpg", (9, 7))
    layout = LAYOUTS["labels"]
    assert names("labels", tmp_path) == ["masks/train/a.png"]
    assert names("labels", tmp_path / "masks") == ["train/a.png"]
    assert list(layout.walk(mask)) == [mask]
    assert layout.native_size(mask) == (9, 7)
    assert layout.read(mask).shape == (1, 7, 9)
    assert layout.photo(mask) == photo
    assert layout.item_for_photo(photo) == mask


def test_labels_work_from_inside_their_folder(tmp_path, monkeypatch):
    image(tmp_path / "masks" / "a.png")
    photo = image(tmp_path / "images" / "a.jpg")
    monkeypatch.chdir(tmp_path / "masks")
    (item,) = LAYOUTS["labels"].walk(Path())
    assert LAYOUTS["labels"].photo(item) == photo


def test_jpeg_among_masks_is_refused_and_not_passed_over(tmp_path):
    image(tmp_path / "masks" / "a.jpg")
    (item,) = LAYOUTS["labels"].walk(tmp_path)
    with pytest.raises(BadInput, match="lossless"):
        LAYOUTS["labels"].read(item)


def test_photos_beside_their_labels(tmp_path):
    mask, photo = image(tmp_path / "a.b.png"), image(tmp_path / "a.b.jpg")
    alone = image(tmp_path / "c.png")
    layout = LAYOUTS["labels"]
    assert names("labels", tmp_path) == ["a.b.png", "c.png"]
    assert layout.photo(mask) == photo and layout.item_for_photo(photo) == mask
    assert layout.photo(alone) is None and layout.item_for_photo(alone) is None


@pytest.mark.parametrize("masks", ["exemplars_masks", "exemplar_masks"])
def test_masks_beside_a_folder_of_exemplars(tmp_path, masks):
    photo = image(tmp_path / "exemplars" / "deep" / "x.png", mode="RGB")
    layout = LAYOUTS["labels"]
    assert layout.item_for_photo(photo) is None
    mask = image(tmp_path / masks / "deep" / "x.png")
    assert layout.item_for_photo(photo) == mask
    assert layout.photo(mask) == photo


def test_given_condition_file_or_folder(tmp_path):
    photo = image(tmp_path / "e" / "a" / "x.jpg")
    flat, nested = image(tmp_path / "m" / "x.png"), tmp_path / "m" / "a" / "x.png"
    layout = LAYOUTS["labels"]
    assert layout.item_for_photo(photo, flat) == flat
    assert layout.item_for_photo(photo, tmp_path / "none") is None
    assert layout.item_for_photo(photo, tmp_path / "m") == flat
    assert layout.item_for_photo(photo, tmp_path / "m", root=tmp_path / "e") is None
    image(nested)
    assert layout.item_for_photo(photo, tmp_path / "m") == nested
    assert layout.item_for_photo(photo, tmp_path / "m", root=tmp_path / "e") == nested
    inside = image(tmp_path / "set" / "masks" / "x.png")
    assert layout.item_for_photo(photo, tmp_path / "set") == inside
    assert layout.item_for_photo(inside, tmp_path / "set") is None  # itself is not its label map


def test_colour_coded_labels(tmp_path):
    path = image(tmp_path / "a.png", value=9, mode="RGB")
    table = {4: (9, 9, 9)}
    assert (LAYOUTS["labels"].read(path, (2, 2), table) == 4).all()


# ade20k


def test_ade20k_layout(tmp_path):
    item = image(tmp_path / "annotations" / "validation" / "ADE_val_1.png", value=150)
    photo = image(tmp_path / "images" / "validation" / "ADE_val_1.jpg")
    layout = LAYOUTS["ade20k"]
    assert names("ade20k", tmp_path) == ["annotations/validation/ADE_val_1.png"]
    assert names("ade20k", tmp_path / "annotations" / "validation") == ["ADE_val_1.png"]
    assert layout.photo(item) == photo and layout.item_for_photo(photo) == item
    assert (layout.read(item, (4, 4)) == 150).all()
    photo.unlink()
    assert layout.photo(item) is None
    elsewhere = image(tmp_path / "elsewhere" / "x.jpg")
    assert layout.item_for_photo(elsewhere) is None


# celebahq-mask


@pytest.fixture
def faces(tmp_path) -> Path:
    """Face 5487 of 8x8 pixels, all skin."""
    image(tmp_path / "CelebAMask-HQ-mask-anno/all_parts_except_glasses/05487.png", (8, 8), 1)
    image(tmp_path / "CelebA-HQ-img/5487.jpg", (16, 16), 90, "RGB")
    return tmp_path


def test_celebahq_mask_layout(faces):
    layout = LAYOUTS["celebahq-mask"]
    (item,) = layout.walk(faces)
    photo = faces / "CelebA-HQ-img" / "5487.jpg"
    for root in (faces / "CelebAMask-HQ-mask-anno", item.parent):
        assert list(layout.walk(root)) == [item]
    assert layout.photo(item) == photo and layout.item_for_photo(photo) == item
    assert layout.item_for_photo(photo, item.parent) == item
    assert layout.native_size(item) == (8, 8)
    assert layout.read(item).shape == (2, 8, 8)
    assert layout.read(item)[1].max() == 0


@pytest.mark.parametrize("place", ["2", "all_parts_except_glasses"])
def test_glasses_are_found_in_the_numbered_folder_and_beside_the_map(faces, place):
    mask = np.zeros((16, 16, 3), np.uint8)
    mask[:8] = 255
    path = faces / "CelebAMask-HQ-mask-anno" / place / "05487_eye_g.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(mask).save(path)
    (item,) = LAYOUTS["celebahq-mask"].walk(faces)  # the glasses are no item
    array = LAYOUTS["celebahq-mask"].read(item, (4, 4))
    assert array[0].tolist() == np.ones((4, 4)).tolist()
    assert array[1].tolist() == [[1] * 4, [1] * 4, [0] * 4, [0] * 4]


# celebahq-edge


def test_celebahq_edge_layout(faces):
    layout = LAYOUTS["celebahq-edge"]
    (item,) = layout.walk(faces)
    assert item == faces / "CelebA-HQ-img" / "5487.jpg"
    assert layout.photo(item) == item == layout.item_for_photo(item)
    assert layout.native_size(item) == (16, 16)
    with pytest.raises(BadInput, match=r"no face parts.*2/05487_<part>\.png"):
        layout.read(item)
    part = np.zeros((8, 8), np.uint8)
    part[2:6, 2:6] = 255
    path = faces / "CelebAMask-HQ-mask-anno" / "2" / "05487_skin.png"
    path.parent.mkdir()
    Image.fromarray(part).save(path)
    array = layout.read(item, (8, 8))
    assert array.shape == (15, 8, 8)
    assert array[0][2, 2] == 255 and array[0][0, 0] == 0
    assert (array[2] == 255).all()  # no l_brow
    assert layout.read(item).shape == (15, 16, 16)


def test_celebahq_edge_needs_a_number(faces):
    item = image(faces / "CelebA-HQ-img" / "me.jpg")
    with pytest.raises(BadInput, match="no number"):
        LAYOUTS["celebahq-edge"].read(item)


# deepfashion


def test_deepfashion_layout(tmp_path):
    photo = image(tmp_path / "img" / "WOMEN" / "a.b.jpg", (60, 40), mode="RGB")
    layout = LAYOUTS["deepfashion"]
    assert names("deepfashion", tmp_path) == ["img/WOMEN/a.b.jpg"]
    assert layout.photo(photo) == photo == layout.item_for_photo(photo)
    with pytest.raises(BadInput, match=r"no pose found; expected a\.b_candidate\.txt"):
        layout.read(photo)
    for folder in (tmp_path / "pose" / "WOMEN", photo.parent):
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"a.b_{part}.txt" for part in ("candidate", "subset")]
        files[0].write_text("10 20 1 0\n50 20 1 1\n")
        files[1].write_text("-1 0 1" + " -1" * 17)
        assert layout.read(photo).shape == (20, 40, 60)
        array = layout.read(photo, (30, 20))
        assert array[2][10, 15] == 153  # the limb from neck to shoulder
        for file in files:
            file.unlink()


# edges


def test_edges_layout_takes_any_photo(tmp_path):
    photo = image(tmp_path / "a" / "x.webp", (20, 10), mode="RGB")
    layout = LAYOUTS["edges"]
    assert list(layout.walk(tmp_path)) == [photo]
    assert layout.photo(photo) == photo == layout.item_for_photo(photo)
    assert layout.read(photo).shape == (1, 10, 20)
    assert layout.read(photo, (8, 4)).shape == (1, 4, 8)
    assert layout.item_for_photo(tmp_path / "none.png") is None


def test_edges_of_a_labelled_set_leave_the_masks_out(tmp_path):
    image(tmp_path / "masks" / "x.png")
    image(tmp_path / "images" / "x.jpg")
    assert names("edges", tmp_path) == ["images/x.jpg"]


# The datasets' own trees


@pytest.mark.shared
@pytest.mark.parametrize("task", ["ade20k", "celebahq-mask", "celebahq-edge", "deepfashion"])
def test_real_trees_are_walked_and_matched(shared, task):
    root = shared / "released" / "conditions" / task
    layout = LAYOUTS[task]
    items = list(layout.walk(root))
    assert len(items) == 4
    for item in items:
        photo = layout.photo(item)
        assert photo is not None
        assert layout.item_for_photo(photo) == item
        assert layout.item_for_photo(photo, given=root) == item
