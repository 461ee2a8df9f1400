"""`cocos prepare`: what it says, what it refuses, how it ends."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocoscli.data.scenes import write_dataset
from cocoscli.data.shards import ShardWriter
from cocoscli.engine.shardset import ShardSet

OPTIONS = ("--size", 64, "--workers", 0, "--shard-samples", 2, "--val", 0)


@pytest.fixture(scope="session")
def six(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("six") / "d", 6, size=64)


@pytest.fixture
def d(six, desk) -> Path:
    """The desk's own dataset in d/."""
    return Path(shutil.copytree(six, desk.folder / "d"))


def prepare(desk, *more, source="d", output="s"):
    return desk.run("prepare", source, "--output", output, *OPTIONS, *more)


def shards(desk, output="s") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (desk.folder / output).glob("*.tar")}


def listing(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.stat().st_mtime_ns) for path in folder.rglob("*")}


def colored(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def beyond(path: Path) -> None:
    Image.fromarray(np.full((64, 64), 77, np.uint8)).save(path)


def wide(path: Path) -> None:
    Image.fromarray(np.zeros((32, 64), np.uint8)).save(path)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FAULTS = [
    ("masks", colored, "scene-0002.png: a colour-coded mask"),
    ("masks", beyond, "class id 77 (4,096 pixels); expected 0..13, or 255 to ignore"),
    ("masks", wide, "64x32, but its photo"),
    ("masks", Path.unlink, "scene-0002.png: no label map of it"),
    ("masks", cut_off, "damaged or cut short"),
    ("images", cut_off, "damaged or cut short"),
    ("images", lambda path: path.write_bytes(b""), "the file is empty"),
    ("images", lambda path: path.write_text("hello"), "not an image that can be read"),
]


@pytest.mark.parametrize("check", [False, True], ids=["written", "checked"])
@pytest.mark.parametrize(("folder", "spoil", "said"), FAULTS, ids=range(len(FAULTS)))
def test_a_fault_costs_its_item_and_is_said(desk, d, folder, spoil, said, check):
    spoil(d / folder / "scene-0002.png")
    before = listing(desk.folder)
    outcome = prepare(desk, "--classes", 14, *(["--check"] if check else []))
    assert outcome.code == 3
    assert said in " ".join(outcome.err.split())
    assert "used 5, skipped 0, failed 1" in outcome.err
    if check:
        assert listing(desk.folder) == before
        return
    rows = desk.manifest("s")
    assert len(rows) == 6
    failed = [row for row in rows.values() if row["status"] == "failed"]
    assert [row["key"] for row in failed] == ["images/scene-0002.png"]
    assert said in failed[0]["reason"]
    assert prepare(desk, "--classes", 14).code == 3  # the second run knows it too


def test_layout_labels_has_rows_for_single_photos_and_masks(desk, d):
    (d / "masks/scene-0001.png").unlink()
    (d / "images/scene-0002.png").unlink()
    outcome = prepare(desk, "--layout", "labels")
    assert outcome.code == 3
    assert "scene-0002.png: its photo was not found" in " ".join(outcome.err.split())
    rows = desk.manifest("s")
    assert rows["images/scene-0001.png"]["status"] == "skipped"
    assert "no item of the layout" in rows["images/scene-0001.png"]["reason"]
    assert rows["masks/scene-0002.png"]["status"] == "failed"
    assert "used 4, skipped 1, failed 1" in outcome.err


def test_a_mask_without_photo_has_a_row(desk, d):
    (d / "images/scene-0002.png").unlink()
    prepare(desk)
    assert "masks/scene-0002.png" in desk.manifest("s")


def test_failed_items_are_tried_again_when_asked(desk, d):
    mask = d / "masks/scene-0002.png"
    good = mask.read_bytes()
    colored(mask)
    outcome = prepare(desk)
    assert outcome.code == 3 and "mend them and add --retry-failed" in outcome.err
    before = shards(desk)
    mask.write_bytes(good)
    assert prepare(desk).code == 3 and shards(desk) == before  # not by itself
    outcome = prepare(desk, "--retry-failed")
    assert outcome.code == 0 and "used 6, skipped 0, failed 0, shards 4" in outcome.err
    after = shards(desk)
    assert {name: after[name] for name in before} == before and len(after) == len(before) + 1
    assert desk.manifest("s")["images/scene-0002.png"]["shard"] == max(after)
    assert prepare(desk).code == 0 and shards(desk) == after


def flat(path: Path) -> None:
    Image.new("RGB", (64, 64), (90, 90, 90)).save(path)


@pytest.mark.parametrize("check", [False, True], ids=["written", "checked"])
def test_empty_conditions_are_said_once(desk, d, check):
    shutil.rmtree(d / "masks")
    for n in range(5):
        flat(d / f"images/scene-000{n}.png")
    outcome = prepare(desk, *(["--check"] if check else []))
    assert outcome.code == 0
    said = [line for line in outcome.said if "is empty" in line]
    assert len(said) == 1
    assert "5 of 6 items: the condition is empty: no edge and no joint in it (images/" in said[0]
    assert said[0].count("scene-") == 3 and said[0].endswith(", ...)")
    if not check:
        noted = {key for key, row in desk.manifest("s").items() if "notes" in row}
        assert noted == {f"images/scene-000{n}.png" for n in range(5)}
        again = prepare(desk)
        assert said[0] in again.said  # a second run says it too


def test_repeated_photos_are_said(desk, d):
    for n in range(2):
        for kind in ("images", "masks"):
            shutil.copy(d / kind / "scene-0000.png", d / kind / f"zz{n}.png")
    outcome = prepare(desk)
    said = "warning: 2 photos repeat others and are kept; --dedupe leaves them out"
    assert outcome.code == 0 and said in outcome.said and "used 8" in outcome.err
    outcome = prepare(desk, "--dedupe", output="t")
    assert outcome.code == 0 and "used 6, skipped 2" in outcome.err and "repeat" not in outcome.err


def test_samples_without_exemplars_are_said(desk, d):
    said = "3 of 6 items: no exemplar: none was found"
    outcome = prepare(desk, "--exemplars", "identity", "--identity", "scene-000([012])|zz")
    assert outcome.code == 0 and "6 of 6 items: no exemplar" in outcome.err
    outcome = prepare(desk, "--identity", "scene-(000)[012]", output="t")
    assert said in outcome.err and "6 items: a first pass reads them all" in outcome.err
    alone = prepare(desk, "--exemplars", "none", output="u").err
    assert "no exemplar" not in alone and "6 items: in one pass" in alone


def test_a_colour_coded_annotation_of_ade20k(desk, d):
    for kind in ("annotations", "images"):
        (desk.folder / "a" / kind).mkdir(parents=True)
    shutil.copytree(d / "images", desk.folder / "a/images/validation")
    shutil.copytree(d / "masks", desk.folder / "a/annotations/validation")
    colored(desk.folder / "a/annotations/validation/scene-0001.png")
    outcome = prepare(desk, source="a")
    assert outcome.code == 3 and "layout: ade20k (found in a)" in outcome.err
    [said] = [line for line in outcome.said if "scene-0001.png" in line]
    assert "a colour-coded mask" in said and "--colors" in said


@pytest.mark.parametrize("layout", ["portraits", "people"])
def test_without_the_extra_faces(desk, d, layout, monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    outcome = prepare(desk, "--layout", layout)
    assert outcome.code == 1 and "needs the extra [faces]" in outcome.err
    assert "pip install 'cocos[faces]'" in outcome.err


def test_split_files_are_honoured(desk, d):
    (d / "val.txt").write_text("scene-0001\nscene-0004\n")
    (d / "train.txt").write_text("".join(f"scene-000{n}\n" for n in (0, 2, 3, 5)))
    prepare(desk)
    val = {key for key, row in desk.manifest("s").items() if row["split"] == "val"}
    assert val == {"images/scene-0001.png", "images/scene-0004.png"}


def test_drawn_edges_and_joints_can_be_empty(desk, d):
    (d / "masks").rename(d / "edges")
    for path in (d / "edges").iterdir():
        Image.fromarray(np.full((64, 64), 255 * ("0001" not in path.name), np.uint8)).save(path)
    assert "1 of 6 items: the condition is empty" in prepare(desk).err
    shutil.rmtree(d / "edges")
    points = {path.stem: [[9000, 9000]] * 18 for path in (d / "images").iterdir()}
    points["scene-0003"] = [[x, 20] for x in range(18)]
    (d / "keypoints.json").write_text(json.dumps(points))
    outcome = prepare(desk, output="poses")
    assert "5 of 6 items: the condition is empty" in outcome.err
    assert "notes" not in desk.manifest("poses")["images/scene-0003.png"]


def test_faces_without_landmarks_are_said(desk, d):
    shutil.rmtree(d / "masks")
    points = {f"scene-000{n}": [[x / 2, x / 3] for x in range(68)] for n in range(4)}
    (d / "keypoints.json").write_text(json.dumps(points))
    outcome = prepare(desk)
    assert outcome.code == 0
    said = "warning: 2 of 6 items: no landmarks: Canny edges are taken alone"
    assert said in outcome.err
    assert json.loads(prepare(desk, "--json").out)["warnings"][0] in outcome.err


def test_nothing_usable(desk, d):
    for path in (d / "masks").iterdir():
        colored(path)
    outcome = prepare(desk)
    assert outcome.code == 3
    assert "used 0, skipped 0, failed 6" in outcome.err
    assert json.loads((desk.folder / "s/index.json").read_bytes())["shards"] == []


def test_check_of_a_whole_dataset(desk, d):
    before = listing(desk.folder)
    outcome = prepare(desk, "--check", "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out) == {"used": 6, "skipped": 0, "failed": 0, "warnings": []}
    assert listing(desk.folder) == before


def test_dry_run_writes_nothing(desk, d):
    before = listing(desk.folder)
    outcome = prepare(desk, "--dry-run", "--json")
    assert outcome.code == 0 and json.loads(outcome.out)["items"] == 6
    assert listing(desk.folder) == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("swept")
def test_a_full_disk_keeps_whole_shards(desk, d, monkeypatch):
    prepare(desk, output="whole")
    with monkeypatch.context() as patch:
        add, calls = ShardWriter.add, []

        def full(self, sample):
            calls.append(sample)
            if len(calls) == 4:
                raise OSError(errno.ENOSPC, "No space left on device")
            add(self, sample)

        patch.setattr(ShardWriter, "add", full)
        outcome = prepare(desk)
    assert outcome.code == 1
    assert "s: the output cannot be written (No space left on device)" in outcome.err
    assert list(shards(desk)) == ["train-000000.tar"] and len(desk.manifest("s")) == 2
    assert prepare(desk).code == 0
    assert shards(desk) == shards(desk, "whole")
    assert len(desk.manifest("s")) == 6


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("swept")
def test_interrupted_and_run_again(desk, d, monkeypatch):
    prepare(desk, output="whole")
    with monkeypatch.context() as patch:
        commit = ShardSet._commit

        def interrupted(self, *arguments):
            if len(self.done) == 1:
                raise KeyboardInterrupt
            commit(self, *arguments)

        patch.setattr(ShardSet, "_commit", interrupted)
        outcome = prepare(desk)
    assert outcome.code == 130
    assert "interrupted: the same command goes on from here" in outcome.err
    assert prepare(desk).code == 0
    assert shards(desk) == shards(desk, "whole")


def test_other_settings_need_overwrite(desk, d):
    prepare(desk, "--quality", 50)
    outcome = prepare(desk)
    assert outcome.code == 1 and "quality was 50, is 95" in outcome.err
    assert prepare(desk, "--overwrite").code == 0
    prepare(desk, output="fresh")
    assert shards(desk) == shards(desk, "fresh")
    assert len(desk.manifest("s")) == 6


# ------------------------------------------------------------------------------------- defaults


def test_alone_in_an_empty_folder(desk):
    outcome = desk.run("prepare", "--workers", 0, "--generate", 6)
    assert outcome.code == 0
    said = " ".join(outcome.err.split())
    assert "6 generated scenes in out/scenes-dataset" in said
    assert "layout: folders" in said and "exemplars: identity" in said and "output: shards" in said
    index = json.loads((desk.folder / "shards/index.json").read_bytes())
    assert index["kind"] == "labels" and index["channels"] == 14
    assert sum(index["counts"].values()) == 6
    assert desk.run("prepare", "--workers", 0, "--generate", 6).code == 0
    assert len(desk.manifest("shards")) == 6


def test_data_is_taken_and_its_layout_said(desk, six):
    shutil.copytree(six, desk.folder / "data")
    outcome = desk.run("prepare", "--size", 64, "--workers", 0)
    assert outcome.code == 0
    assert "source: data" in outcome.err and "layout: folders (found in data)" in outcome.err
    assert not (desk.folder / "out").exists()


def test_photos_alone_make_edges(desk, d):
    shutil.rmtree(d / "masks")
    outcome = prepare(desk)
    assert outcome.code == 0 and "exemplars: random" in outcome.err
    assert json.loads((desk.folder / "s/index.json").read_bytes())["kind"] == "edges"


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--exemplars", "nope"), 2, "neither one of layout"),
        (("--exemplars", "identity"), 2, "needs --identity"),
        (("--layout", "nope"), 2, "expected one of"),
        (("--size", "5"), 2, "expected a side"),
    ],
)
def test_what_cannot_start_says_why(desk, d, more, code, said):
    outcome = prepare(desk, *more)
    assert outcome.code == code and said in " ".join(outcome.err.split())
    assert not (desk.folder / "s").exists()


def test_a_missing_source_is_named(desk):
    outcome = prepare(desk, source="nowhere")
    assert outcome.code == 1 and "'nowhere': no such folder" in outcome.err


def test_a_layout_whose_folders_are_missing_says_what_was_found(desk, d):
    outcome = prepare(desk, "--layout", "celebahq-mask")
    said = " ".join(outcome.err.split())
    assert outcome.code == 1 and "CelebA-HQ-img" in said and "it holds images, masks" in said
    assert not (desk.folder / "s").exists()


def test_photos_in_folders_of_any_name(desk, d):
    shutil.rmtree(d / "masks")
    (d / "images").rename(d / "neutral")
    outcome = prepare(desk, "--identity", "scene-(.)")
    assert outcome.code == 0 and "layout: folders" in outcome.err
    assert json.loads((desk.folder / "s/index.json").read_bytes())["kind"] == "edges"


def test_masks_without_images_are_named(desk, d):
    shutil.rmtree(d / "images")
    outcome = prepare(desk, "--layout", "folders")
    said = " ".join(outcome.err.split())
    assert outcome.code == 1 and "no folder images/ for the layout folders; found masks" in said


def test_many_failures_are_not_all_said(desk, d):
    shutil.rmtree(d / "masks")
    (d / "masks").mkdir()
    for n in range(6, 30):
        shutil.copy(d / "images/scene-0000.png", d / f"images/more-{n}.png")
    outcome = prepare(desk)
    said = [line for line in outcome.said if "no label map" in line]
    assert outcome.code == 3 and len(said) == 20
    assert "warning: and 10 more failed items; manifest.jsonl names each" in outcome.said
    assert len([line for line in prepare(desk, "--check").said if "no label map" in line]) == 30


def test_a_loop_of_links_ends(desk, d):
    (d / "images/loop").symlink_to(d / "images")
    (d / "masks/loop").symlink_to("..")
    outcome = prepare(desk)
    assert outcome.code == 0 and "used 6, skipped 0, failed 0" in outcome.err
