"""Interrupted, killed, repeated, changed: the same files in the end, and nothing done twice."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import Process

from cocoscli.engine.results import Files


def pixels(desk, output: str) -> dict[str, np.ndarray]:
    found = {}
    for name in desk.results(output):
        with Image.open(desk.folder / output / name) as image:
            found[name] = np.asarray(image, int)
    return found


def written(desk, output: str = "out") -> dict[str, int]:
    """When each result was written."""
    rows = desk.manifest(output).values()
    names = [row["output"] for row in rows if row["output"]]
    return {name: (desk.folder / output / name).stat().st_mtime_ns for name in names}


def interrupt_after(monkeypatch, rows: int) -> None:
    """Ctrl-C as soon as so many rows are in the manifest."""
    record = Files.record
    count = [0]

    def counting(self, items):
        for row in record(self, items):
            count[0] += 1
            if count[0] > rows:
                raise KeyboardInterrupt
            yield row

    monkeypatch.setattr(Files, "record", counting)


def test_a_second_run_does_nothing_and_says_so(desk):
    desk.fill(4)
    desk.translate()
    before = written(desk)
    told = desk.translate("--json")
    summary = json.loads(told.out)
    assert told.code == 0 and (summary["done"], summary["skipped"]) == (0, 4)
    assert told.said[-1].startswith("0 done, 0 failed, 4 from before")
    assert written(desk) == before


@pytest.mark.parametrize("rows", [0, 1, 4, 10])
def test_interrupted_and_resumed_gives_the_same_bytes(desk, monkeypatch, rows):
    desk.fill(11, 3)
    desk.translate("--batch-size", 3, output="whole")
    with monkeypatch.context() as patch:
        interrupt_after(patch, rows)
        told = desk.translate("--batch-size", 3)
        assert told.code == 130
        assert told.said[-1] == "interrupted: the same command goes on from here"
    before = written(desk) if rows else {}
    assert desk.translate("--batch-size", 3).code == 0
    assert desk.results() == desk.results("whole")
    now = written(desk)
    assert len(now) == 11 and all(now[name] == when for name, when in before.items())


def test_results_depend_neither_on_batch_nor_workers_nor_order(desk):
    desk.fill(7, 3)
    pairs = [f"m{n}.png,e{n % 3}.png" for n in range(7)]
    desk.file("pairs.csv", "\n".join(pairs))
    desk.file("reversed.csv", "\n".join(reversed(pairs)))
    desk.translate("--batch-size", 1, "--pairs", "pairs.csv")
    base = pixels(desk, "out")
    for n, (size, workers, order) in enumerate(
        [(2, 0, "pairs"), (5, 0, "pairs"), (2, 2, "pairs"), (5, 0, "reversed")]
    ):
        output = f"out{n}"
        more = ("--batch-size", size, "--workers", workers, "--pairs", f"{order}.csv")
        assert desk.translate(*more, output=output).code == 0
        other = pixels(desk, output)
        assert other.keys() == base.keys()
        assert all(np.abs(other[name] - base[name]).max() <= 1 for name in base)


def test_batch_size_and_workers_may_change_between_runs(desk):
    desk.fill(5)
    desk.translate("--limit", 2, "--batch-size", 1)
    assert desk.translate("--batch-size", 4, "--workers", 1).code == 0
    assert len(desk.results()) == 5


def test_limit_then_all(desk):
    desk.fill(5)
    desk.translate(output="whole")
    told = desk.translate("--limit", 2)
    assert told.said[-1].startswith("2 done, 0 failed, 0 from before") and len(written(desk)) == 2
    before = written(desk)
    told = desk.translate()
    assert told.said[-1].startswith("3 done, 0 failed, 2 from before")
    assert desk.results() == desk.results("whole")
    assert all(written(desk)[name] == when for name, when in before.items())


def test_failed_items_wait_for_retry_failed(desk):
    desk.fill(3)
    good = (desk.folder / "masks/m1.png").read_bytes()
    desk.file("masks/m1.png", good[:50])
    assert desk.translate().code == 3
    before = written(desk)
    desk.file("masks/m1.png", good)
    again = desk.translate()
    assert again.code == 3 and desk.statuses()["m1.png"] == "failed"
    assert desk.translate("--retry-failed").code == 0
    assert desk.statuses()["m1.png"] == "done" and desk.manifest()["m1.png"]["error"] is None
    assert all(written(desk)[name] == when for name, when in before.items())
    assert desk.translate().code == 0


def test_overwrite_redoes_everything(desk):
    desk.fill(3)
    desk.translate()
    before, files = written(desk), desk.results()
    assert desk.translate("--overwrite").code == 0
    assert desk.results() == files
    assert all(written(desk)[name] > when for name, when in before.items())


def test_overwrite_with_another_format_leaves_no_old_results(desk):
    desk.fill(2)
    desk.translate()
    assert desk.translate("--overwrite", "--format", "jpg").code == 0
    names = {path.name for path in (desk.folder / "out").iterdir() if path.is_file()}
    assert names == {"m0.png.jpg", "m1.png.jpg", "manifest.jsonl", "run.toml", "index.html"}


def test_a_deleted_result_is_made_again(desk):
    desk.fill(3)
    desk.translate()
    files = desk.results()
    (desk.folder / "out/m1.png.png").unlink()
    told = desk.translate()
    assert told.said[-1].startswith("1 done") and desk.results() == files


GARBAGE = [
    b'{"key": "m1.png", "status": "do',
    b"\n\n\xff\xfe\x00garbage\n",
    b'[1]\n3\nnull\n"x"\n{}\n{"key": 3}\n',
    b'{"key": "lost", "status": "done"}\n',
    b'{"key": "lost", "status": "done", "output": null, "input": null}\n',
    b'{"key": "lost", "status": "done", "output": "' + b"x" * 5000 + b'"}\n',
    b'{"key": "\\ud800", "status": "done", "output": "m0.png.png"}\n',
    b'{"key": "lost", "status": "failed"}\n',
    b"[" * 100_000 + b"\n",
    b"x" * 10_000,
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_damaged_manifest_costs_no_more_than_its_lines(desk, garbage):
    desk.fill(3)
    desk.translate(output="whole")
    desk.translate("--limit", 2)
    with open(desk.folder / "out/manifest.jsonl", "ab") as file:
        file.write(garbage)
    told = desk.translate()
    assert told.code in (0, 3)
    results = {f"m{n}.png.png": (desk.folder / f"out/m{n}.png.png").read_bytes() for n in range(3)}
    assert results == desk.results("whole")


def test_a_lost_manifest_is_made_again(desk):
    desk.fill(3)
    desk.translate()
    (desk.folder / "out/manifest.jsonl").unlink()
    assert desk.translate().code == 0 and len(desk.manifest()) == 3


def test_what_a_killed_run_left_is_no_foreign_folder(desk):
    desk.fill(2)
    desk.file("out/_cocos/lock")
    desk.file("out/_cocos/tmp/abc123", b"[sett")
    assert desk.translate().code == 0


def test_removed_inputs_are_not_failures_for_ever(desk):
    desk.fill(2)
    bad = desk.file("masks/bad.png", b"text")
    assert desk.translate().code == 3
    bad.unlink()
    assert desk.translate().code == 0


# In processes of their own.


def started(desk, *more: object) -> Process:
    """`cocos translate` of masks/."""
    weights = desk.weights / "labels.safetensors"
    fixed = f"translate masks --exemplar photos --weights {weights} --output out --batch-size 2"
    return Process(desk.folder, ["-m", "cocoscli", *fixed.split(), *more])


def rows(desk) -> int:
    manifest = desk.folder / "out/manifest.jsonl"
    return manifest.read_bytes().count(b"\n") if manifest.exists() else 0


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 2), (signal.SIGTERM, 1)])
def test_a_real_interrupt(desk, number, workers):
    desk.fill(60)
    process = started(desk, "--workers", workers)
    process.wait_for(lambda: rows(desk) >= 3)
    process.signal(number)
    code, said = process.end()
    assert "Traceback" not in said and "Exception ignored" not in said
    assert code == 130 and "interrupted: the same command goes on from here" in said
    assert 3 <= len(desk.manifest()) < 60
    assert desk.translate("--batch-size", 2).code == 0
    desk.translate("--batch-size", 2, output="whole")
    assert desk.results() == desk.results("whole")


SLOW = """
import os, sys, time
from cocoscli.app import main
from cocoscli.engine.results import Files
put = Files.put
def slow(self, row, packed):
    os.write(1, b"putting\\n")
    time.sleep(60)
    return put(self, row, packed)
