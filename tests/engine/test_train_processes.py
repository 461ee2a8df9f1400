"""`cocos train` in processes of its own: signals, kills, and many processes as one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import training
from processes import LIMIT, Process

from cocoscli.data.shards import ShardList, ShardWriter
from cocoscli.engine.training import interrupts
from cocoscli.engine.training.interrupts import deferred_signals


def started(bench, *more: object, launcher: Sequence[str] = ()) -> Process:
    """`cocos train` with tiny features."""
    return Process(bench.folder, [*launcher, training.__file__, *bench.arguments(*more)])


def wait_for_steps(process: Process, bench, count: int) -> None:
    log = bench.folder / "run/log.jsonl"
    process.wait_for(lambda: log.exists() and log.read_bytes().count(b'"event": "step"') >= count)


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 0), (signal.SIGTERM, 2)])
def test_a_signal_saves_and_the_run_goes_on(bench, number, workers):
    process = started(bench, "--workers", workers)
    wait_for_steps(process, bench, 2)
    process.signal(number)
    code, said = process.end()
    assert code == 130 and said.splitlines()[-1].startswith("interrupted: the same command")
    assert said.count("stopping: the step at hand") == 1
    (step,) = bench.steps()
    assert step >= 2 and bench.temporaries() == []
    told = bench.train("--max-steps", step + 1)
    assert told.code == 0 and f"going on from step {step} to" in told.err


def test_the_second_ctrl_c_ends_at_once(bench):
    process = started(bench)
    wait_for_steps(process, bench, 1)
    process.signal(signal.SIGINT)
    time.sleep(0.02)
    process.signal(signal.SIGINT)
    code, said = process.end()
    assert code == 130 and "interrupted: the same command goes on from here" in said
    assert bench.temporaries() == []


def test_signals_wait_and_a_second_one_does_not():
    before = signal.getsignal(signal.SIGINT)
    said: list[str] = []
    with deferred_signals(lambda: said.append("stopping")) as asked:
        assert not asked and not said
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert asked and said == ["stopping"]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
    assert signal.getsignal(signal.SIGINT) is before


def test_under_torchrun_a_signal_that_comes_twice_is_one(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    clock = SimpleNamespace(monotonic=lambda: seconds)
    monkeypatch.setattr(interrupts, "time", clock)
    seconds = 100.0
    with deferred_signals() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        seconds += interrupts.ECHO / 2
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        assert asked
        seconds += interrupts.ECHO
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)


def test_ctrl_c_saves_under_torchrun_too(bench):
    """The terminal's signal reaches all processes, and those of torchrun once more by it."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = started(bench, "--set", "schedule.batch_size=2", launcher=launch)
    wait_for_steps(process, bench, 2)
    process.signal(signal.SIGINT)
    _, said = process.process.communicate(timeout=LIMIT)
    assert said.count("stopping: the step at hand") == 1
    (step,) = bench.steps()
    assert step >= 2 and f"checkpoint at step {step}" in said and bench.temporaries() == []


def test_a_kill_costs_no_more_than_the_steps_since_the_last_checkpoint(bench):
    process = started(bench, "--save-every", 0)
    wait_for_steps(process, bench, 3)
    process.signal(signal.SIGKILL)
    assert process.end()[0] == -signal.SIGKILL
    last = bench.steps()[-1]
    assert last >= 2
    told = bench.train("--max-steps", last + 1)
    assert told.code == 0 and f"going on from step {last} to" in told.err
    assert bench.temporaries() == []
    bench.train("--max-steps", last + 1, output="whole")
    assert training.differing(bench.learned(), bench.learned("whole")) == []


def in_two_processes(bench, *more: object) -> str:
    """`cocos train` of the released form with two readers a process -> what was said."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    arguments = bench.arguments(*more, "--workers", 2, recipe="released")
    told = subprocess.run(
        [*launch, "2", training.__file__, *arguments],
        cwd=bench.folder, capture_output=True, text=True, timeout=LIMIT,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return told.stderr


def logged(bench, output: str) -> list[dict[str, float]]:
    """The terms of each step of a run."""
    return [event["terms"] for event in bench.log(output) if event["event"] == "step"]


@pytest.mark.slow
def test_many_processes_are_as_one(bench):
    """Two processes with two readers each, on one shard. Without batch norm: it would need
    SyncBatchNorm, which a CPU has not.

    Two steps: a fresh network's gradients are so steep that rounding (2e-7 of its weights) changes
    the third one's by a few per cent in one process, too. Adam's eps lies above their rounding.
    """
    sets = ("schedule.batch_size=4", "optimiser.eps=30.0", "optimiser.eps_discriminator=1e-2")
    more = ["--data", "shards/train-000000.tar", "--max-steps", 2]
    more += [word for change in sets for word in ("--set", change)]
    assert bench.train(*more, output="one", recipe="released").code == 0
    said = in_two_processes(bench, *more)
    assert said.count("training from step 0 to") == 1
    assert said.count("checkpoint at step 2") == 1  # the first process alone writes
    one, many = bench.learned("one"), bench.learned()
    assert one.keys() == many.keys()
    for name, value in one.items():
        if name.startswith(("weights:", "state:model", "state:discriminator")):
            assert float((many[name] - value).abs().max()) < 1e-5, name
    steps = [logged(bench, output) for output in ("one", "run")]
    assert [len(terms) for terms in steps] == [2, 2] and "gradient_generator" in steps[0][0]
    for a, b in zip(*steps, strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-5)


@pytest.mark.slow
def test_a_process_whose_batch_has_no_points_sums_with_the_others(bench):
    """One photo of a shard has points, so at most one of two processes has a pair with some."""
    shard = bench.folder / "shards/train-000000.tar"
    shards = ShardList([shard])
    samples = [shards.sample(n) for n in range(len(shards))]
    with open(shard, "wb") as file:
        writer = ShardWriter(file)
        for sample in samples:
            if sample is not samples[0]:
                sample.members.pop("points.json", None)
            writer.add(sample)
        writer.close()
    real = "data.exemplars={ first=1.0, last=0.0, pseudo=0.0 }"
    more = ["--data", "shards/train-000000.tar", "--max-steps", 2]
    for change in ("schedule.batch_size=2", "losses.points=1", real):
        more += ["--set", change]
    assert bench.train(*more, output="one", recipe="released").code == 0
    in_two_processes(bench, *more)
    one, many = ([terms["points"] for terms in logged(bench, output)] for output in ("one", "run"))
    assert len(one) == len(many) == 2 and one[0] > 0
    assert many[0] == pytest.approx(one[0], rel=1e-4)
