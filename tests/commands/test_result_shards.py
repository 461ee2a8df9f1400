"""`cocos translate --format shards`: keys, plain readers, stopped runs, faults, repeats."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import signal
import subprocess
import tarfile
import time

import pytest
from PIL import Image
from processes import Process
from stopping import stop_at

from cocoscli.data.shards import (
    Sample,
    ShardList,
    ShardWriter,
    decode_key,
    encode_key,
    find_shards,
    is_shards,
    read_index,
)
from cocoscli.engine import output as output_module
from cocoscli.engine import shardset
from cocoscli.engine.shardset import ShardSet

FULL = "No space left on device"
SHARDS = ("--format", "shards", "--shard-samples", 3, "--batch-size", 2)


def translate(desk, *more, **named):
    return desk.translate(*SHARDS, *more, **named)


def tars(desk, output="out") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (desk.folder / output).glob("*.tar")}


def plain(desk, output="out") -> dict[str, dict[str, bytes]]:
    """What webdataset alone finds: members by suffix, by key; a key must be there once."""
    wds = pytest.importorskip("webdataset")
    names = sorted(str(path) for path in (desk.folder / output).glob("*.tar"))
    found: dict[str, dict[str, bytes]] = {}
    for sample in wds.WebDataset(names, shardshuffle=False):
        assert sample["__key__"] not in found
        found[sample["__key__"]] = {n: d for n, d in sample.items() if not n.startswith("__")}
    return found


def source_shards(desk, keys: list[str], name: str = "in/val-000000.tar") -> None:
    """A shard of label maps with these very keys."""
    path = desk.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        writer = ShardWriter(file)
        for n, key in enumerate(keys):
            mask, photo = desk.mask(f"m/{n}.png", n), desk.photo(f"p/{n}.png", n)
            members = {"image.png": photo.read_bytes(), "condition.png": mask.read_bytes()}
            writer.add(Sample(key, members))
        writer.close()


def written(desk, output="out") -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in (desk.folder / output).glob("*.tar")}


def assert_same(desk, output="out", whole="whole") -> None:
    """The shards and the index of an undisturbed run, and a row an item."""
    assert tars(desk, output) == tars(desk, whole) != {}
    first, second = (json.loads((desk.folder / o / "index.json").read_bytes())
                     for o in (output, whole))  # fmt: skip
    assert first == second
    columns = ("status", "output", "shard", "sha256", "input", "exemplar")
    rows, others = desk.manifest(output), desk.manifest(whole)
    assert rows.keys() == others.keys()
    assert all(rows[key].get(c) == others[key].get(c) for key in rows for c in columns)
    assert list((desk.folder / output / "_cocos/tmp").iterdir()) == []


# ------------------------------------------------------------------------------- what is written


def test_the_keys_of_shards_are_kept(desk):
    keys = ["a/x%2Epng", "plain_1", "_under", "deep/er/%E5%B1%B1", "%41"]
    source_shards(desk, keys)
    desk.photo()
    assert translate(desk, inputs="in/val-000000.tar").code == 0
    found = plain(desk)
    assert list(found) == keys
    for key, members in found.items():
        assert set(members) == {"image.png", "meta.json"}
        meta = json.loads(members["meta.json"])
        assert meta["source"] == key and meta["input"] == decode_key(key)


def test_samples_hold_what_files_hold(desk):
    desk.fill(5, 2)
    desk.translate("--batch-size", 2, output="files")
    told = translate(desk)
    assert told.code == 0
    assert told.said == ["5 done, 0 failed, 0 from before; shards 2; out/index.html"]
    found = plain(desk)
    assert list(found) == [encode_key(f"m{n}.png") for n in range(5)]
    for key, members in found.items():
        name = decode_key(key)
        assert members["image.png"] == desk.results("files")[f"{name}.png"]
        row, meta = desk.manifest()[name], json.loads(members["meta.json"])
        assert meta == {
            "key": name, "input": name, "source": key, "exemplar": row["exemplar"],
            "sha256": desk.manifest("files")[name]["sha256"],
        }  # fmt: skip
        shard, _, member = row["output"].partition("/")
        assert shard == row["shard"] and row["sha256"] == meta["sha256"]
        with tarfile.open(desk.folder / "out" / shard) as tar:
            assert tar.extractfile(member).read() == members["image.png"]


def test_the_folder_reads_as_shards(desk):
    desk.fill(4)
    translate(desk)
    folder = desk.folder / "out"
    assert is_shards(str(folder))
    samples = ShardList(find_shards(str(folder)))
    assert [samples.key(i) for i in range(4)] == [f"m{n}.png" for n in range(4)]
    index = read_index(folder).values
    assert index["counts"] == {"results": 4} and index["settings"]["pairs"] == "cycle"
    assert [shard["samples"] for shard in index["shards"]] == [3, 1]
    for shard in index["shards"]:
        assert shard["bytes"] == (folder / shard["name"]).stat().st_size


def test_odd_names_are_percent_encoded_and_come_back(desk):
    names = ["a.v1.png", "a.v2.png", "_x.png", "deep/er.d/é 山.png", "line\nbreak.png",
             os.fsdecode(b"caf\xe9.png"), "%2E.png", "山" * 82 + ".png"]  # fmt: skip
    for n, name in enumerate(names):
        desk.mask(f"masks/{name}", n)
    desk.photo()
    assert translate(desk).code == 0
    assert set(plain(desk)) == {encode_key(name) for name in names}
    assert set(desk.manifest()) == set(names)
    before = written(desk)
    assert translate(desk).said[-1].startswith("0 done, 0 failed, 8 from before")
    assert written(desk) == before


def test_all_pairs_have_both_names_in_the_key(desk):
    desk.fill(2)
    for name in ("e.png", "sub/e.png", "sub/_f.v1.png"):
        desk.photo(f"photos/{name}")
    (desk.folder / "photos/e0.png").unlink()
    (desk.folder / "photos/e1.png").unlink()
    assert translate(desk, "--pairs", "all").code == 0
    found = plain(desk)
    metas = [json.loads(members["meta.json"]) for members in found.values()]
    assert len(found) == 6 and {decode_key(key) for key in found} == set(desk.manifest())
    for key, meta in zip(found, metas, strict=True):
        source, _, exemplar = key.rpartition("/")
        assert meta["source"] == source == encode_key(meta["input"])
        assert decode_key(exemplar) == meta["exemplar"]
    assert len({(meta["input"], meta["exemplar"]) for meta in metas}) == 6


@pytest.mark.parametrize("pairs", ["cycle", "all"])
def test_the_page_shows_previews(desk, pairs):
    desk.fill(3, 2)
    desk.file("masks/bad.png", b"text")
    assert translate(desk, "--pairs", pairs).code == 3
    rows = (desk.folder / "out/_cocos/rows/0000.js").read_text("utf-8")
    table = json.loads(rows[rows.index("[") : rows.rindex("]") + 1])
    shown = {title: pictures for title, pictures, *_ in table}
    assert set(shown) == {"bad.png", "m0.png", "m1.png", "m2.png"}
    for n in range(3):
        for src, _ in shown[f"m{n}.png"]:
            with Image.open(desk.folder / "out" / src) as image:
                image.load()
        assert shown[f"m{n}.png"][-1][0].endswith("-result.jpg")


def test_summary_and_dry_run(desk):
    desk.fill(4)
    facts = json.loads(translate(desk, "--dry-run", "--json").out)
    assert facts["first"][0]["result"] == "m0%2Epng.image.png"
    assert not (desk.folder / "out").exists()
    summary = json.loads(translate(desk, "--json").out)
    assert (summary["done"], summary["shards"]) == (4, 2)


def test_two_samples_of_one_key_are_refused(desk):
    source_shards(desk, ["a", "b"], "in/val-000000.tar")
    source_shards(desk, ["c", "b"], "in/val-000001.tar")
    desk.photo()
    told = translate(desk, inputs="in/val-{000000..000001}.tar")
    assert told.code == 1 and "two samples have the key b." in told.said[0]
    assert not (desk.folder / "out").exists()


# -------------------------------------------------------------------------------- faults, repeats


def test_a_failed_item_costs_itself_and_a_retry_has_a_shard_of_its_own(desk):
    desk.fill(7)
    good = {n: (desk.folder / f"masks/m{n}.png").read_bytes() for n in (1, 6)}
    for n in good:
        desk.file(f"masks/m{n}.png", good[n][:50])
    told = translate(desk)
    assert told.code == 3 and told.said[-1].startswith("5 done, 2 failed")
    assert list(plain(desk)) == [encode_key(f"m{n}.png") for n in (0, 2, 3, 4, 5)]
    row = desk.manifest()["m1.png"]
    assert (row["status"], row["output"], row["shard"]) == ("failed", None, None)
    before, files = written(desk), tars(desk)
    desk.file("masks/m1.png", good[1])
    assert translate(desk).code == 3 and written(desk) == before
    assert translate(desk, "--retry-failed").code == 3  # m6 fails again
    assert set(written(desk)) - set(before) == {"results-000002.tar"}
    assert desk.manifest()["m1.png"]["shard"] == "results-000002.tar"
    desk.file("masks/m6.png", good[6])
    assert translate(desk, "--retry-failed").code == 0
    assert len(plain(desk)) == len(desk.manifest()) == 7
    assert read_index(desk.folder / "out").values["counts"] == {"results": 7}
    assert all(written(desk)[name] == when for name, when in before.items())
    assert all(tars(desk)[name] == data for name, data in files.items())
    last = written(desk)
    assert translate(desk, "--retry-failed").code == 0 and written(desk) == last


def test_nothing_that_works(desk):
    desk.file("masks/a.png", b"text")
    desk.photo()
    assert translate(desk).code == 3
    assert tars(desk) == {} and read_index(desk.folder / "out").values["shards"] == []
    assert translate(desk).said[-1].startswith("0 done, 1 failed, 0 from before; shards 0")


def test_limit_then_all(desk):
    desk.fill(5)
    assert translate(desk, "--limit", 2).code == 0
    before = written(desk)
    assert translate(desk).said[-1].startswith("3 done, 0 failed, 2 from before; shards 2")
    assert written(desk)["results-000000.tar"] == before["results-000000.tar"]
    assert len(plain(desk)) == 5


def test_an_input_that_is_added_later_has_its_result_once(desk):
    desk.fill(4)
    translate(desk)
    desk.mask("masks/a.png", 9)
    assert translate(desk).said[-1].startswith("1 done, 0 failed, 4 from before; shards 3")
    assert len(plain(desk)) == len(desk.manifest()) == 5


def test_other_settings_are_refused(desk):
    desk.fill(2)
    translate(desk)
    told = desk.translate("--format", "shards", "--shard-samples", 4)
    assert told.code == 1 and "shard_samples was 3, is 4" in told.said[0]
    told = desk.translate()
    assert told.code == 1 and "format was 'shards', is 'png'" in told.said[0]


def test_overwrite_leaves_nothing_of_the_other_format(desk):
    desk.fill(4)
    desk.translate()
    assert translate(desk, "--overwrite").code == 0
    shards = {"results-000000.tar", "results-000001.tar", "index.json"}
    rest = {"manifest.jsonl", "run.toml", "index.html", "_cocos"}
    assert set(os.listdir(desk.folder / "out")) == shards | rest
    assert translate(desk, "--overwrite").code == 0 and len(plain(desk)) == 4
    assert desk.translate("--overwrite").code == 0
    assert set(os.listdir(desk.folder / "out")) == {f"m{n}.png.png" for n in range(4)} | rest


# --------------------------------------------------------------------------------- stopped runs


PLACES = [
    (ShardWriter, "add", 0, False),
    (ShardWriter, "add", 4, False),
    (shardset._OpenShard, "close", 1, True),  # in place, but without rows
    (output_module.OutputFolder, "append", 5, True),  # some rows
    (output_module.OutputFolder, "flush", 2, True),  # rows, but no record
    (ShardSet, "_record", 1, True),
    (ShardSet, "finish", 0, False),
]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("swept")
@pytest.mark.parametrize("place", PLACES, ids=[f"{p[1]}-{p[2]}" for p in PLACES])
@pytest.mark.parametrize("kind", ["interrupt", "full"])
def test_a_stopped_run_goes_on_to_the_same_bytes(desk, monkeypatch, place, kind):
    desk.fill(10)
    desk.file("masks/m2.png", b"text")
    translate(desk, output="whole")
    owner, name, call, after = place
    error = KeyboardInterrupt() if kind == "interrupt" else OSError(errno.ENOSPC, FULL)
    with monkeypatch.context() as patch:
        stop_at(patch, owner, name, call, error, after)
        told = translate(desk)
    if kind == "full":
        assert told.code == 1
        assert f"error: out: the output cannot be written ({FULL})." in told.said
        assert len(told.said) <= 3  # m2's warning and the hint beside it
    else:
        assert told.code == 130
    kept = tars(desk)
    assert all(tars(desk, "whole")[name] == data for name, data in kept.items())
    for row in desk.manifest().values() if (desk.folder / "out/manifest.jsonl").exists() else ():
        assert row["status"] == "failed" or row["shard"] in kept
    assert translate(desk).code == 3
    assert_same(desk)


def started(desk, *more: object) -> Process:
    """`cocos translate --format shards` of masks/."""
    fixed = ["translate", "masks", "--exemplar", "photos", "--output", "out", "--weights"]
    weights = desk.weights / "labels.safetensors"
    return Process(desk.folder, ["-m", "cocoscli", *fixed, weights, *SHARDS, *more])


@pytest.mark.slow
def test_killed_at_random_moments(desk):
    desk.fill(120)
    draw = random.Random(0)
    for n in range(3):
        process = started(desk, "--workers", 1)
        process.wait_for(lambda n=n: len(tars(desk)) > 3 * n)
        time.sleep(draw.random() / 10)
        process.signal(signal.SIGKILL)
        assert process.end()[0] == -signal.SIGKILL
        assert len(plain(desk)) == 3 * len(tars(desk)) < 120
    translate(desk, output="whole")
    assert translate(desk).code == 0
    assert_same(desk)


def test_a_real_interrupt_is_quiet(desk):
    desk.fill(120)
    process = started(desk, "--workers", 2)
    process.wait_for(lambda: len(tars(desk)) >= 2)
    process.signal(signal.SIGINT)
    code, said = process.end()
    assert code == 130 and said == "interrupted: the same command goes on from here\n"
    translate(desk, output="whole")
    assert translate(desk).code == 0
    assert_same(desk)


def test_a_full_disk(desk, small_disk):
    desk.fill(30)
    told = translate(desk, "--gallery", 0, output="disk/out")
    assert told.code == 1
    assert (
        told.said[0] == "error: disk/out: the output cannot be written (No space left on device)."
    )
    assert len(told.said) == 2
    kept = tars(desk, "disk/out")
    assert 0 < len(kept) < 10
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert translate(desk, "--gallery", 0, output="disk/out").code == 0
    translate(desk, "--gallery", 0, output="whole")
    assert_same(desk, "disk/out")
    assert kept.items() <= tars(desk, "disk/out").items()


@pytest.mark.parametrize("name", ["results-000000.tar", "results-000002.tar", "manifest.jsonl",
                                  "_cocos/shards.jsonl", "index.json"])  # fmt: skip
def test_what_went_missing_is_made_again(desk, name):
    desk.fill(8)
    translate(desk, output="whole")
    translate(desk)
    (desk.folder / "out" / name).unlink()
    assert translate(desk).code == 0
    assert_same(desk)


def test_results_are_no_inputs(desk):
    desk.fill(2)
    translate(desk)
    told = desk.translate(inputs="out", output="again")
    assert told.code == 3 and "a sample without image or condition" in told.err


def test_results_are_png(desk):
    desk.fill(1, 1)
    translate(desk, "--quality", 10)
    [members] = plain(desk).values()
    with Image.open(io.BytesIO(members["image.png"])) as image:
        assert image.format == "PNG" and image.size == (64, 64) and image.info["icc_profile"]


# ------------------------------------------------------------------------------------------ parts


def test_parts_have_shards_of_their_own(desk):
    desk.fill(10, 2)
    translate(desk, output="whole")
    for n in (2, 1):
        assert translate(desk, "--part", f"{n}/2").code == 0
    assert set(tars(desk)) == {f"results-00{n}-of-002-00000{i}.tar" for n in (1, 2) for i in (0, 1)}
    found, whole = plain(desk), plain(desk, "whole")
    assert found == whole
    index = read_index(desk.folder / "out").values
    assert index["counts"] == {"results": 10} and len(index["shards"]) == 4
    before = written(desk)
    told = translate(desk)
    assert told.said[-1].startswith("0 done, 0 failed, 10 from before; shards 4")
    assert translate(desk, "--part", "1/3").code == 0
    assert written(desk) == before and len(desk.manifest()) == 10
    assert translate(desk, "--overwrite").code == 0
    assert tars(desk).keys() == tars(desk, "whole").keys()
    assert not list((desk.folder / "out").glob("*-of-*"))


def test_what_a_part_that_died_left_is_taken_away(desk, monkeypatch):
    """It dies between the rows of a shard and its record; another cut goes on."""
    desk.fill(10, 2)
    with monkeypatch.context() as patch:
        stop_at(patch, ShardSet, "_record", 1, KeyboardInterrupt())
        assert translate(desk, "--part", "1/2").code == 130
    assert len(tars(desk)) == 2
    for _ in range(2):  # what was unrecorded is gone in the end of the first, and made by the next
        translate(desk)
    assert len(plain(desk)) == 10 and len(desk.manifest()) == 10
    assert {row["status"] for row in desk.manifest().values()} == {"done"}
