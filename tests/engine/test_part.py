"""Parts of a work list: what they hold, what they are called, and who is let in."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cocoscli.engine.locks import door, if_alone, take_locks
from cocoscli.engine.manifest import MANIFEST, Finished, latest_rows, manifests, merge
from cocoscli.engine.output import OutputFolder
from cocoscli.engine.part import Part, marked, parse_part
from cocoscli.errors import CocosError, UsageError


@pytest.mark.parametrize(("total", "count"), [(0, 3), (2, 3), (10, 3), (16, 16), (1000, 7)])
def test_parts_hold_every_item_once(total, count):
    spans = [Part(number, count).span(total) for number in range(1, count + 1)]
    assert [k for span in spans for k in span] == list(range(total))
    assert max(map(len, spans)) - min(map(len, spans)) <= 1


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "1/100000", "a/b", "1/2/3"])
def test_what_is_no_part(text):
    with pytest.raises(UsageError, match="expected K/N"):
        parse_part(text)


def array(task: int, first: int, last: int, count: int, step: int | None = None) -> dict[str, str]:
    values = {"ID": task, "MIN": first, "MAX": last, "COUNT": count}
    values |= {} if step is None else {"STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("environment", "part"),
    [(array(1, 1, 16, 16), Part(1, 16)), (array(15, 0, 15, 16), Part(16, 16)),
     (array(7, 1, 7, 4, 2), Part(4, 4))],
)  # fmt: skip
def test_the_place_in_a_job_array(environment, part):
    assert parse_part("slurm", environment) == part


@pytest.mark.parametrize("environment", [{}, array(3, 3, 7, 2), array(3, 3, 7, 2, 1)])
def test_an_array_that_tells_no_cut(environment):
    with pytest.raises(UsageError):
        parse_part("slurm", environment)


def test_names():
    assert marked("manifest.jsonl", Part(3, 16)) == "manifest-003-of-016.jsonl"
    assert marked("_cocos/lock", Part(3, 16)) == "_cocos/lock-003-of-016"
    assert marked("_cocos/lock", None) == "_cocos/lock"


@pytest.fixture
def opened(tmp_path):
    """Open the folder as a part, or whole; all are let go in the end."""
    folders: list[OutputFolder] = []

    def open_part(part: Part | None) -> OutputFolder:
        folders.append(OutputFolder(tmp_path / "out", part))
        folders[-1].open({"size": 64}, {}, False)
        return folders[-1]

    yield open_part
    for folder in folders:
        folder.close()


def test_parts_work_side_by_side(opened, tmp_path):
    first, second = opened(Part(1, 3)), opened(Part(2, 3))
    with if_alone(first.path) as alone:
        assert not alone
    first.close()
    second.close()
    with if_alone(first.path) as alone:
        assert alone


@pytest.mark.parametrize(
    ("held", "wanted", "said"),
    [(Part(2, 3), Part(2, 3), "another process is at work on part 2/3"),
     (Part(2, 3), Part(1, 4), "002-of-003 is at work, a part of another cut than 1/4"),
     (Part(2, 3), None, "another process is writing"),
     (None, Part(2, 3), "a run without --part is writing")],
)  # fmt: skip
def test_who_is_refused(opened, held, wanted, said):
    holder = opened(held)
    with pytest.raises(CocosError, match=said):
        opened(wanted)
    opened(Part(1, 3)).close() if held else None  # the refusal left nothing in the way
    holder.close()
    opened(wanted)


def test_parts_of_other_settings_are_refused(opened, tmp_path):
    opened(Part(1, 2))
    other = OutputFolder(tmp_path / "out", Part(2, 2))
    with pytest.raises(CocosError, match="size was 64, is 96"):
        other.open({"size": 96}, {}, False)
    other.close()


def test_what_others_are_writing_is_left_alone(opened):
    first = opened(Part(1, 2))
    mine = first.path / "_cocos/tmp/half"
    mine.touch()
    second = opened(Part(2, 2))
    assert mine.exists()
    first.close()
    second.close()
    opened(Part(1, 2))
    assert not mine.exists()


HOLD = """
import os, sys, time
from pathlib import Path
from cocoscli.engine.locks import take_locks
from cocoscli.engine.part import Part
files, alone = take_locks(Path(sys.argv[1]), Part(1, 2))
if os.fork() == 0:
    print("held", flush=True)
time.sleep(30)
"""


def test_a_dead_process_holds_no_lock_though_its_child_lives(tmp_path):
    (tmp_path / "_cocos").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    with pytest.raises(CocosError, match="at work on part 1/2"):
        take_locks(tmp_path, Part(1, 2))
    process.kill()
    process.wait()
    files, alone = take_locks(tmp_path, Part(1, 2))
    assert alone
    for file in files:
        file.close()


def test_the_door_is_for_one(tmp_path):
    (tmp_path / "_cocos").mkdir()
    waits = "import pathlib, sys, cocoscli.engine.locks as locks\n"
    waits += "with locks.door(pathlib.Path(sys.argv[1])): pass"
    with door(tmp_path), pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", waits, tmp_path], timeout=2)


def test_the_latest_row_counts_in_whichever_manifest(tmp_path):
    (tmp_path / "_cocos/tmp").mkdir(parents=True)
    rows = {
        MANIFEST: [("a", "failed", 1.0), ("b", "failed", 9.0), ("old", "failed", None)],
        "manifest-001-of-002.jsonl": [("a", "done", 2.0), ("b", "done", 3.0)],
        "manifest-002-of-002.jsonl": [("c", "failed", 5.0), ("c", "done", 5.0)],
        "manifest-001-of-003.jsonl": [("a", "failed", 1.5)],
    }
    (tmp_path / "x").touch()
    for name, given in rows.items():
        lines = ({"key": k, "status": s, "output": "x", "time": t} for k, s, t in given)
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in lines))
    found = {row["key"]: row["status"] for row in latest_rows(tmp_path)}
    assert found == {"a": "done", "b": "failed", "c": "done", "old": "failed"}
    merge(tmp_path)
    merged = [json.loads(line) for line in (tmp_path / MANIFEST).read_text().splitlines()]
    assert {row["key"]: row["status"] for row in merged} == found and len(merged) == 4
    assert len(manifests(tmp_path)) == 4
    assert all(key in Finished(tmp_path, ("done",)) for key in "ac")