Files.put = slow
sys.argv[0] = "cocos"
main()
"""


def test_a_second_interrupt_ends_at_once(desk):
    """The first one waits for what is being written, which here takes a minute."""
    desk.fill(3)
    given = ["translate", "masks", "--exemplar", "photos", "--weights",
             desk.weights / "labels.safetensors", "--output", "out", "--workers", 0]  # fmt: skip
    process = Process(desk.folder, ["-c", SLOW, *given])
    assert process.says() == "putting\n"
    process.signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.process.wait(2)
    before = time.monotonic()
    process.signal(signal.SIGINT)
    code, said = process.end()
    assert time.monotonic() - before < 20 and code == 130
    assert said.splitlines()[-1] == "interrupted: the same command goes on from here"
    assert desk.translate().code == 0 and len(desk.manifest()) == 3
    assert not list((desk.folder / "out/_cocos/tmp").iterdir())


ENDING = """
import os, threading, time
from cocoscli import app
def lasting():
    threading.main_thread().join()
    os.write(1, b"ending\\n")
    time.sleep(60)
threading.Thread(target=lasting).start()
app.app = lambda **_: 3
app.main()
"""


def test_an_interrupt_while_ending(tmp_path):
    """The command has ended: what it ended with is what counts."""
    process = Process(tmp_path, ["-c", ENDING])
    assert process.says() == "ending\n"
    before = time.monotonic()
    while process.process.poll() is None:  # Python misses one that comes just before it waits
        process.signal(signal.SIGINT)
        time.sleep(0.5)
    assert process.end() == (3, "")
    assert time.monotonic() - before < 20


def test_an_interrupt_while_starting(desk):
    desk.fill(2)
    process = started(desk)
    maps = Path(f"/proc/{process.process.pid}/maps")
    process.wait_for(lambda: "libtorch_cpu" in maps.read_text())  # torch is being imported
    process.signal(signal.SIGINT)
    code, said = process.end()
    assert code == 130
    assert "Traceback" not in said and len(said.splitlines()) == 1


@pytest.mark.slow
def test_killed_at_random_moments(desk):
    desk.fill(40)
    draw = random.Random(0)
    for _ in range(3):
        wanted = rows(desk) + draw.randrange(10)
        process = started(desk, "--workers", 1)
        process.wait_for(lambda wanted=wanted: rows(desk) >= wanted)
        process.signal(signal.SIGKILL)
        process.end()
        for path in (desk.folder / "out").glob("*.png"):
            with Image.open(path) as image:
                image.load()
    assert desk.translate("--batch-size", 2).code == 0
    desk.translate("--batch-size", 2, output="whole")
    assert desk.results() == desk.results("whole")
    assert not list((desk.folder / "out/_cocos/tmp").iterdir())


def test_two_processes_do_not_share_a_folder(desk):
    desk.fill(2)
    desk.translate("--limit", 1)
    with open(desk.folder / "out/_cocos/lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        told = desk.translate()
        assert told.code == 1
        assert told.said[0] == "error: out: another process is writing to this output folder."
    assert desk.translate().code == 0


def test_no_list_is_left_in_the_temporary_folder(desk, monkeypatch):
    desk.fill(2)
    (desk.folder / "tmp").mkdir()
    (desk.folder / "empty").mkdir()
    desk.file("pairs.csv", "m0.png,e0.png\nbad\n")
    monkeypatch.setattr("tempfile.tempdir", str(desk.folder / "tmp"))
    desk.translate()
    desk.translate(inputs="empty", output="other")
    desk.translate("--pairs", "pairs.csv", output="other")
    gc.collect()
    assert os.listdir(desk.folder / "tmp") == []
