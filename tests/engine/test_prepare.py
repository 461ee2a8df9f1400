"""Shards out of a dataset: the same bytes however the work goes."""

from __future__ import annotations

import builtins
import errno
import gc
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stopping import stop_at

from cocoscli.data.points import decode_known, read_points
from cocoscli.data.references import read_references
from cocoscli.data.scenes import write_dataset
from cocoscli.data.shards import ShardList, ShardWriter, decode_key, find_shards
from cocoscli.engine import output, shardset
from cocoscli.engine.preparation import PrepareOptions, plan_preparation
from cocoscli.engine.prepare import prepare_shards
from cocoscli.engine.shardset import ShardSet
from cocoscli.errors import CocosError

COUNT = 14


@pytest.fixture(scope="session")
def scenes(tmp_path_factory) -> Path:
    """images/ and masks/ of generated scenes; not to be changed."""
    return write_dataset(tmp_path_factory.mktemp("prepare") / "d", COUNT, size=64)


@pytest.fixture
def own(scenes, tmp_path) -> Path:
    """A copy of them that may be changed."""
    return Path(shutil.copytree(scenes, tmp_path / "own"))


def run(source: Path, folder: Path, workers: int = 0, **options) -> list[dict]:
    """Prepare -> the rows that this run wrote."""
    how = {name: options.pop(name) for name in ("overwrite", "retry_failed", "gallery")
           if name in options}  # fmt: skip
    options = {"size": "64", "shard_samples": 4, "val": 0.3, **options}
    plan = plan_preparation(PrepareOptions(source=str(source), **options))
    return list(prepare_shards(plan, folder, workers, **how).rows)


def content(folder: Path) -> dict[str, bytes]:
    """Everything that a reader of the folder sees."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".tar", ".json")}


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def index_of(folder: Path) -> dict:
    return json.loads((folder / "index.json").read_bytes())


def metas(folder: Path) -> dict[str, dict]:
    """meta.json of every sample, by key."""
    samples = ShardList(sorted(folder.glob("*.tar")))
    found = [json.loads(samples.sample(i).members["meta.json"]) for i in range(len(samples))]
    assert len({meta["key"] for meta in found}) == len(found)
    return {meta["key"]: meta for meta in found}


def given(folder: Path) -> dict[str, list[str]]:
    """The keys of every sample's exemplars."""
    return {k: [e["key"] for e in meta["exemplars"]] for k, meta in metas(folder).items()}


@pytest.fixture(scope="session")
def whole(scenes, tmp_path_factory) -> Path:
    """The shards of an undisturbed run."""
    folder = tmp_path_factory.mktemp("prepare") / "whole"
    run(scenes, folder)
    return folder


def assert_whole(folder: Path, whole: Path) -> None:
    """The same files as the undisturbed run's, and a row for every item."""
    assert content(folder) == content(whole)
    assert (folder / "manifest.jsonl").read_bytes() == (whole / "manifest.jsonl").read_bytes()
    assert list((folder / "_cocos/tmp").iterdir()) == []


# ------------------------------------------------------------------------------- what is written


def test_a_row_an_item_and_every_sample_once(scenes, whole):
    names = {f"images/{path.name}" for path in (scenes / "images").iterdir()}
    rows = rows_of(whole)
    assert {row["key"] for row in rows} == names == set(metas(whole))
    assert len(rows) == COUNT and {row["status"] for row in rows} == {"used"}
    index = index_of(whole)
    assert sum(index["counts"].values()) == COUNT
    assert sum(shard["samples"] for shard in index["shards"]) == COUNT
    assert [shard["name"] for shard in index["shards"]] == sorted(
        path.name for path in whole.glob("*.tar")
    )
    for shard in index["shards"]:
        assert shard["bytes"] == (whole / shard["name"]).stat().st_size
        assert shard["samples"] <= 4


def test_plain_webdataset_reads_them(whole):
    wds = pytest.importorskip("webdataset")
    names = [str(path) for path in sorted(whole.glob("*.tar"))]
    found = {
        sample["__key__"]: {n: d for n, d in sample.items() if not n.startswith("__")}
        for sample in wds.WebDataset(names, shardshuffle=False)
    }
    samples = ShardList(find_shards(str(whole), "train") + find_shards(str(whole), "val"))
    ours = {s.key: s.members for s in map(samples.sample, range(len(samples)))}
    assert found == ours
    assert {decode_key(key) for key in found} == set(metas(whole))
    members = next(iter(found.values()))
    assert set(members) == {
        "image.jpg", "condition.png", "points.json", "meta.json",
        "exemplar.0.jpg", "exemplar_condition.0.png", "exemplar_points.0.json",
        "exemplar.1.jpg", "exemplar_condition.1.png", "exemplar_points.1.json",
    }  # fmt: skip


