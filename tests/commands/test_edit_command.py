"""`cocos edit` as a user meets it: files and folders, what is kept, what is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil

import cocosnet
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from cocoscli.data.edits import OUTLINE
from cocoscli.data.scenes import Layout, Style, render, sample_layout
from cocoscli.data.scenes.items import STANDING
from cocoscli.engine.gallery import thumb_name


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def edit(desk, *more: object, image="photos", mask="masks", edited="edited", weights="labels"):
    given = [str(each) for each in more]
    fixed = ["edit", image, "--edited", edited, "--workers", 0, "--output"]
    fixed += ["out"] if "--output" not in given else [given.pop(given.index("--output") + 1)]
    given = [each for each in given if each != "--output"]
    fixed += ["--mask", mask] if mask else []
    return desk.run(*fixed, "--weights", desk.weights / f"{weights}.safetensors", *given)


def block(desk, name: str, source: str | None = None, side: int = 20, id: int = 9) -> None:
    """A mask with a square of a class in its corner, made of another one."""
    ids = pixels(desk.folder / source).copy() if source else np.ones((64, 64), np.uint8)
    ids[:side, :side] = id
    desk.picture(name, Image.fromarray(ids))


@pytest.fixture
def trio(desk):
    """Three photos with masks and edited masks."""
    for n in range(3):
        desk.photo(f"photos/p{n}.jpg", n, (96, 96))
        desk.mask(f"masks/p{n}.png", n)
        block(desk, f"edited/p{n}.png", f"masks/p{n}.png")
    return desk


@pytest.fixture
def one(desk):
    desk.photo("a.jpg", size=(200, 160))
    desk.picture("a.png", Image.fromarray(np.full((160, 200), 3, np.uint8)))
    ids = np.full((160, 200), 3, np.uint8)
    ids[60:100, 80:120] = 9
    desk.picture("new.png", Image.fromarray(ids))
    return desk


SINGLE = {"image": "a.jpg", "mask": "a.png", "edited": "new.png"}


# What is drawn.


def test_the_photo_is_its_own_exemplar(one):
    assert edit(one, **SINGLE).code == 0
    model = cocosnet.load(one.weights / "labels.safetensors")
    ids = np.asarray(Image.fromarray(pixels(one.folder / "new.png")).resize((64, 64), 0))
    x = (
        torch.nn.functional.one_hot(torch.from_numpy(ids.astype(int)), 14)
        .permute(2, 0, 1)[None]
        .float()
    )
    photo = np.asarray(Image.open(one.folder / "a.jpg").resize((64, 64), Image.Resampling.BICUBIC))
    y = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        expected = (model(x, y).image[0].permute(1, 2, 0).numpy() + 1) * 127.5
    found = pixels(one.folder / "out/new.png.png")
    assert found.shape == (64, 64, 3) and np.abs(found - expected).mean() < 2


def test_weights_that_mix_the_condition_in_get_the_mask(one):
    """Another --mask changes what they draw, and nothing of what others draw."""
    shutil.copy(one.folder / "a.png", one.folder / "b.png")
    block(one, "b.png", "a.png", side=100, id=5)
    for weights, same in (("labels", True), ("faces", False)):
        found = []
        for mask in ("a.png", "b.png"):
            output = f"{weights}-{mask}"
            told = edit(one, "--output", output, **{**SINGLE, "mask": mask}, weights=weights)
            assert told.code == 0
            found.append(pixels(one.folder / output / "new.png.png"))
        assert np.array_equal(*found) == same


def test_keep_leaves_the_photo_away_from_the_edit(one):
    assert edit(one, "--keep", "--border", 12, **SINGLE).code == 0
    photo, found = pixels(one.folder / "a.jpg"), pixels(one.folder / "out/new.png.png")
    assert found.shape == photo.shape
    changed = pixels(one.folder / "a.png") != pixels(one.folder / "new.png")
    far = ndimage.distance_transform_edt(~changed) >= 12
    assert far.any() and np.array_equal(found[far], photo[far])
    assert (found[changed] != photo[changed]).mean() > 0.5


def test_the_share_of_the_photo_grows_with_the_distance(one):
    assert edit(one, "--keep", "--border", 30, **SINGLE).code == 0
    photo = pixels(one.folder / "a.jpg").astype(int)
    moved = np.abs(pixels(one.folder / "out/new.png.png").astype(int) - photo).mean(axis=-1)
    changed = pixels(one.folder / "a.png") != pixels(one.folder / "new.png")
    distance = ndimage.distance_transform_edt(~changed)
    rings = [moved[(distance > low) & (distance <= low + 10)].mean() for low in (0, 10, 20, 30)]
    assert rings[0] > rings[1] > rings[2] > rings[3] == 0


def scene(layout: Layout) -> tuple[Image.Image, Image.Image]:
    drawn = render(layout, Style.sample(3), (96, 64))
    return Image.fromarray(drawn.image), Image.fromarray(drawn.labels)


def moved(layout: Layout) -> Layout:
    item = next(each for each in layout.items if each.kind in STANDING)
    return with_item(layout, item, dataclasses.replace(item, x=(item.x + 0.3) % 1))


def added(layout: Layout) -> Layout:
    item = next(each for each in layout.items if each.kind in STANDING)
    new = dataclasses.replace(item, x=(item.x + 0.4) % 1, index=item.index + 9)
    return dataclasses.replace(layout, items=(*layout.items, new))


def deleted(layout: Layout) -> Layout:
    item = next(each for each in layout.items if each.kind in STANDING)
    return with_item(layout, item, None)


def with_item(layout: Layout, old, new) -> Layout:
    items = [new if each is old else each for each in layout.items]
    return dataclasses.replace(layout, items=tuple(each for each in items if each))


@pytest.mark.parametrize("change", [moved, added, deleted])
def test_objects_of_scenes_are_moved_added_and_deleted(desk, change):
    layout = sample_layout(4)
    photo, mask = scene(layout)
    _, edited = scene(change(layout))
    desk.picture("a.png", photo), desk.picture("m.png", mask), desk.picture("new.png", edited)
    given = {"image": "a.png", "mask": "m.png", "edited": "new.png"}
    assert edit(desk, "--keep", "--border", 4, "--size", "96x64", **given).code == 0
    row = desk.manifest()["new.png"]
    differs = np.asarray(mask) != np.asarray(edited)
    assert differs.any() and row["changed"] == pytest.approx(differs.mean(), abs=1e-6)
    found = pixels(desk.folder / "out/new.png.png")
    far = ndimage.distance_transform_edt(~differs) >= 4
    assert np.array_equal(found[far], np.asarray(photo)[far])
    assert (found[differs] != np.asarray(photo)[differs]).mean() > 0.5


def test_masks_smaller_than_the_photo_serve(one):
    for name in ("a.png", "new.png"):
        with Image.open(one.folder / name) as image:
            one.picture(name, image.resize((100, 80), 0))
    assert edit(one, "--keep", "--border", 10, **SINGLE).code == 0
    photo, found = pixels(one.folder / "a.jpg"), pixels(one.folder / "out/new.png.png")
    assert found.shape == photo.shape and np.array_equal(found[:48, :], photo[:48, :])
    assert not np.array_equal(found[60:100, 80:120], photo[60:100, 80:120])


def test_edges_are_the_photos_own_without_a_mask(desk):
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[:, 32:] = 200
    desk.picture("a.png", Image.fromarray(photo))
    desk.picture("own.png", Image.fromarray(np.zeros((64, 64), np.uint8)))
    drawn = np.zeros((64, 64), np.uint8)
    drawn[:, 32] = drawn[40, :16] = 255
    desk.picture("new.png", Image.fromarray(drawn))
    given = {"image": "a.png", "edited": "new.png", "weights": "edges"}
    assert edit(desk, "--keep", "--border", 4, mask=None, **given).code == 0
    found = pixels(desk.folder / "out/new.png.png")
    assert np.array_equal(found[:30, :26], photo[:30, :26])
    assert not np.array_equal(found[38:43, :16], photo[38:43, :16])
    assert edit(desk, "--output", "given", mask="own.png", **given).code == 0


def test_poses(desk, tmp_path):
    config = cocosnet.presets.released("deepfashion", width=4, hidden=8)
    schema = cocosnet.ConditionSchema(kind="deepfashion", channels=config.channels, size=64)
    weights = tmp_path / "pose.safetensors"
    cocosnet.save(cocosnet.CoCosNet(config, schema), weights)
    desk.photo("photos/x.png", size=(96, 96))
    for folder, shift in (("poses", 0), ("edited", 12)):
        joints = [[20 + shift + 3 * (j % 4), 10 + 4 * j, 0.9] for j in range(18)]
        people = [{"pose_keypoints_2d": np.ravel(joints).tolist()}]
        desk.file(f"{folder}/x_keypoints.json", json.dumps({"people": people}))
    fixed = ["edit", "photos", "--mask", "poses", "--edited", "edited", "--weights", weights]
    told = desk.run(*fixed, "--output", "out", "--workers", 0, "--keep", "--border", 5)
    assert told.code == 0
    found = pixels(desk.folder / "out/x_keypoints.json.png")
    photo = pixels(desk.folder / "photos/x.png")
    assert np.array_equal(found[:, 70:], photo[:, 70:]) and not np.array_equal(found, photo)


# Folders and runs.


@pytest.mark.parametrize("workers", [0, 2])
def test_three_folders(trio, workers):
    assert edit(trio, "--workers", workers).code == 0
    assert set(trio.results()) == {f"p{n}.png.png" for n in range(3)}
    assert {row["exemplar"] for row in trio.manifest().values()} == {f"p{n}.jpg" for n in range(3)}


def test_each_photo_is_drawn_from_itself(trio):
    edit(trio)
    for n in range(3):
        alone = {"image": f"photos/p{n}.jpg", "mask": f"masks/p{n}.png"}
        edit(trio, "--output", f"alone{n}", edited=f"edited/p{n}.png", **alone)
        assert trio.results(f"alone{n}") == {f"p{n}.png.png": trio.results()[f"p{n}.png.png"]}


def test_several_edits_of_one_photo(one):
    for n in range(3):
        block(one, f"edits/e{n}.png", "a.png", side=20 + 10 * n)
    assert edit(one, **{**SINGLE, "edited": "edits"}).code == 0
    assert len(set(one.results().values())) == 3


def test_a_photo_is_encoded_once_for_its_edits(one, monkeypatch):
    from cocoscli.engine.network import Network

    for n in range(3):
        block(one, f"edits/e{n}.png", "a.png", side=20 + 10 * n)
    encode, seen = Network.encode, []
    monkeypatch.setattr(Network, "encode", lambda self, x: seen.append(x) or encode(self, x))
    assert edit(one, **{**SINGLE, "edited": "edits"}).code == 0 and len(seen) == 1


def test_runs_go_on_and_batches_change_nothing(trio):
    edit(trio)
    assert edit(trio).said[-1].startswith("0 done, 0 failed, 3 from before")
    assert edit(trio, "--limit", 2, "--output", "parts").code == 0
    edit(trio, "--batch-size", 3, "--output", "parts")
    assert trio.results("parts") == trio.results()
    told = edit(trio, "--keep")
    assert told.code == 1 and "keep was False, is True" in told.err
    assert edit(trio, "--keep", "--overwrite").code == 0


def test_partners_that_are_missing_fail_alone_and_are_taken_up(trio):
    (trio.folder / "photos/p0.jpg").rename(trio.folder / "p0.jpg")
    (trio.folder / "masks/p1.png").rename(trio.folder / "p1.png")
    told = edit(trio, "--json")
    rows = trio.manifest()
    assert told.code == 3 and json.loads(told.out)["failed"] == 2
    assert rows["p0.png"]["error"].startswith("p0.png: no photo p0.*")
    assert rows["p1.png"]["error"].startswith("p1.png: no mask p1.*")
    (trio.folder / "p0.jpg").rename(trio.folder / "photos/p0.jpg")
    (trio.folder / "p1.png").rename(trio.folder / "masks/p1.png")
    assert edit(trio).code == 3
    assert edit(trio, "--retry-failed").code == 0


def test_photos_without_an_edit_are_counted(trio):
    trio.photo("photos/left.jpg", 7)
    told = edit(trio)
    assert told.code == 0 and "left out: photos/left.jpg" in told.said[0]
    assert len(trio.results()) == 3


def test_shards(trio):
    told = edit(trio, "--format", "shards", "--keep", "--json")
    assert told.code == 0 and json.loads(told.out)["shards"] == 1
    assert (trio.folder / "out/results-000000.tar").is_file()
    assert all((trio.folder / "out" / thumb_name(f"p{n}.png", "result")).is_file()
               for n in range(3))  # fmt: skip


def test_the_page_shows_photo_mask_edit_and_result(trio):
    edit(trio)
    text = (trio.folder / "out/_cocos/rows/0000.js").read_text("utf-8")
    for title, pictures, _, failed in json.loads(text[text.index("[") : text.rindex("]") + 1]):
        assert not failed and len(pictures) == 4
        assert all((trio.folder / "out" / src).is_file() for src, _ in pictures)
        near = np.abs(pixels(trio.folder / "out" / pictures[2][0]).astype(int) - OUTLINE).sum(-1)
        assert (near[:24, :40] < 150).any() and title.startswith("p")
    page = (trio.folder / "out/index.html").read_text("utf-8")
    assert "cocos edit" in page and "edited mask" in page


def test_dry_run_says_the_plan_and_writes_nothing(trio):
    (trio.folder / "masks/p1.png").unlink()
    told = edit(trio, "--dry-run", "--json", "--limit", 2)
    facts = json.loads(told.out)
    assert told.code == 0 and facts["edits"] == 2 and facts["memory_mb"] > 0
    assert facts["first"][0] == {"edited": "p0.png", "photo": "p0.jpg", "result": "p0.png.png"}
    assert not (trio.folder / "out").exists()
    assert edit(trio, "--dry-run").out.splitlines()[-1].split() == [
        "p2.png",
        "p2.jpg",
        "p2.png.png",
    ]


# What is wrong.


def refused(told, *words: str, code: int = 1) -> None:
    assert told.code == code and not told.out
    errors = [line for line in told.said if line.startswith("error: ")]
    assert len(errors) == 1
    for word in words:
        assert word in errors[0]


def failed(desk, told, *words: str) -> None:
    """The only item failed, and its error holds these words."""
    [row] = desk.manifest().values()
    assert told.code == 3 and row["status"] == "failed"
    for word in words:
        assert word in row["error"]


def test_nothing_edited_is_the_photo_and_said(one):
    told = edit(one, "--keep", **{**SINGLE, "edited": "a.png"})
    assert told.code == 0 and "nothing is edited" in told.said[0]
    assert np.array_equal(pixels(one.folder / "out/a.png.png"), pixels(one.folder / "a.jpg"))


def test_masks_of_two_sizes_name_both(one):
    with Image.open(one.folder / "new.png") as image:
        one.picture("new.png", image.resize((100, 80), 0))
    failed(one, edit(one, **SINGLE), "new.png: 100x80", "a.png is 200x160")


def test_a_mask_of_another_shape_than_the_photo_names_both(one):
    for name in ("a.png", "new.png"):
        block(one, name)
    failed(one, edit(one, **SINGLE), "64x64", "a.jpg is 200x160")


@pytest.mark.parametrize("name", ["a.png", "new.png"])
def test_unknown_ids_name_the_file(one, name):
    block(one, name, name, id=77)
    failed(one, edit(one, **SINGLE), name, "class id 77 (400 pixels)", "expected 0..13")


def test_ids_to_ignore_are_known(one):
    block(one, "new.png", "new.png", id=255)
    assert edit(one, **SINGLE).code == 0


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "new.png"])
def test_files_that_are_no_images(one, name):
    one.file(name, b"text")
    failed(one, edit(one, **SINGLE), f"{name}: not an image")


def test_colour_coded_masks_need_their_colours(one):
    for name in ("a.png", "new.png"):
        with Image.open(one.folder / name) as image:
            colours = np.array([[0, 0, 9 * n] for n in range(10)], np.uint8)[np.asarray(image)]
        one.picture(name, Image.fromarray(colours))
    failed(one, edit(one, **SINGLE), "a colour-coded mask", "--colors")
    one.file("colors.json", json.dumps([[0, 0, 9 * n] for n in range(10)]))
    assert edit(one, "--colors", "colors.json", "--output", "with", **SINGLE).code == 0


def test_places_that_are_not_there(one):
    for name in ("image", "mask", "edited"):
        refused(edit(one, **{**SINGLE, name: "nowhere"}), "nowhere: no such file or folder")
    (one.folder / "empty").mkdir()
    refused(edit(one, **{**SINGLE, "edited": "empty"}), "empty: no labels conditions in it")
    assert not (one.folder / "out").exists()


def test_places_of_two_forms(trio):
    for wrong in (
        {"image": "photos/p0.jpg"},
        {"mask": "masks/p0.png"},
        {"edited": "edited/p0.png"},
    ):
        refused(edit(trio, **wrong), "not of one form", code=2)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--border", 3], "--border without --keep"),
        (["--format", "gif"], "--format gif"),
        (["--size", "big"], "--size big"),
    ],
)
def test_wrong_usage(one, more, words):
    refused(edit(one, *more, **SINGLE), words, code=2)


def test_label_maps_have_no_mask_of_their_own(one):
    refused(edit(one, **{**SINGLE, "mask": None}), "no --mask", "labels", code=2)
