"""The layout of anyone's folders, poses from JSON, ADE20K's subsets, and telling layouts apart."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocoscli.data.class_names import class_names
from cocoscli.data.layouts import LAYOUTS, detect
from cocoscli.data.layouts.layout import Layout
from cocoscli.errors import BadInput, CocosError, UsageError

POSE = [[4 * n + 2, 2 * n + 2, 1] for n in range(18)]
FACE = [[n % 17 * 4, n // 17 * 9] for n in range(68)]


def image(path: Path, size: tuple[int, int] = (80, 40), value: int = 1, mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value,) * 3).save(path)
    return path


def write(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.fixture
def root(tmp_path) -> Path:
    """A photo images/sub/x.jpg of 80x40."""
    image(tmp_path / "images" / "sub" / "x.jpg", mode="RGB")
    return tmp_path


def folders(root: Path, **options: object) -> Layout:
    return LAYOUTS["folders"].configured(**options).at(root)


def only(layout: Layout, root: Path) -> Path:
    (item,) = layout.walk(root)
    return item


def test_photos_alone_give_their_edges(root):
    layout = folders(root)
    item = only(layout, root)
    assert item == root / "images" / "sub" / "x.jpg" == layout.photo(item)
    assert layout.kind == "edges" and layout.sources(item).needs_photo
    assert layout.read(item).shape == (1, 40, 80)
    image(root / "plain" / "y.jpg")
    assert folders(root / "plain").kind == "edges"


def test_masks(root):
    image(root / "masks" / "sub" / "x.png", (160, 80), 7)
    layout = folders(root)
    item = only(layout, root)
    assert layout.kind == "labels" and item.suffix == ".jpg"
    assert layout.read(item).tolist() == np.full((1, 40, 80), 7).tolist()
    assert layout.read(item, (8, 4)).shape == (1, 4, 8)
    image(root / "masks" / "sub" / "x.png", (80, 80))
    with pytest.raises(BadInput, match="another shape"):
        layout.read(item)
    (root / "masks" / "sub" / "x.png").unlink()
    with pytest.raises(BadInput, match=r"no label map of it; expected x\.png below masks/"):
        layout.read(item)
    image(root / "masks" / "sub" / "x.jpg")
    with pytest.raises(BadInput, match="lossless"):
        layout.read(item)


def test_drawn_edges(root):
    drawn = np.zeros((40, 80), np.uint8)
    drawn[20] = 1
    path = root / "edges" / "sub" / "x.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(drawn).save(path)
    layout = folders(root)
    item = only(layout, root)
    assert layout.kind == "edges"
    np.testing.assert_array_equal(layout.read(item)[0], drawn * 255)  # 0 and 1 are off and on
    path.unlink()
    with pytest.raises(BadInput, match="no edge map of it"):
        layout.read(item)


@pytest.mark.parametrize("key", ["sub/x", "x", "images/sub/x.jpg"])
def test_poses(root, key):
    write(root / "keypoints.json", {key: POSE})
    layout = folders(root)
    item = only(layout, root)
    assert layout.kind == "deepfashion"
    sources = layout.sources(item)
    assert sources.size == (80, 40) and sources.arrays["joints"][2].tolist() == [10, 6]
    assert layout.sources(item, (160, 80)).arrays["joints"][2].tolist() == [20.5, 12.5]
    assert layout.read(item, (40, 20)).shape == (20, 20, 40)
    drawing = LAYOUTS["folders"].making("pose").at(root)
    np.testing.assert_array_equal(drawing.read(item), layout.read(item)[:3])


def test_coco_poses_and_files_of_other_names(root):
    people = {"annotations": [{"image_id": "sub/x.jpg", "keypoints": [5, 6, 1] * 17}]}
    image(root / "masks" / "sub" / "x.png")
    layout = folders(root, keypoints=write(root / "p.json", people))  # given, so before masks
    assert layout.kind == "deepfashion"
    assert layout.sources(only(layout, root)).arrays["joints"].shape == (18, 2)


def test_landmarks(root):
    write(root / "keypoints.json", {"x": FACE})
    layout = folders(root)
    item = only(layout, root)
    assert layout.kind == "face-edges"
    assert layout.sources(item).arrays["landmarks"].shape == (68, 2)
    assert layout.read(item).shape == (1, 40, 80) and layout.read(item).any()
    write(root / "keypoints.json", {"y": FACE})
    assert layout.sources(item).lack


def test_chains(root):
    write(root / "keypoints.json", {"x": [[2, 3], [6, 3], [6, 9]]})
    with pytest.raises(CocosError, match=r"3 points a picture, and no skeleton\.json"):
        folders(root)
    write(root / "skeleton.json", {"chains": [[0, 1], [1, 2]]})
    layout = folders(root)
    item = only(layout, root)
    assert layout.kind == "chains"
    array = layout.read(item)
    assert array.shape == (3, 40, 80)
    assert (array[0] > 0).sum() == 5 + 6
    write(root / "skeleton.json", {"chains": [[0, 13]]})
    with pytest.raises(BadInput, match=r"3 points, but .* joins number 13"):
        layout.read(item)
    write(root / "keypoints.json", {"other": [[2, 3]]})
    with pytest.raises(BadInput, match="no points of it in"):
        layout.read(item)


def test_a_kind_that_is_asked_for(root):
    image(root / "masks" / "sub" / "x.png")
    ask = LAYOUTS["folders"].making
    assert ask("edges").at(root).read(root / "images" / "sub" / "x.jpg").shape == (1, 40, 80)
    for kind, lacking in (
        ("chains", "skeleton.json and keypoints.json"),
        ("pose", "keypoints.json"),
    ):
        with pytest.raises(CocosError, match=f"no {lacking} for {kind}"):
            ask(kind).at(root)
    with pytest.raises(UsageError, match="makes no ade20k conditions, but labels"):
        ask("ade20k")
    with pytest.raises(UsageError, match="labels takes no keypoints"):
        LAYOUTS["labels"].configured(keypoints=root)
    assert LAYOUTS["labels"].making("labels") is LAYOUTS["labels"]


def test_configured_layouts_travel_to_other_processes(root):
    layout = folders(root, keypoints=write(root / "p.json", {"x": POSE}))
    assert pickle.loads(pickle.dumps(layout)) == layout


# Faces with landmarks, poses as JSON


def test_celebahq_photos_with_landmarks(tmp_path):
    item = image(tmp_path / "CelebA-HQ-img" / "12.jpg", (64, 64))
    part = image(tmp_path / "CelebAMask-HQ-mask-anno" / "0" / "00012_skin.png", (64, 64), 255)
    layout = LAYOUTS["celebahq-edge"].making("face-edges").at(tmp_path)
    assert set(layout.sources(item).arrays) == {"parts"}
    part.unlink()
    assert layout.sources(item, (32, 32)).arrays == {} and layout.sources(item, (32, 32)).lack
    write(tmp_path / "keypoints.json", {"00012": FACE})
    layout = LAYOUTS["face-edges"].at(tmp_path)
    assert layout.sources(item, (32, 32)).arrays["landmarks"].shape == (68, 2)
    write(tmp_path / "keypoints.json", {"12": POSE})
    with pytest.raises(BadInput, match="18 landmarks; expected 68"):
        layout.read(item)


def test_deepfashion_takes_openpose_json_and_one_file_for_all(tmp_path):
    item = image(tmp_path / "img" / "W" / "a.b.jpg", (80, 40))
    layout = LAYOUTS["deepfashion"]
    values = [value for row in POSE for value in row]
    write(
        tmp_path / "pose" / "W" / "a.b_keypoints.json", {"people": [{"pose_keypoints_2d": values}]}
    )
    joints = np.array(POSE)[:, :2]
    np.testing.assert_array_equal(layout.sources(item).arrays["joints"], joints)
    write(tmp_path / "keypoints.json", {"W/a.b": [[1, 2, 1]] * 17, "c": [[1, 2]] * 5})
    whole = layout.at(tmp_path)
    assert whole.sources(item).arrays["joints"].tolist() == [[1, 2]] * 18
    other = image(tmp_path / "img" / "W" / "c.jpg")
    with pytest.raises(BadInput, match=r"c\.jpg: a pose of 5 joints"):
        whole.sources(other)
    missing = image(tmp_path / "img" / "W" / "d.jpg")
    with pytest.raises(BadInput, match=r"no pose found; expected in .*keypoints\.json, or d_cand"):
        whole.sources(missing)
    assert LAYOUTS["pose"].at(tmp_path).read(item).shape == (3, 40, 80)


# ADE20K's subsets


@pytest.fixture
def ade(tmp_path) -> Path:
    for name in ("training/ADE_train_1", "training/ADE_train_2", "validation/ADE_val_1"):
        image(tmp_path / "annotations" / f"{name}.png")
    return tmp_path


def kept(root: Path, **options: object) -> list[str]:
    layout = LAYOUTS["ade20k"].configured(subset="outdoor", **options).at(root)
    return [item.stem for item in layout.walk(root) if layout.keeps(item)]


def test_a_subset_that_nothing_tells(ade):
    with pytest.raises(CocosError, match="nothing tells which items are outdoor") as caught:
        kept(ade)
    assert "sceneCategories.txt" in caught.value.hint
    write(ade / "sceneCategories.txt", "ADE_train_1 beach\n")
    with pytest.raises(CocosError, match=r"no outdoor\.txt"):
        kept(ade)
    assert LAYOUTS["ade20k"].at(ade).keeps(ade / "annotations" / "x.png")


def test_a_subset_by_scenes(ade):
    write(ade / "sceneCategories.txt", "ADE_train_1 beach\nADE_train_2 attic\nADE_val_1 street\n")
    write(ade / "outdoor.txt", "beach\nstreet\n")
    assert kept(ade) == ["ADE_train_1", "ADE_val_1"]
    assert kept(ade, scenes=write(ade / "mine.txt", "street")) == ["ADE_val_1"]
    layout = LAYOUTS["ade20k"].configured(subset="attic").at(ade)
    assert layout.keeps(ade / "annotations" / "training" / "ADE_train_2.png")
    write(ade / "sceneCategories.txt", "ADE_train_1 beach\n")
    with pytest.raises(BadInput, match="its scene is not known"):
        kept(ade)


def test_a_subset_by_names_and_by_folders(ade):
    write(ade / "outdoor.txt", "ADE_val_1.jpg\n")
    assert kept(ade) == ["ADE_val_1"]
    (ade / "outdoor.txt").unlink()
    image(ade / "annotations" / "training" / "outdoor" / "ADE_train_3.png")
    assert kept(ade) == ["ADE_train_3"]


# Telling layouts apart


@pytest.mark.parametrize(
    ("files", "name", "kind"),
    [
        (["masks/a.png"], "labels", "labels"),
        (["images/a.png", "masks/a.png"], "folders", "labels"),
        (["images/a.png", "edges/a.png"], "folders", "edges"),
        (["images/a.png"], "folders", "edges"),
        (["deep/er/a.png"], "folders", "edges"),
        (["annotations/training/a.png", "images/training/a.jpg"], "ade20k", "ade20k"),
        (["CelebAMask-HQ-mask-anno/0/00001_skin.png", "CelebA-HQ-img/1.jpg"],
         "celebahq-edge", "celebahq-edge"),
        (["CelebAMask-HQ-mask-anno/all_parts_except_glasses/00001.png", "CelebA-HQ-img/1.jpg"],
         "celebahq-mask", "celebahq-mask"),
        (["img/a.jpg", "pose/a.png"], "deepfashion", "deepfashion"),
        (["notes"], None, None),
    ],
)  # fmt: skip
def test_detect(tmp_path, files, name, kind):
    for file in files:
        if "." in file:
            image(tmp_path / file)
        else:
            write(tmp_path / file, "")
    layout = detect(tmp_path)
    assert (layout and layout.name, layout and layout.kind) == (name, kind)
    assert detect(tmp_path / "none") is None


def test_class_names(tmp_path):
    assert class_names(tmp_path) == {} == LAYOUTS["labels"].class_names(tmp_path)
    assert LAYOUTS["celebahq-mask"].class_names(tmp_path)[16] == "eye_g"
    ade = LAYOUTS["ade20k"].class_names(tmp_path)
    assert (len(ade), ade[0], ade[1], ade[45], ade[150]) == (
        *(151, "unknown", "wall", "chest of drawers", "flag"),
    )
    write(tmp_path / "objectInfo150.txt", "Idx\tRatio\tName\n1\t0.1\twall\n2\t0.1\tsky, heaven\n")
    assert class_names(tmp_path) == {1: "wall", 2: "sky, heaven"}
    write(tmp_path / "labels.json", ["a", "b"])
    assert LAYOUTS["labels"].class_names(tmp_path) == {0: "a", 1: "b"}
    assert LAYOUTS["edges"].class_names(tmp_path) == {}
    write(tmp_path / "labels.json", {"1": "one", "12": "twelve"})
    assert class_names(tmp_path) == {1: "one", 12: "twelve"}
    for wrong in ({"x": "one"}, {"1": 1}, {"1" * 5000: "one"}, [], [None], 3, "{"):
        write(tmp_path / "labels.json", wrong)
        with pytest.raises(BadInput, match=r"labels\.json"):
            class_names(tmp_path)


def test_every_layout_names_its_folders():
    for layout in LAYOUTS.values():
        assert "/" in layout.expects or layout.name in ("edges", "portraits", "people")
        assert layout.kind in (layout.kinds or (layout.kind,))


# Real sets


@pytest.mark.shared
@pytest.mark.parametrize(("name", "count"), [("ccp", 1563), ("cmp_facades", 606)])
def test_real_folders(shared, name, count):
    root = shared / "data" / name
    layout = detect(root)
    assert (layout.name, layout.kind) == ("folders", "labels")
    items = list(layout.walk(root))
    assert len(items) == count
    assert layout.read(items[0], (64, 64)).max() < len(class_names(root)) + 1


@pytest.mark.shared
def test_real_poses(shared):
    root = shared / "data" / "ccp"
    layout = folders(root, keypoints=root / "pose18_mediapipe_pseudo.json")
    say = layout.splits(root)
    items = [item for item in layout.walk(root) if say(item.relative_to(root))]
    assert layout.kind == "deepfashion" and len(items) == 1558
    assert layout.read(items[0], (64, 64)).shape == (20, 64, 64)


@pytest.mark.shared
def test_real_landmarks_joined_by_chains(shared, tmp_path):
    root = shared / "data" / "london_faces"
    skeleton = write(tmp_path / "skeleton.json", [[0, 1], list(range(2, 10))])
    layout = folders(root, keypoints=root / "landmarks_neutral_189.json", skeleton=skeleton)
    array = layout.read(root / "neutral" / "001.jpg", (256, 256))
    assert array.shape == (3, 256, 256) and array[0].any()
    with pytest.raises(CocosError, match="189 points"):
        folders(root, keypoints=root / "landmarks_neutral_189.json")
