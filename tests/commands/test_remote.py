"""Commands that read and write an S3 bucket, beside the same ones on local folders."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from stopping import stop_at
from training import differing

from cocoscli.data import stores
from cocoscli.data.storage import place
from cocoscli.engine import leases
from cocoscli.engine.leases import take_lease
from cocoscli.engine.output import OutputFolder

LABELS = "labels.safetensors"


@pytest.fixture
def there(desk, bucket) -> str:
    """The desk's masks, photos and weights in the bucket; -> the URL that holds them."""
    desk.fill()
    desk.mask("masks/b-c/m.png", 7)
    desk.mask("masks/b/m.png", 8)
    for name in ("masks", "photos"):
        bucket.upload(desk.folder / name, f"in/{name}")
    bucket.put(f"in/{LABELS}", (desk.weights / LABELS).read_bytes())
    return bucket.url("in")


def test_reading_from_a_bucket_gives_the_same_files(desk, there):
    desk.translate(output="local")
    remote = desk.translate(
        "--exemplar", f"{there}/photos", "--weights", f"{there}/{LABELS}",
        inputs=f"{there}/masks", output="out",
    )  # fmt: skip
    assert remote.code == 0, remote.err
    assert desk.results("local") == desk.results("out") and len(desk.results("out")) == 5


@pytest.mark.parametrize("workers", [0, 1])
def test_a_list_and_a_file_by_url(desk, there, workers):
    desk.file("list.txt", f"{there}/masks/m1.png\n{there}/masks/b/m.png\n{there}/gone.png\n")
    desk.translate(output="local")
    told = desk.translate("--workers", workers, inputs="@list.txt")
    assert told.code == 3 and "gone.png: no such file" in told.err
    expected = {"masks/m1.png.png": "m1.png.png", "masks/b/m.png.png": "b/m.png.png"}
    results, local = desk.results(), desk.results("local")
    assert {*results} == {*expected}
    one = desk.translate(inputs=f"{there}/masks/m0.png", output="one")
    assert one.code == 0 and desk.results("one") == {"m0.png.png": local["m0.png.png"]}


def test_shards_by_url(desk, bucket, scene_shards):
    bucket.upload(scene_shards, "shards")
    given = ["--exemplar", desk.photo(), "--weights", desk.weights / LABELS, "--workers", 0]
    assert desk.run("translate", scene_shards, *given, "--output", "local").code == 0
    specs = ("shards", "shards/val-{000000..000000}.tar", "shards/val-*.tar")
    for number, spec in enumerate(specs):
        told = desk.run("translate", bucket.url(spec), *given, "--output", f"out{number}")
        assert told.code == 0, told.err
        assert desk.results(f"out{number}") == desk.results("local")


def test_a_damaged_object_costs_its_item(desk, bucket, there):
    bucket.put("in/masks/m1.png", b"no picture")
    told = desk.translate(inputs=f"{there}/masks")
    assert told.code == 3 and f"{there}/masks/m1.png: not an image" in told.err
    assert list(desk.statuses().values()).count("done") == 4


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("s3://no-such-bucket-at-all/x", "no such file or folder"),
        ("{}/none", "no such file or folder"),
        ("{}/x-{{0..1}}.tar", "no such shard"),
        ("ftp://host/masks", "no storage that is read"),
        ("pipe:cat x", "no storage that is read"),
    ],
)
def test_bad_places_are_one_clear_error(desk, there, spec, words):
    told = desk.translate(inputs=spec.format(there))
    assert told.code in (1, 2) and words in told.err and len(told.said) <= 2, told.err


def test_refused_credentials_end_it_at_once(desk, bucket, there):
    bucket.server.ask_for_credentials("0")
    try:
        told = desk.translate(inputs=f"{there}/masks")
    finally:
        bucket.server.ask_for_credentials("inf")
    assert told.code == 1 and "refuses these credentials" in told.err and len(told.said) <= 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "out", "--real", "s3://bucket/photos"],
        ["translate", "masks", "--colors", "s3://bucket/colors.csv"],
        ["prepare", "masks", "--output", "s3://bucket/shards"],
        ["train", "--output", "s3://bucket/run"],
    ],
)
def test_options_of_local_paths_refuse_urls(desk, arguments):
    told = desk.run(*arguments)
    assert told.code == 2 and "a URL, where local paths alone are taken" in told.err
    assert not list(desk.folder.iterdir())


def test_training_on_shards_of_a_bucket_is_the_same(bench, bucket):
    bucket.upload(bench.folder / "shards", "shards")
    for data, output in (("shards", "local"), (bucket.url("shards"), "out")):
        told = bench.train("--data", data, "--max-steps", 2, output=output)
        assert told.code == 0, told.err
    assert not differing(bench.learned("local"), bench.learned("out"))


