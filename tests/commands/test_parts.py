"""`--part K/N`: several runs, one folder, and in the end what one run would have left."""

from __future__ import annotations

import fcntl
import json

import pytest
from PIL import Image


def parts(desk, count, numbers=None, *more, output="out"):
    return [
        desk.translate("--batch-size", 3, "--part", f"{n}/{count}", *more, output=output)
        for n in numbers or range(1, count + 1)
    ]


@pytest.mark.parametrize("count", [1, 3, 12])
def test_parts_end_with_the_bytes_of_one_run(desk, count):
    desk.fill(10, 3)
    desk.translate("--batch-size", 3, output="whole")
    told = parts(desk, count)
    assert all(each.code == 0 for each in told)
    assert desk.results() == desk.results("whole")
    if left := 10 - 10 // count:
        last = f"{left} items of other parts are left, and none of them is at work"
        assert told[0].said[-1] == last
    assert told[-1].said[-1].startswith(f"part {count}/{count}:")
    names = {f"manifest-{n:03d}-of-{count:03d}.jsonl" for n in range(1, count + 1)}
    assert {p.name for p in (desk.folder / "out").glob("manifest-*.jsonl")} == names
    page, whole = ((desk.folder / o / "index.html").read_text() for o in ("out", "whole"))
    assert page.count("<img") == whole.count("<img")


def test_any_cut_knows_what_another_has_done(desk):
    desk.fill(8)
    parts(desk, 2, [2])
    told = desk.translate("--part", "3/4", "--json")
    assert (json.loads(told.out)["done"], json.loads(told.out)["skipped"]) == (0, 2)
    told = desk.translate()
    assert told.said[-1].startswith("4 done, 0 failed, 4 from before")
    assert desk.translate("--part", "1/2").said[-1].startswith("part 1/2: 0 done, 0 failed, 4 from")


def test_a_part_that_was_killed_has_lost_no_row(desk):
    """Its rows are in its own manifest alone, and its last line is torn."""
    desk.fill(6)
    parts(desk, 2, [2])
    (desk.folder / "out/manifest.jsonl").unlink()
    with open(desk.folder / "out/manifest-002-of-002.jsonl", "ab") as file:
        file.write(b'{"key": "m0.png", "status": "failed"')
    assert desk.translate("--json").out.count('"skipped": 3') == 1
    assert set(desk.statuses().values()) == {"done"} and len(desk.statuses()) == 6


def test_failed_items_of_a_part(desk):
    desk.fill(6)
    good = (desk.folder / "masks/m4.png").read_bytes()
    desk.file("masks/m4.png", good[:40])
    first, second = parts(desk, 2)
    assert (first.code, second.code) == (0, 3)
    assert "of another" not in second.err and "m4.png" in second.err
    desk.file("masks/m4.png", good)
    assert [each.code for each in parts(desk, 2)] == [0, 3]
    assert [each.code for each in parts(desk, 2, None, "--retry-failed")] == [0, 0]
    assert desk.statuses()["m4.png"] == "done"


def test_the_page_is_the_last_one_s(desk):
    desk.fill(4)
    parts(desk, 2, [1])
    (desk.folder / "out/index.html").unlink()
    with open(desk.folder / "out/_cocos/lock", "a+") as held:  # as part 1 would, still at work
        fcntl.flock(held, fcntl.LOCK_SH)
        told = desk.translate("--part", "2/2", "--json")
    assert told.code == 0 and json.loads(told.out)["page"] is None
    assert not (desk.folder / "out/index.html").exists()
    assert len(desk.manifest()) == 2
    desk.translate("--part", "2/2")
    assert (desk.folder / "out/index.html").exists() and len(desk.manifest()) == 4


def test_limit_is_taken_before_the_cut(desk):
    desk.fill(6)
    told = parts(desk, 2, None, "--limit", 4)
    assert [each.said[0 if n else -2][:16] for n, each in enumerate(told)] == [
        "part 1/2: 2 done",
        "part 2/2: 2 done",
    ]


def test_what_cannot_be(desk):
    desk.fill(2)
    assert desk.translate("--part", "3/2").code == 2
    told = desk.translate("--part", "1/2", "--overwrite")
    assert told.code == 2 and "would take the others' results away" in told.err
    assert not (desk.folder / "out").exists()


def test_other_commands(desk):
    desk.fill(4)
    for n in (1, 2):
        assert desk.correspond("--part", f"{n}/2", output="flow").code == 0
    assert len(desk.manifest("flow")) == 4
    photo = desk.photo("faces/a.png", 1)
    with Image.open(photo) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(desk.folder / "faces/b.png")
    edges = f"--weights {desk.weights / 'edges.safetensors'} --workers 0"
    desk.picture("edited/a.png", Image.new("L", (64, 64), 255))
    desk.picture("edited/b.png", Image.new("L", (64, 64), 0))
    for n in (1, 2):
        told = desk.run("edit", "faces", "--edited", "edited", *edges.split(), "--output", "edits",
                        "--part", f"{n}/2")  # fmt: skip
        assert told.code == 0, told.err
    assert len(desk.manifest("edits")) == 2