def test_processes_write_the_same_bytes(scenes, whole, tmp_path):
    run(scenes, tmp_path / "s", workers=2)
    assert_whole(tmp_path / "s", whole)


def test_a_second_run_does_nothing(scenes, tmp_path, whole):
    run(scenes, tmp_path / "s")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("*.tar")}
    assert run(scenes, tmp_path / "s") == []
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("*.tar")} == before
    assert_whole(tmp_path / "s", whole)


def test_shards_end_by_their_bytes(scenes, tmp_path):
    run(scenes, tmp_path / "s", shard_samples=1000, shard_bytes=60_000, val=0)
    shards = index_of(tmp_path / "s")["shards"]
    assert len(shards) > 1
    assert all(shard["samples"] > 1 and shard["bytes"] < 120_000 for shard in shards)


def test_the_split_is_a_seeded_share(scenes, tmp_path, whole):
    def val(folder):
        return {key for key, meta in metas(folder).items() if meta["split"] == "val"}

    run(scenes, tmp_path / "other", seed=1, exemplars="none")
    run(scenes, tmp_path / "more", val=0.6, exemplars="none")
    assert 0 < len(val(whole)) < COUNT
    assert val(whole) != val(tmp_path / "other")
    assert val(whole) < val(tmp_path / "more")


def test_splits_of_folders_are_kept(scenes, tmp_path):
    for n, path in enumerate(sorted((scenes / "images").iterdir())):
        for kind in ("images", "masks"):
            target = tmp_path / "d" / kind / ("train", "val", "test")[n % 3] / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(scenes / kind / path.name, target)
    run(tmp_path / "d", tmp_path / "s", exemplars="random")
    for key, meta in metas(tmp_path / "s").items():
        assert meta["split"] == key.split("/")[1]
    names = [shard["name"] for shard in index_of(tmp_path / "s")["shards"]]
    assert {name.split("-")[0] for name in names} == {"train", "val", "test"}


# --------------------------------------------------------------------------------- stopped runs