def test_prepare_from_a_bucket_is_the_same(desk, bucket):
    desk.mask("set/masks/a.png")
    desk.photo("set/images/a.png")
    (desk.folder / "set/points.csv").write_text("images/a.png,nose,3,4\n")
    bucket.upload(desk.folder / "set", "set")
    for source, output in (("set", "local"), (bucket.url("set"), "out")):
        told = desk.run("prepare", source, "--size", 64, "--workers", 0, "--output", output)
        assert told.code == 0, told.err
    shards = sorted((desk.folder / "local").glob("*.tar"))
    assert shards and any(b"points.json" in shard.read_bytes() for shard in shards)
    for shard in shards:
        assert shard.read_bytes() == (desk.folder / "out" / shard.name).read_bytes()


@pytest.fixture
def same(desk, bucket):
    """Whether a folder of the bucket holds the results of a local run, and its manifest."""

    def check(prefix: str, local: str = "local") -> None:
        there = bucket.objects(prefix)
        results = desk.results(local)
        assert {name: there[name] for name in results} == results
        rows = [json.loads(line) for line in there["manifest.jsonl"].splitlines()]
        expected = desk.manifest(local)
        assert sorted(row["key"] for row in rows) == sorted(expected)
        for row in rows:
            for column in ("status", "output", "sha256", "input", "exemplar"):
                assert row[column] == expected[row["key"]][column]

    return check


def test_from_bucket_to_bucket_is_the_same_to_the_byte(desk, bucket, there, same):
    desk.translate(output="local")
    told = desk.translate(
        "--exemplar", f"{there}/photos", "--weights", f"{there}/{LABELS}",
        inputs=f"{there}/masks", output=bucket.url("out"),
    )  # fmt: skip
    assert told.code == 0 and f"{bucket.url('out')}/index.html" in told.err
    same("out")
    remote, local = bucket.objects("out"), desk.folder / "local"
    mine = {str(p.relative_to(local)) for p in local.rglob("*") if p.is_file()}
    assert {*remote} == mine - {"_cocos/lock", "_cocos/door"}
    assert remote["_cocos/rows/0000.js"] == (local / "_cocos/rows/0000.js").read_bytes()
    before = {key: bucket.changed(f"out/{key}") for key in desk.results("local")}
    again = desk.translate(
        "--exemplar", f"{there}/photos", "--weights", f"{there}/{LABELS}",
        inputs=f"{there}/masks", output=bucket.url("out"),
    )  # fmt: skip
    assert again.code == 0 and "0 done, 0 failed, 5 from before" in again.err
    assert before == {key: bucket.changed(f"out/{key}") for key in before}


def test_correspondences_and_their_pages_go_to_a_bucket(desk, bucket):
    desk.fill()
    desk.correspond("--warp", output="local")
    assert desk.correspond("--warp", output=bucket.url("out")).code == 0
    remote, local = bucket.objects("out"), desk.folder / "local"
    for path in (path for path in local.rglob("*") if path.is_file()):
        name = str(path.relative_to(local))
        if path.suffix in (".npz", ".png", ".html", ".jpg"):
            assert remote[name] == path.read_bytes()


def test_results_go_to_a_bucket_as_shards(desk, bucket):
    desk.fill(masks=5)
    shards = "--format", "shards", "--shard-samples", 2
    desk.translate(*shards, output="local")
    assert desk.translate(*shards, "--limit", 3, output=bucket.url("out")).code == 0
    assert desk.translate(*shards, output=bucket.url("out")).code == 0
    desk.translate(*shards, "--limit", 3, output="twice")
    desk.translate(*shards, output="twice")
    remote = bucket.objects("out")
    for shard in sorted((desk.folder / "twice").glob("*.tar")):
        assert remote[shard.name] == shard.read_bytes()
    assert len(remote["manifest.jsonl"].splitlines()) == 5


def test_what_was_left_out_is_done_by_the_next_run(desk, bucket, there, same):
    desk.translate(output="local")
    desk.translate("--limit", 2, inputs=f"{there}/masks", output=bucket.url("out"))
    bucket.remove("out/m0.png.png")
    told = desk.translate(inputs=f"{there}/masks", output=bucket.url("out"))
    assert told.code == 0 and "from before" in told.err
    same("out")


def test_other_settings_are_refused_and_overwritten(desk, bucket):
    desk.fill()
    out = bucket.url("out")
    desk.translate(output=out)
    told = desk.translate("--seed", 3, output=out)
    assert told.code == 1 and "seed was 0, is 3" in told.err
    assert desk.translate("--seed", 3, "--overwrite", output=out).code == 0
    bucket.put("other/file.txt", b"")
    told = desk.translate(output=bucket.url("other"))
    assert told.code == 1 and "not empty (file.txt)" in told.err


def test_parts_share_a_bucket(desk, bucket, same):
    desk.fill(masks=5)
    desk.translate(output="local")
    for part in ("2/3", "1/3", "3/3"):
        told = desk.translate("--part", part, output=bucket.url("out"))
        assert told.code == 0, told.err
    same("out")


