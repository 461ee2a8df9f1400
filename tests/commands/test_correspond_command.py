"""`cocos correspond` as a user meets it: what is matched, what is written, what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cocosnet
import cv2
import numpy as np
import pytest
from PIL import Image

COLUMNS = ("confidence", "cycle_error", "mutual", "low_confidence", "one_to_many", "most_used",
           "used", "many_to_one")  # fmt: skip


def archive(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


def photos(desk: Any, *more: object, output: str = "out") -> Any:
    """`cocos correspond` of photos/ by photos/ with the tiny edge weights."""
    weights = desk.weights / "edges.safetensors"
    return desk.correspond("--weights", weights, *more, inputs="photos", output=output)


def in_place(desk: Any, *more: object, output: str = "out") -> Any:
    """A photo against itself, so that each match is known: the same place."""
    return photos(desk, "--via", "photo", *more, output=output)


# What is written.


def test_a_flow_an_input_and_a_page(desk):
    desk.fill(3, 2)
    desk.mask("masks/sub/m.png")
    told = desk.correspond("--json")
    assert told.code == 0, told.err
    summary = json.loads(told.out)
    assert summary["done"] == 4 and summary["page"] == "out/index.html"
    assert set(desk.results()) == {f"{n}.png.npz" for n in ("m0", "m1", "m2", "sub/m")}
    found = archive(desk.folder / "out/m0.png.npz")
    assert found["flow"].shape == (16, 16, 2) and found["usage"].sum() == 256
    assert found["size"].tolist() == found["exemplar_file_size"].tolist() == [64, 64]
    assert not found["as_photos"] and not found["subpixel"] and found["stride"] == 4
    for row in desk.manifest().values():
        assert set(COLUMNS) <= row.keys() and row["exemplar"]


def test_the_same_command_goes_on_and_other_settings_are_refused(desk):
    desk.fill(3, 2)
    assert desk.correspond("--limit", 2).code == 0
    assert desk.correspond().said[-1].startswith("1 done, 0 failed, 2 from before")
    told = desk.correspond("--subpixel")
    assert told.code == 1 and "subpixel was False, is True" in told.said[-2]
    assert desk.correspond("--subpixel", "--overwrite").code == 0


def test_a_resumed_run_writes_the_same_bytes(desk):
    desk.fill(4, 2)
    desk.correspond("--warp", "--batch-size", 2)
    desk.correspond("--warp", "--batch-size", 2, "--limit", 1, output="cut")
    desk.correspond("--warp", "--batch-size", 2, output="cut")
    assert desk.results("cut") == desk.results()


def test_overwriting_takes_every_file_of_an_item_away(desk):
    desk.fill(1, 1)
    desk.file("points.csv", "3,4\n")
    desk.correspond("--warp", "--points", "points.csv")
    assert desk.manifest()["m0.png"]["also"] == ["m0.png.warp.png", "m0.png.points.csv"]
    assert desk.correspond("--format", "flo", "--overwrite").code == 0
    left = {path.name for path in (desk.folder / "out").glob("m0*")}
    assert left == {"m0.png.flo"}


def test_an_item_without_one_of_its_files_is_made_again(desk):
    desk.fill(2, 1)
    desk.correspond("--warp")
    (desk.folder / "out/m1.png.warp.png").unlink()
    assert desk.correspond("--warp").said[-1].startswith("1 done, 0 failed, 1 from before")
    assert (desk.folder / "out/m1.png.warp.png").is_file()


def test_warps_are_those_that_translate_shows(desk):
    desk.fill(1, 1)
    desk.correspond("--warp")
    desk.translate(output="translated")
    [thumb] = (desk.folder / "translated/_cocos/thumbs").rglob("*-warp.jpg")
    warp = np.asarray(Image.open(desk.folder / "out/m0.png.warp.png"), int)
    assert warp.shape == (64, 64, 3)
    assert np.abs(warp - np.asarray(Image.open(thumb), int)).mean() < 4  # as a JPEG


def test_dry_run_says_the_plan_and_writes_nothing(desk):
    desk.fill()
    told = desk.correspond("--dry-run", "--format", "kitti", "--json")
    facts = json.loads(told.out)
    assert facts["pairs"] == 3 and facts["first"][0]["result"] == "m0.png.kitti.png"
    assert not (desk.folder / "out").exists()


def test_every_input_with_every_exemplar(desk):
    desk.fill(2, 2)
    assert desk.correspond("--pairs", "all").code == 0
    names = {f"m{i}.png/e{j}.png.npz" for i in range(2) for j in range(2)}
    assert set(desk.results()) == names


# Formats.


def test_flo_is_the_displacement_of_every_pixel(desk):
    desk.photo()
    assert in_place(desk, "--format", "flo", "--size", "96x64").code == 0
    flow = cv2.readOpticalFlow(str(desk.folder / "out/e.png.flo"))
    assert flow.shape == (64, 96, 2) and np.abs(flow).max() == 0


def test_kitti_counts_what_it_leaves_out(desk, monkeypatch):
    from cocoscli.data import flow_files

    desk.fill(1, 1)
    monkeypatch.setattr(flow_files, "KITTI_LIMIT", 1.0)
    told = desk.correspond("--format", "kitti")
    codes = cv2.imread(str(desk.folder / "out/m0.png.kitti.png"), cv2.IMREAD_UNCHANGED)
    valid = codes[..., 0]  # B, G, R: valid, v, u
    row = desk.manifest()["m0.png"]
    assert codes.dtype == np.uint16 and codes.shape == (64, 64, 3)
    assert row["invalid_pixels"] == (valid == 0).sum() > 0
    assert any("KITTI files leave out" in line for line in told.said)


def test_the_flow_of_a_cell_is_that_of_its_middle(desk):
    desk.fill(1, 1)
    desk.correspond()
    desk.correspond("--format", "flo", output="flo")
    match = archive(desk.folder / "out/m0.png.npz")["flow"]
    moves = cv2.readOpticalFlow(str(desk.folder / "flo/m0.png.flo"))
    lone = 0
    for row in range(1, 15):
        for column in range(1, 15):
            block = moves[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            centre = np.array([4 * column + 1.5, 4 * row + 1.5])
            near = np.abs(block + centre - match[row, column]).max()
            assert near <= 8 + 1e-3  # no further than cells that agree
            lone += near < 1e-3
    assert lone  # some cells agree with none around


# What is matched.


def test_photos_are_matched_as_photos_where_the_weights_allow(desk):
    desk.fill(2, 2)
    told = photos(desk)
    assert told.code == 0 and "via: photo  (--via to change)" in told.said
    assert archive(desk.folder / "out/e0.png.npz")["as_photos"]
    told = photos(desk, "--via", "condition", output="edges")
    assert told.code == 0 and not any(line.startswith("via") for line in told.said)
    assert not archive(desk.folder / "edges/e0.png.npz")["as_photos"]


def test_label_maps_are_conditions(desk):
    desk.fill()
    assert "via: condition  (--via to change)" in desk.correspond("--dry-run").said


@pytest.mark.parametrize("inputs", ["jpegs", "jpegs/e.jpg"])
def test_photos_by_label_weights_are_photos(desk, inputs):
    desk.fill(1, 1)
    desk.photo("jpegs/e.jpg")
    told = desk.correspond(inputs=inputs)
    assert told.code == 0 and "via: photo  (--via to change)" in told.said
    assert set(desk.results()) == {"e.jpg.npz"}


def test_a_dataset_without_its_masks_is_photos(desk):
    desk.photo("data/images/e.png")
    desk.photo()
    told = desk.correspond("--dry-run", inputs="data")
    assert told.code == 0 and "via: photo  (--via to change)" in told.said
    desk.mask("data/masks/e.png")
    assert "via: condition  (--via to change)" in desk.correspond("--dry-run", inputs="data").said


def test_an_empty_folder_is_told_by_its_layout(desk):
    desk.fill(0, 1)
    (desk.folder / "masks").mkdir()
    told = desk.correspond()
    assert told.code == 1 and "no items of the layout labels" in told.err


def test_weights_that_mix_conditions_in_need_them_of_both(desk):
    weights = desk.weights / "ade20k.safetensors"
    desk.photo("photos/e.jpg")
    desk.photo("inputs/a.jpg")
    desk.mask("conditions/e.png")
    more = ("--weights", weights, "--exemplar-condition", "conditions")
    told = desk.correspond(*more, inputs="inputs")
    assert told.code == 1 and "a.jpg: this input's condition was not found" in told.said[-2]
    assert "mix conditions into photos" in told.said[-2] and "--input-condition" in told.said[-1]
    desk.mask("theirs/a.png", 1)
    told = desk.correspond(*more, "--input-condition", "theirs", inputs="inputs")
    assert told.code == 0, told.err
    assert archive(desk.folder / "out/a.jpg.npz")["as_photos"]


def test_samples_of_shards_by_condition_or_photo(desk, scene_shards):
    desk.photo()
    for via in ("auto", "photo"):
        told = desk.correspond("--via", via, inputs=str(scene_shards), output=via)
        assert told.code == 0, told.err
        [path, *_] = sorted((desk.folder / via).rglob("*.npz"))
        found = archive(path)
        assert found["as_photos"] == (via == "photo")
        assert found["file_size"].tolist() == [64, 64]


def test_nearest_needs_the_labels_of_inputs(desk):
    desk.fill(2, 2)
    for n in range(2):
        desk.mask(f"photos_masks/e{n}.png", n)
    assert desk.correspond("--pairs", "nearest").code == 0
    told = desk.correspond("--pairs", "nearest", "--via", "photo", inputs="photos", output="b")
    assert told.code == 2 and "--via photo reads none" in told.said[-2]


@pytest.mark.parametrize(
    ("option", "value"),
    [("via", "Photo"), ("via", ""), ("format", "png"), ("format", "shards"), ("points-from", "me")],
)
def test_values_that_are_none_of_the_choices(desk, option, value):
    desk.fill()
    told = desk.correspond(f"--{option}", value)
    assert told.code == 2 and f"--{option} {value}: expected one of" in told.said[0]


# Points.


def carried(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


@pytest.mark.parametrize("end", ["input", "exemplar"])
def test_points_of_a_photo_against_itself_stay(desk, end):
    desk.photo(size=(128, 96))  # resized to 64x64 for the network
    desk.file("points.csv", "key,name,x,y\ne.png,nose,40.25,7\ne.png,tip,127.5,95.5\n")
    assert in_place(desk, "--points", "points.csv", "--points-from", end).code == 0
    rows = carried(desk.folder / "out/e.png.points.csv")
    assert [row["name"] for row in rows] == ["nose", "tip"]
    for row in rows:
        assert (row["key"], row["exemplar"]) == ("e.png", "e.png")
        assert float(row["matched_x"]) == pytest.approx(float(row["x"]), abs=2e-3)
        assert float(row["matched_y"]) == pytest.approx(float(row["y"]), abs=2e-3)
        assert 0 <= float(row["confidence"]) <= 1 and float(row["cycle_error"]) == 0
    assert desk.manifest()["e.png"]["points"] == 2


@pytest.mark.parametrize("end", ["input", "exemplar"])
def test_points_go_where_the_flow_says(desk, end):
    desk.mask(size=(128, 64))
    desk.photo(size=(64, 256))
    # The middle of the cell in column 3, row 5 of 16, in pixels of each file.
    x, y = ((13.5 + 0.5) * 2 - 0.5, 21.5) if end == "input" else (13.5, (21.5 + 0.5) * 4 - 0.5)
    desk.file("points.json", json.dumps([[x, y]]))
    assert desk.correspond("--points", "points.json", "--points-from", end).code == 0
    [row] = json.loads((desk.folder / "out/a.png.points.json").read_text("utf-8"))
    found = archive(desk.folder / "out/a.png.npz")
    match = found["flow" if end == "input" else "back_flow"][5, 3]
    to = (1, 4) if end == "input" else (2, 1)
    expected = (match + 0.5) * to - 0.5
    assert np.allclose([row["matched_x"], row["matched_y"]], expected, atol=2e-3)
    if end == "input":
        assert row["confidence"] == pytest.approx(float(found["confidence"][5, 3]), abs=1e-3)


def test_points_outside_fail_their_item_alone(desk):
    desk.fill(2, 1)
    desk.file("points.csv", "m0.png,nose,64,3\nm1.png,nose,63,3\n")
    told = desk.correspond("--points", "points.csv")
    assert told.code == 3
    assert desk.statuses() == {"m0.png": "failed", "m1.png": "done"}
    assert "point 'nose' (64, 3) lies outside of m0.png, which is 64x64" in told.err


def test_points_of_no_image_are_said(desk):
    desk.fill(1, 1)
    desk.file("points.csv", "other.png,nose,1,3\n")
    told = desk.correspond("--points", "points.csv")
    assert told.code == 0 and any("no point of points.csv is of an image" in x for x in told.said)
    assert carried(desk.folder / "out/m0.png.points.csv") == []


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"a,b\n", "line 1"),
        (b"", "no points"),
        (b"\xff\xfe\0", "cannot be read"),
        (None, "gone.csv"),
    ],
)  # fmt: skip
def test_points_that_cannot_be_read_stop_the_run(desk, data, found):
    desk.fill(1, 1)
    name = "gone.csv" if data is None else "points.csv"
    if data is not None:
        desk.file(name, data)
    told = desk.correspond("--points", name)
    assert told.code == 1 and found in told.said[0] and not (desk.folder / "out").exists()


def test_edited_points_are_another_setting(desk):
    desk.fill(1, 1)
    desk.file("points.csv", "1,2\n")
    desk.correspond("--points", "points.csv")
    desk.file("points.csv", "1,3\n")
    told = desk.correspond("--points", "points.csv")
    assert told.code == 1 and "points was" in told.said[-2]


# Odd inputs.


def test_matches_that_say_nothing_are_flagged(desk):
    """At such a temperature each position of the exemplar is as good as any other."""
    config = cocosnet.presets.paper(channels=1, width=4, temperature=100.0)
    schema = cocosnet.ConditionSchema(kind="edges", channels=1, size=64)
    cocosnet.save(cocosnet.CoCosNet(config, schema), desk.folder / "w.safetensors")
    desk.photo()
    told = desk.correspond("--weights", "w.safetensors", inputs="photos")
    row = desk.manifest()["e.png"]
    assert told.code == 0 and row["status"] == "done"
    assert row["confidence"] < 0.01 and row["low_confidence"] == 1 and row["one_to_many"]
    assert any("1 of 1 pairs are one-to-many" in line for line in told.said)


def test_bad_files_fail_alone(desk):
    desk.fill(2, 1)
    desk.file("masks/bad.png", b"text")
    assert desk.correspond().code == 3
    assert desk.statuses() == {"m0.png": "done", "m1.png": "done", "bad.png": "failed"}
    rows = (desk.folder / "out/_cocos/rows/0000.js").read_text("utf-8")
    assert "bad.png" in rows


def test_gallery_0_makes_no_page(desk):
    desk.fill(1, 1)
    assert desk.correspond("--gallery", 0).code == 0
    assert not (desk.folder / "out/index.html").exists()
    assert not (desk.folder / "out/_cocos/matches").exists()
