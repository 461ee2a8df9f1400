"""Commands that read and write an S3 bucket, beside the same ones on local folders."""

from __future__ import annotations

import pytest
from training import differing

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
    bucket.upload(desk.folder / "set", "set")
    for source, output in (("set", "local"), (bucket.url("set"), "out")):
        told = desk.run("prepare", source, "--size", 64, "--workers", 0, "--output", output)
        assert told.code == 0, told.err
    shards = sorted((desk.folder / "local").glob("*.tar"))
    assert shards
    for shard in shards:
        assert shard.read_bytes() == (desk.folder / "out" / shard.name).read_bytes()
