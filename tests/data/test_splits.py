"""Splits: said by lists, by partitions, by folders, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from cocoscli.data.layouts import LAYOUTS
from cocoscli.errors import CocosError


def split(root: Path, item: str, layout: str = "labels") -> str | None:
    return LAYOUTS[layout].splits(root)(Path(item))


def write(root: Path, **lists: str) -> None:
    for name, text in lists.items():
        (root / f"{name}.txt").write_text(text)


def test_folders_say_it(tmp_path):
    for folder, expected in (
        ("annotations/training", "train"), ("masks/val", "val"), ("validation/a/b", "val"),
        ("test", "test"), ("masks", None), ("retrain", None),
    ):  # fmt: skip
        assert split(tmp_path, f"{folder}/train.png") == expected


def test_lists_of_stems_and_of_paths(tmp_path):
    write(tmp_path, train="a\n./sub\\b.JPG \n\n00012.jpg\n", val="sub/c\nimg/W/x_1.jpg\n")
    assert split(tmp_path, "masks/a.png") == "train"
    assert split(tmp_path, "masks/sub/b.png") == "train"
    assert split(tmp_path, "masks/other/b.png") is None
    assert split(tmp_path, "masks/test/sub/c.png") == "val"
    assert split(tmp_path, "img/W/x_1.jpg", "deepfashion") == "val"
    assert split(tmp_path, "masks/test/d.png") is None  # lists say it all
    assert split(tmp_path, "CelebA-HQ-img/00012.jpg") == "train"


def test_lists_of_a_condition_come_first(tmp_path):
    write(tmp_path, train="a", val="b", mask_train="b", mask_val="a", pose_test="a")
    assert split(tmp_path, "a.png") == "val"
    assert split(tmp_path, "a.jpg", "edges") == "train"
    assert split(tmp_path, "a.jpg", "deepfashion") == "test"


def test_an_item_in_two_lists_is_refused(tmp_path):
    write(tmp_path, train="a", test="a")
    with pytest.raises(CocosError, match="a: in the lists of both train and test"):
        split(tmp_path, "a.png")


def test_celeba_partition_through_the_mapping(tmp_path):
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text(
        "idx orig_idx orig_file\n0   119613  119614.jpg\n5487 9 000010.jpg\n7 8 000099.jpg\n"
    )
    write(tmp_path, list_eval_partition="000010.jpg 2\n119614.jpg 0\n")
    mask = "CelebAMask-HQ-mask-anno/all_parts_except_glasses/05487.png"
    assert split(tmp_path, mask, "celebahq-mask") == "test"
    assert split(tmp_path, "CelebA-HQ-img/0.jpg", "celebahq-edge") == "train"
    assert split(tmp_path, "CelebA-HQ-img/7.jpg", "celebahq-edge") is None
    assert split(tmp_path, "CelebA-HQ-img/8.jpg", "celebahq-edge") is None


def test_deepfashion_partition(tmp_path):
    write(
        tmp_path,
        list_eval_partition="2\nimage_name item_id evaluation_status\n"
        "img/W/a.jpg  id_1  train\nimg/W/b.jpg  id_2  gallery\n",
    )
    assert split(tmp_path, "img/W/a.jpg", "deepfashion") == "train"
    assert split(tmp_path, "img/W/b.jpg", "deepfashion") == "test"
    write(tmp_path, list_eval_partition="nothing\n")
    with pytest.raises(CocosError, match="no rows"):
        split(tmp_path, "img/W/a.jpg", "deepfashion")


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("ccp", {"train": 909, "val": 95, None: 559}),
        ("cmp_facades", {"train": 400, "val": 100, "test": 106}),
        ("celebamask_mini", {"train": 900, "val": 100}),
    ],
)
def test_real_splits(shared, name, counts):
    root = shared / "data" / name
    layout = LAYOUTS["folders"].at(root)
    found: dict[str | None, int] = {}
    for item in layout.walk(root):
        said = layout.splits(root)(item.relative_to(root))
        found[said] = found.get(said, 0) + 1
    assert found == counts