PLACES = [
    (ShardWriter, "add", 0, False),
    (ShardWriter, "add", 6, False),
    (ShardWriter, "close", 1, True),
    (shardset._OpenShard, "close", 1, True),  # in place, but without rows
    (output.OutputFolder, "append", 5, True),
    (output.OutputFolder, "flush", 1, True),  # rows, but no record
    (ShardSet, "_commit", 2, False),
    (shardset, "_OpenShard", 2, False),
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("swept")
@pytest.mark.parametrize("place", PLACES, ids=[f"{p[1]}-{p[2]}" for p in PLACES])
@pytest.mark.parametrize("kind", ["interrupt", "full"])
def test_a_stopped_run_goes_on_to_the_same_bytes(scenes, whole, tmp_path, monkeypatch, place, kind):
    owner, name, call, after = place
    full = OSError(errno.ENOSPC, "No space left on device")
    error = KeyboardInterrupt() if kind == "interrupt" else full
    with monkeypatch.context() as patch:
        stop_at(patch, owner, name, call, error, after)
        with pytest.raises((KeyboardInterrupt, CocosError)) as stopped:
            run(scenes, tmp_path / "s")
    if kind == "full":
        assert "cannot be written (No space left on device)" in stopped.value.message
    kept = content(tmp_path / "s")
    assert all(kept[name] == data for name, data in content(whole).items() if name in kept)
    assert list((tmp_path / "s/_cocos/tmp").iterdir()) == []
    run(scenes, tmp_path / "s")
    assert_whole(tmp_path / "s", whole)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stopped_run_leaves_no_noise(scenes, tmp_path, monkeypatch):
    noise = []
    gc.collect()  # what other tests left makes its own
    monkeypatch.setattr(sys, "unraisablehook", lambda fault: noise.append(str(fault.exc_value)))
    with monkeypatch.context() as patch:
        stop_at(patch, ShardWriter, "add", 6, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(CocosError):
            run(scenes, tmp_path / "s")
    del patch
    gc.collect()
    assert noise == []


def test_a_killed_run_goes_on_to_the_same_bytes(scenes, whole, tmp_path):
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from cocoscli.data.shards import ShardWriter
        from cocoscli.engine.preparation import PrepareOptions, plan_preparation
        from cocoscli.engine.prepare import prepare_shards
        add, calls = ShardWriter.add, []
        def dying(self, sample):
            calls.append(1)
            if len(calls) == 10:
                os.kill(os.getpid(), signal.SIGKILL)
            add(self, sample)
        ShardWriter.add = dying
        options = PrepareOptions(source={str(scenes)!r}, size="64", shard_samples=4, val=0.3)
        plan, folder = plan_preparation(options), Path({str(tmp_path / "s")!r})
        list(prepare_shards(plan, folder, 0).rows)
    """)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=250)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert len(list((tmp_path / "s").glob("*.tar"))) == 2
    run(scenes, tmp_path / "s")
    assert_whole(tmp_path / "s", whole)


@pytest.mark.parametrize("name", ["train-000000.tar", "train-000001.tar", "val-000000.tar"])
def test_a_shard_that_went_missing_is_written_again(scenes, whole, tmp_path, name):
    shutil.copytree(whole, tmp_path / "s")
    (tmp_path / "s" / name).unlink()
    run(scenes, tmp_path / "s")
    assert_whole(tmp_path / "s", whole)


@pytest.mark.parametrize("text", ["", "garbage\n", '{"name": "train-000000.tar"}\n'])
def test_a_damaged_record_of_shards_starts_anew(scenes, whole, tmp_path, text):
    shutil.copytree(whole, tmp_path / "s")
    (tmp_path / "s/_cocos/shards.jsonl").write_text(text)
    run(scenes, tmp_path / "s")
    assert_whole(tmp_path / "s", whole)


def test_a_lost_manifest_is_written_again(scenes, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "s")
    (tmp_path / "s/manifest.jsonl").unlink()
    run(scenes, tmp_path / "s")
    assert_whole(tmp_path / "s", whole)


# ------------------------------------------------------------------------------- tried again


@pytest.fixture
def mended(own, tmp_path) -> tuple[Path, Path]:
    """A dataset and its shards, made while three of its masks were damaged."""
    masks = sorted((own / "masks").iterdir())[3:6]
    good = [mask.read_bytes() for mask in masks]
    for mask in masks:
        mask.write_bytes(b"")
    run(own, tmp_path / "s", keep_all=True, exemplars="random", classes=14)
    for mask, data in zip(masks, good, strict=True):
        mask.write_bytes(data)
    return own, tmp_path / "s"


def retry(own: Path, folder: Path) -> list[dict]:
    options = {"keep_all": True, "exemplars": "random", "classes": 14}
    return run(own, folder, retry_failed=True, **options)


def test_tried_again_goes_into_further_shards(mended):
    own, folder = mended
    before, chosen = content(folder), given(folder)
    assert {row["status"] for row in retry(own, folder)} == {"used"}
    after = content(folder)
    assert all(after[name] == data for name, data in before.items() if name != "index.json")
    assert len(metas(folder)) == COUNT == sum(index_of(folder)["counts"].values())
    assert {row["status"] for row in rows_of(folder)} == {"used"}
    assert {key: given(folder)[key] for key in chosen} == chosen
    late = set(metas(folder)) - set(chosen)
    for key, each in choice(folder).items():  # a settled sample could not have those
        assert given(folder)[key] == [e for e in each if key in late or e not in late]
    assert retry(own, folder) == [] and content(folder) == after


def test_tried_again_in_vain_changes_nothing(mended):
    own, folder = mended
    masks = sorted((own / "masks").iterdir())[3:6]
    for mask in masks:
        mask.write_bytes(b"bad")
    before = content(folder)
    assert {row["status"] for row in retry(own, folder)} == {"failed"}
    assert content(folder) == before and len(rows_of(folder)) == COUNT
    reasons = {str(row["reason"]) for row in rows_of(folder)} - {"None"}
    assert len(reasons) == 3 and all("not an image" in reason for reason in reasons)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("swept")
def test_a_stopped_trial_goes_on(mended, monkeypatch):
    own, folder = mended
    with monkeypatch.context() as patch:
        stop_at(patch, ShardSet, "_commit", 1, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            retry(own, folder)
    retry(own, folder)
    assert len(metas(folder)) == len(rows_of(folder)) == COUNT
    assert run(own, folder, keep_all=True, exemplars="random", classes=14) == []
    assert len(metas(folder)) == len(rows_of(folder)) == COUNT


@pytest.mark.parametrize("number", [0, 1, 2, -1])
def test_a_lost_shard_loses_and_doubles_no_sample(mended, number):
    own, folder = mended
    retry(own, folder)
    shards = [shard["name"] for shard in index_of(folder)["shards"]]
    (folder / shards[number]).unlink()
    run(own, folder, keep_all=True, exemplars="random", classes=14)
    assert len(metas(folder)) == len(rows_of(folder)) == COUNT
    names = {shard["name"] for shard in index_of(folder)["shards"]}
    assert names == {path.name for path in folder.glob("*.tar")}


def test_overwrite_writes_everything_anew(scenes, whole, tmp_path):
    run(scenes, tmp_path / "s", seed=1, shard_samples=2)
    run(scenes, tmp_path / "s", overwrite=True)
    assert_whole(tmp_path / "s", whole)


def test_other_settings_are_refused(scenes, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "s")
    with pytest.raises(CocosError, match="seed was 0, is 1"):
        run(scenes, tmp_path / "s", seed=1)
    assert_whole(tmp_path / "s", whole)


def test_a_photo_that_is_added_later_loses_and_doubles_nothing(own, tmp_path):
    run(own, tmp_path / "s")
    more = write_dataset(tmp_path / "more", 1, size=64, seed=500)
    for kind in ("images", "masks"):
        shutil.copy(more / kind / "scene-0000.png", own / kind / "later.png")
    try:
        run(own, tmp_path / "s")
    except CocosError:
        return  # a changed dataset may be refused
    assert len(metas(tmp_path / "s")) == COUNT + 1
    assert max(Counter(row["key"] for row in rows_of(tmp_path / "s")).values()) == 1


# ------------------------------------------------------------------------------------ exemplars


@pytest.mark.parametrize("strategy", ["layout", "random", "identity"])
def test_never_the_photo_itself_nor_its_copy(own, tmp_path, strategy):
    names = sorted(path.name for path in (own / "images").iterdir())
    for name in names[:5]:
        for kind in ("images", "masks"):
            shutil.copy(own / kind / name, own / kind / f"copy-{name}")
    run(own, tmp_path / "s", exemplars=strategy, keep_all=True, top=30, identity="(s)cene")
    splits = {key: meta["split"] for key, meta in metas(tmp_path / "s").items()}
    hashes = {key: meta["sha256"] for key, meta in metas(tmp_path / "s").items()}
    asked = given(tmp_path / "s")
    for key, exemplars in asked.items():
        assert exemplars and len(set(exemplars)) == len(exemplars)
        assert hashes[key] not in [hashes[other] for other in exemplars]
        if splits[key] == "train":
            assert {splits[other] for other in exemplars} == {"train"}
    found = {splits[other] for key in asked for other in asked[key] if splits[key] == "val"}
    assert "train" in found
    assert index_of(tmp_path / "s")["duplicates"] == 5


def test_the_first_and_the_last_of_the_exemplars_are_kept(scenes, whole, tmp_path):
    run(scenes, tmp_path / "all", keep_all=True)
    every = given(tmp_path / "all")
    assert max(map(len, every.values())) > 2
    assert given(whole) == {key: [each[0], each[-1]] for key, each in every.items()}
    for meta in metas(tmp_path / "all").values():
        scores = [exemplar["score"] for exemplar in meta["exemplars"]]
        assert scores == sorted(scores, reverse=True)


def test_exemplars_travel_with_their_own_condition(whole):
    samples = ShardList(sorted(whole.glob("*.tar")))
    members = {samples.key(i): samples.sample(i).members for i in range(len(samples))}
    for key, exemplars in given(whole).items():
        for number, other in enumerate(exemplars):
            mine, theirs = members[key], members[other]
            assert mine[f"exemplar.{number}.jpg"] == theirs["image.jpg"]
            assert mine[f"exemplar_condition.{number}.png"] == theirs["condition.png"]


def test_no_exemplars(scenes, tmp_path):
    run(scenes, tmp_path / "s", exemplars="none")
    assert set(map(tuple, given(tmp_path / "s").values())) == {()}
    assert index_of(tmp_path / "s")["query"] == "none"


@pytest.mark.parametrize("strategy", ["none", "random"])
def test_copies_and_classes_are_counted_whoever_looked(own, whole, tmp_path, monkeypatch, strategy):
    for kind in ("images", "masks"):
        shutil.copy(own / kind / "scene-0000.png", own / kind / "zz.png")
    with monkeypatch.context() as patch:
        stop_at(patch, ShardSet, "_commit", 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            run(own, tmp_path / "s", exemplars=strategy)
    run(own, tmp_path / "s", exemplars=strategy)
    assert index_of(tmp_path / "s")["duplicates"] == 1
    largest = max(np.asarray(Image.open(path)).max() for path in (own / "masks").iterdir())
    assert index_of(tmp_path / "s")["channels"] == index_of(whole)["channels"] == largest + 1


def test_without_exemplars_no_photo_is_read_twice(scenes, tmp_path, monkeypatch):
    opened, opening = Counter(), io.open

    def counting(file, *arguments, **named):
        opened.update([str(file)])
        return opening(file, *arguments, **named)

    for module in (io, builtins):
        monkeypatch.setattr(module, "open", counting)
    run(scenes, tmp_path / "s", layout="labels", exemplars="none")
    photos = {str(path) for path in (scenes / "images").iterdir()}
    assert {path: n for path, n in opened.items() if path in photos} == dict.fromkeys(photos, 1)


def test_what_a_photo_says_beside_its_pixels_is_not_stored(own, tmp_path):
    for path in (own / "images").iterdir():
        with Image.open(path) as image:
            image.save(path.with_suffix(".jpg"), comment=b"said by the source", exif=b"Exif\0\0II")
        path.unlink()
    for size in ("64", "80"):
        run(own, tmp_path / size, size=size)
        assert all(b"said by" not in path.read_bytes() for path in (tmp_path / size).glob("*.tar"))


def test_random_exemplars_follow_the_seed(scenes, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(scenes, tmp_path / name, exemplars="random", seed=seed, val=0)
    assert given(tmp_path / "a") == given(tmp_path / "b") != given(tmp_path / "c")


def test_references_are_followed(scenes, tmp_path):
    path = tmp_path / "ref.txt"
    path.write_text(
        "scene-0000.png,scene-0003.png,scene-0001.png,scene-0002.png\n"
        "images/scene-0001.png,images/scene-0000.png\n"
    )
    run(scenes, tmp_path / "s", exemplars=str(path))
    found = {key: exemplars for key, exemplars in given(tmp_path / "s").items() if exemplars}
    assert found == {
        "images/scene-0000.png": ["images/scene-0003.png", "images/scene-0002.png"],
        "images/scene-0001.png": ["images/scene-0000.png"],
    }


def choice(folder: Path) -> dict[str, tuple[str, ...]]:
    return {r.query: r.exemplars for r in read_references(folder / "references.txt")}


def test_the_choice_is_written_and_read_back(scenes, whole, tmp_path):
    chosen = choice(whole)
    assert set(chosen) == set(metas(whole)) and max(map(len, chosen.values())) > 2
    assert {key: [each[0], each[-1]] for key, each in chosen.items()} == given(whole)
    run(scenes, tmp_path / "s", exemplars=str(whole / "references.txt"))
    assert given(tmp_path / "s") == given(whole) and choice(tmp_path / "s") == chosen


def test_the_choice_of_odd_names_is_read_back(scenes, tmp_path):
    names = [" a.png", "b ,c.png", 'd"e.png', "f\\g.png", "h\ni.png", "山.png"]
    for n, name in enumerate(names):
        for kind in ("images", "masks"):
            (tmp_path / "d" / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(scenes / kind / f"scene-{n:04d}.png", tmp_path / "d" / kind / name)
    run(tmp_path / "d", tmp_path / "s")
    run(tmp_path / "d", tmp_path / "t", exemplars=str(tmp_path / "s/references.txt"))
    assert given(tmp_path / "s") == given(tmp_path / "t")
    assert set(given(tmp_path / "t")) == {f"images/{name}" for name in names}


def test_no_choice_leaves_no_list(scenes, tmp_path):
    run(scenes, tmp_path / "s")
    run(scenes, tmp_path / "s", exemplars="none", overwrite=True)
    assert not (tmp_path / "s/references.txt").exists()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("scene-0000.png,images/scene-0000.png\n", "its own exemplar"),
        ("scene-0000.png,other.png\n", "other.png' is not in the dataset"),
    ],
)
def test_odd_references_are_refused(scenes, tmp_path, text, fault):
    (tmp_path / "ref.txt").write_text(text)
    with pytest.raises(CocosError, match=fault):
        run(scenes, tmp_path / "s", exemplars=str(tmp_path / "ref.txt"))


def test_dedupe_leaves_the_repeated_out(own, tmp_path):
    for kind in ("images", "masks"):
        shutil.copy(own / kind / "scene-0000.png", own / kind / "zz.png")
    run(own, tmp_path / "s", dedupe=True)
    rows = {row["key"]: row for row in rows_of(tmp_path / "s")}
    assert rows["images/zz.png"]["status"] == "skipped"
    assert rows["images/zz.png"]["reason"] == "the same photo as images/scene-0000.png"
    assert len(metas(tmp_path / "s")) == COUNT and len(rows) == COUNT + 1
    assert index_of(tmp_path / "s")["duplicates"] == 1
    assert "images/zz.png" not in {o for each in given(tmp_path / "s").values() for o in each}


# ----------------------------------------------------------------------------------------- names


def test_odd_names_keep_their_samples_apart(scenes, tmp_path):
    names = ["a.v1.png", "a.v2.png", "a b.png", "山.png", "_x.png", "line\nbreak.png", "a%2E.png"]
    names.append(os.fsdecode(b"bad\xff.png"))
    for n, name in enumerate(names):
        for kind in ("images", "masks"):
            (tmp_path / "d" / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(scenes / kind / f"scene-{n:04d}.png", tmp_path / "d" / kind / name)
    run(tmp_path / "d", tmp_path / "s", val=0)
    samples = ShardList(sorted((tmp_path / "s").glob("*.tar")))
    assert {samples.key(i) for i in range(len(samples))} == {f"images/{name}" for name in names}
    for i in range(len(samples)):
        n = names.index(samples.key(i).removeprefix("images/"))
        with Image.open(scenes / "masks" / f"scene-{n:04d}.png") as mask:
            data = samples.sample(i).members["condition.png"]
            (tmp_path / "c.png").write_bytes(data)
            with Image.open(tmp_path / "c.png") as condition:
                assert np.array_equal(np.asarray(mask), np.asarray(condition))


def test_points_travel_with_their_photos(own, tmp_path):
    rows = run(own, tmp_path / "out", exemplars="random", size="128")
    assert {row["status"] for row in rows} == {"used"}  # points.csv lies beside images/
    samples = ShardList(sorted((tmp_path / "out").glob("*.tar")))
    file = read_points(own / "points.csv")
    seen = 0
    for i in range(len(samples)):
        sample = samples.sample(i)
        meta = json.loads(sample.members["meta.json"])
        known = {f"exemplar_points.{n}.json": e["key"] for n, e in enumerate(meta["exemplars"])}
        for member, key in {"points.json": meta["key"], **known}.items():
            expected = file.of(f"images/{Path(key).name}", (64, 64))
            if not len(expected):
                assert member not in sample.members
                continue
            found = decode_known(sample.members[member], (64, 64), member)
            assert found.names == expected.names and np.abs(found.xy - expected.xy).max() < 1e-3
            seen += 1
    assert seen > COUNT


def test_a_photo_with_points_draws_exemplars_with_points(own, tmp_path):
    names = sorted(path.name for path in (own / "images").iterdir())
    points = tmp_path / "p.csv"
    points.write_text("".join(f"images/{name},nose,3,3\n" for name in names[::3]))
    options = {"exemplars": "random", "keep_all": True, "val": 0.0}
    run(own, tmp_path / "out", points=points, **options)
    asked = {Path(key).name: {Path(other).name for other in found}
             for key, found in given(tmp_path / "out").items()}  # fmt: skip
    for name in names[::3]:
        assert asked[name] and asked[name] <= {*names[::3]}
    others = set.union(*(asked[name] for name in {*names} - {*names[::3]}))
    assert others & {*names[::3]} and others - {*names[::3]}
    points.write_text(f"images/{names[0]},nose,3,3\n")
    run(own, tmp_path / "one", points=points, **options)
    assert all(given(tmp_path / "one").values())  # it alone has some, and draws among all


def test_points_outside_of_their_photo_cost_one_item(own, tmp_path):
    name = sorted((own / "images").iterdir())[0].name
    points = tmp_path / "p.csv"
    points.write_text(f"images/{name},nose,900,3\n")
    rows = {row["key"]: row for row in run(own, tmp_path / "out", points=points, exemplars="none")}
    bad = [row for row in rows.values() if row["status"] == "failed"]
    assert len(bad) == 1 and bad[0]["key"].endswith(name)
    assert "'nose' (900, 3) lies outside" in bad[0]["reason"]