def test_a_second_process_is_refused(desk, bucket):
    desk.fill()
    lease = take_lease(place(bucket.url("out/_cocos/lock")))
    told = desk.translate(output=bucket.url("out"))
    assert told.code == 1 and "is at work in this output folder" in told.err
    told = desk.translate("--part", "1/2", output=bucket.url("out"))
    assert told.code == 1 and "is at work in this output folder" in told.err
    lease.close()
    assert desk.translate(output=bucket.url("out")).code == 0


def test_the_lease_of_a_dead_process_runs_out(desk, bucket, monkeypatch):
    desk.fill()
    dead = {"mark": "x", "host": "h", "process": 1, "until": time.time() + 900}
    bucket.put("out/_cocos/lock", json.dumps(dead).encode())
    assert desk.translate(output=bucket.url("out")).code == 1
    monkeypatch.setattr(leases, "now", lambda: time.time() + 901)
    assert desk.translate(output=bucket.url("out")).code == 0


def test_a_run_whose_lease_was_taken_ends(desk, bucket, monkeypatch):
    desk.fill()
    stop_at(monkeypatch, leases.Lease, "check", 3, OSError(5, "the lock was not renewed"))
    told = desk.translate(output=bucket.url("out"))
    assert told.code == 1 and "the lock was not renewed" in told.err and "go on" in told.err
    assert desk.translate(output=bucket.url("out")).code == 0


def test_a_bucket_that_refuses_writes_ends_the_run(desk, bucket):
    desk.fill()
    told = desk.translate(output="s3://no-such-bucket-at-all/out")
    assert told.code == 1 and "cannot be written (no such object or bucket)" in told.err
    bucket.server.ask_for_credentials("0")
    try:
        told = desk.translate(output=bucket.url("out"))
    finally:
        bucket.server.ask_for_credentials("inf")
    assert told.code == 1 and "refuses these credentials" in told.err and len(told.said) <= 2


def test_a_store_that_stops_in_mid_run_ends_it_and_the_next_goes_on(
    desk, bucket, same, monkeypatch
):
    desk.fill(masks=6)
    desk.translate(output="local")
    write, count = OutputFolder.write, iter(range(100))

    def stopping(self, name, data):
        if next(count) == 8:  # the lease, run.toml and some results are there
            monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
            monkeypatch.setattr(stores, "PATIENCE", 1.0)
            stores.forget()
        return write(self, name, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OutputFolder, "write", stopping)
        told = desk.translate("--batch-size", 1, output=bucket.url("out"))
    assert told.code == 1 and "does not work, after 1 s" in told.err and "go on" in told.err
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.server.url)
    monkeypatch.setattr(stores, "PATIENCE", 60.0)
    stores.forget()
    assert 0 < len([key for key in bucket.keys("out/") if key.endswith(".png.png")]) < 6
    bucket.remove("out/_cocos/lock")  # it would run out in a minute
    assert desk.translate("--batch-size", 1, output=bucket.url("out")).code == 0
    same("out")


def test_a_server_that_hangs_is_given_up(desk, bucket, monkeypatch):
    monkeypatch.setattr(stores, "PATIENCE", 1.0)
    monkeypatch.setitem(stores._S3["config_kwargs"], "read_timeout", 1)
    desk.fill()
    bucket.server.stop_answering()
    try:
        told = desk.translate(output=bucket.url("out"))
    finally:
        bucket.server.answer_again()
    assert told.code == 1 and "does not work" in told.err


KILLED = """
import os, sys
from cocoscli import app
from cocoscli.engine import journal
from cocoscli.engine.output import OutputFolder

append, count = OutputFolder.append, iter(range(100))
journal.EVERY = 0.0

def killed(self, row):
    append(self, row)
    if next(count) == 2:
        self.flush()
        os._exit(9)

OutputFolder.append = killed
app.main()
"""


def test_after_a_kill_the_next_run_goes_on(desk, bucket, same, monkeypatch):
    desk.fill(masks=5)
    desk.translate("--batch-size", 1, output="local")
    given = ["translate", "masks", "--exemplar", "photos", "--weights", desk.weights / LABELS,
             "--workers", 0, "--batch-size", 1, "--output", bucket.url("out")]  # fmt: skip
    command = [sys.executable, "-c", KILLED, *map(str, given)]
    assert subprocess.run(command, cwd=desk.folder, capture_output=True).returncode == 9
    assert "_cocos/lock" in bucket.objects("out")
    (segment,) = bucket.keys("out/_cocos/journal/")
    assert len(bucket.get(segment).splitlines()) == 3
    later = time.time() + leases.LASTS + 1
    monkeypatch.setattr(leases, "now", lambda: later)
    told = desk.run(*given)
    assert told.code == 0 and "2 done, 0 failed, 3 from before" in told.err
    same("out")
    assert not bucket.keys("out/_cocos/journal/") and not bucket.keys("out/_cocos/lock")
