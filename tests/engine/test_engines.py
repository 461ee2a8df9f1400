"""Work done in other processes: the same files, whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from squares import Squares

from cocoscli.data.filelist import FileList
from cocoscli.engine.batch import Pending, Plan
from cocoscli.engine.engines import Engine, parse_engine
from cocoscli.engine.files import storage_error
from cocoscli.engine.manifest import read_manifest
from cocoscli.engine.output import OutputFolder
from cocoscli.engine.run import Run, open_run
from cocoscli.engine.scatter import IN_A_ROW, PATIENCE, Lost, Task, scattered
from cocoscli.engine.shardset import Limits
from cocoscli.engine.worker import Job, Worker
from cocoscli.errors import CocosError, UsageError


@pytest.mark.parametrize("text", ["", "locals", "local:", "local:0", "local:999", "ray:", "x:3"])
def test_what_is_no_engine(text):
    with pytest.raises(UsageError, match="expected local"):
        parse_engine(text)


def test_engines():
    assert parse_engine("local") is None
    assert parse_engine("local:4", "cuda", 5.0) == Engine(4, device="cuda", memory=5.0)
    assert parse_engine("ray") == Engine()
    assert parse_engine("ray:10.0.0.1:6379") == Engine(address="10.0.0.1:6379")
    assert parse_engine("ray:ray://head:10001") == Engine(address="ray://head:10001")


def test_lists_of_names_travel(tmp_path):
    import pickle

    names = [f"a/{n}" for n in range(1000)] + ["\udce9\n", ""]
    copy = pickle.loads(pickle.dumps(FileList(names)))
    assert list(copy) == names
    assert list(pickle.loads(pickle.dumps(copy))) == names
    assert list(pickle.loads(pickle.dumps(FileList([])))) == []


class Here:
    """Workers that are none: tasks are done in this process, and those with a deadly item lost."""

    def __init__(self, job: bytes, deadly: set[int] = frozenset(), places: int = 2) -> None:
        self.worker, self.deadly = Worker(job, "cpu"), deadly
        self.count, self.tasks, self.closed = places, list[Task](), False
        self.most = 0

    def places(self) -> int:
        return self.count

    def give(self, task: Task) -> None:
        self.tasks.append(task)
        self.most = max(self.most, len(self.tasks))

    def wait(self) -> Iterator[tuple[Task | None, object]]:
        task = self.tasks.pop()  # the latest first: nothing may depend on it
        batches = {k for batch in task.chunk for k in batch}
        yield task, Lost("gone") if batches & self.deadly else self.worker(task.chunk)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def output(tmp_path) -> Iterator[OutputFolder]:
    folder = OutputFolder(tmp_path / "out")
    folder.open({}, {}, False)
    yield folder
    folder.close()


def scatter(output, work, workers=None, batch_size=3, **named) -> tuple[list, Here]:
    from cocoscli.engine.results import Files

    plan = Plan(batch_size=batch_size)
    pending = Pending(work, output, plan)
    job = Job(work, Files, output.path, batch_size, 0).packed()
    here = Here(job, **named)
    return [row for row, _ in scattered(work, here, pending, pending.count())], here


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_rows_come_in_order_whoever_ends_first(output, batch_size):
    rows, here = scatter(output, Squares(100, unreadable=(5,)), batch_size=batch_size)
    assert [row["key"] for row in rows] == [f"{k:03d}" for k in range(100)]
    assert [row["key"] for row in rows if row["status"] == "failed"] == ["005"]
    assert all((output.path / f"{k:03d}.txt").read_text() == str(k * k) for k in (0, 50, 99))
    assert here.closed and here.most <= 8


def test_a_deadly_item_costs_its_batch_and_no_more(output):
    rows, _ = scatter(output, Squares(200), deadly={7, 130}, places=1)
    failed = {row["key"]: row["error"] for row in rows if row["status"] == "failed"}
    assert list(failed) == ["006", "007", "008", "129", "130", "131"]
    assert failed["007"] == f"the process that worked on its batch died {PATIENCE} times: gone."
    assert len(rows) == 200


def test_workers_that_always_die_end_the_run(output):
    with pytest.raises(CocosError, match=f"{IN_A_ROW + 3} workers have died.*: gone"):
        scatter(output, Squares(4000), deadly=set(range(4000)))


def test_a_full_disk_there_ends_the_run_here(output, monkeypatch):
    with pytest.raises(CocosError, match="No space left"):
        scatter(output, Squares(40, fault=OSError(28, "No space left on device")))
    assert str(storage_error(Path("x"), OSError(28, "full")))


# In processes of their own.


def begin(path: Path, work: Squares, engine: Engine, **plan) -> Run:
    limits = plan.pop("shards", None)
    cut = Plan(batch_size=4, engine=engine, **plan)
    return open_run(work, path, settings={}, record={}, plan=cut, shards=limits)


def test_processes_that_die_lose_nothing(tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    work = Squares(80, unreadable=(3,), deadly=(42,), deadly_once=(10, 77), marks=marks)
    run = begin(tmp_path / "out", work, Engine(2, device="cpu"))
    rows = list(run.rows())
    assert [row["key"] for row in rows] == [f"{k:03d}" for k in range(80)]
    failed = {row["key"]: row["error"] for row in rows if row["status"] == "failed"}
    assert list(failed) == ["003", "040", "041", "042", "043"]
    assert failed["003"] == "3 cannot be read." and "signal SIGKILL" in failed["042"]
    assert os.getpid() not in {row["process"] for row in rows if row["status"] == "done"}
    assert len(list(marks.iterdir())) == 2
    summary = run.summary()
    assert (summary["done"], summary["failed"], summary["skipped"]) == (75, 5, 0)
    assert len(list(read_manifest(tmp_path / "out"))) == 80
    work.deadly = ()
    again = begin(tmp_path / "out", work, Engine(1, device="cpu"), retry_failed=True)
    assert [row["key"] for row in again.rows()] == ["003", "040", "041", "042", "043"]


def test_shards_are_filled_in_the_work_s_order(tmp_path):
    names = {}
    for name, engine in (("one", None), ("many", Engine(2, device="cpu"))):
        run = begin(tmp_path / name, Squares(50), engine, shards=Limits(samples=20))
        assert len(list(run.rows())) == 50
        names[name] = {p.name: len(p.read_bytes()) for p in (tmp_path / name).glob("*.tar")}
    assert names["one"] == names["many"] and len(names["one"]) == 3


def test_a_full_disk_ends_the_run_and_loses_nothing(small_disk, tmp_path):
    out = small_disk / "out"
    with pytest.raises(CocosError, match="No space left"):
        list(begin(out, Squares(200), Engine(2, device="cpu")).rows())
    texts = {path.name: path.read_text() for path in out.glob("*.txt")}
    assert 0 < len(texts) < 200 and all(text == str(int(n[:3]) ** 2) for n, text in texts.items())
    subprocess.run(["mount", "-o", "remount,size=3m", small_disk], check=True)
    assert len(list(begin(out, Squares(200), Engine(2, device="cpu")).rows())) <= 200
    assert len(list(out.glob("*.txt"))) == len(list(read_manifest(out))) == 200


DRIVER = """
import sys
from pathlib import Path
from squares import Squares
from cocoscli.engine.batch import Plan
from cocoscli.engine.engines import Engine
from cocoscli.engine.run import open_run
if __name__ == "__main__":
    plan = Plan(batch_size=1, engine=Engine(2, device="cpu"))
    run = open_run(Squares(400, seconds=0.05), Path(sys.argv[1]), settings={}, record={}, plan=plan)
    for row in run.rows():
        print(row["process"], flush=True)
"""


def alive(pid: int) -> bool:
    try:
        return b"State:\tZ" not in Path(f"/proc/{pid}/status").read_bytes()
    except FileNotFoundError:
        return False


def test_no_worker_outlives_a_killed_run(tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join([tests, *filter(None, sys.path)])
    process = subprocess.Popen(
        [sys.executable, script, tmp_path / "out"], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert process.stdout
    pids: set[int] = set()
    while len(pids) < 2:
        pids.add(int(process.stdout.readline()))
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 20
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, pids))
    run = begin(tmp_path / "out", Squares(400), Engine(1, device="cpu"))
    assert len({row["key"] for row in run.rows()}) == run.total < 400


def test_close_ends_workers_in_the_midst(tmp_path):
    run = begin(tmp_path / "out", Squares(4000, seconds=0.05), Engine(2, device="cpu"))
    threads = threading.active_count()
    rows = run.rows()
    pid = next(rows)["process"]
    before = time.monotonic()
    rows.close()
    assert time.monotonic() - before < 20 and not alive(pid)  # of 100 seconds' work
    assert threading.active_count() <= threads
