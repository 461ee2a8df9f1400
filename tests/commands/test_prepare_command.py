"""`cocos prepare`: what it says, what it refuses, how it ends."""

from __future__ import annotations

import errno
import gc
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cocoscli.data.scenes import write_dataset
from cocoscli.data.shards import ShardWriter
from cocoscli.engine import preparation
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
    assert json.loads(outcome.out) == {"used": 6, "skipped": 0, "failed": 0}
    assert listing(desk.folder) == before


def test_dry_run_writes_nothing(desk, d):
    before = listing(desk.folder)
    outcome = prepare(desk, "--dry-run", "--json")
    assert outcome.code == 0 and json.loads(outcome.out)["items"] == 6
    assert listing(desk.folder) == before


@pytest.fixture
def swept():
    """What a stopped run left in memory is gone before the next test."""
    yield
    gc.collect()


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


def test_alone_in_an_empty_folder(desk, monkeypatch):
    monkeypatch.setattr(preparation, "SCENE_COUNT", 6)
    outcome = desk.run("prepare", "--workers", 0)
    assert outcome.code == 0
    said = " ".join(outcome.err.split())
    assert "6 generated scenes in out/scenes-dataset" in said
    assert "layout: folders" in said and "exemplars: layout" in said and "output: shards" in said
    index = json.loads((desk.folder / "shards/index.json").read_bytes())
    assert index["kind"] == "labels" and index["channels"] == 14
    assert sum(index["counts"].values()) == 6
    assert desk.run("prepare", "--workers", 0).code == 0
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


def test_a_loop_of_links_ends(desk, d):
    (d / "images/loop").symlink_to(d / "images")
    (d / "masks/loop").symlink_to("..")
    outcome = prepare(desk)
    assert outcome.code == 0 and "used 6, skipped 0, failed 0" in outcome.err
