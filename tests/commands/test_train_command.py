"""`cocos train`: its defaults, what it refuses, what it says."""

from __future__ import annotations

import fcntl
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from cocoscli.engine.training import memory as training_memory

SMALL = (
    "--workers", 0, "--val-samples", 2, "--set", "model.width=2", "--set", "condition.size=64",
    "--set", "schedule.batch_size=3", "--set", "schedule.epochs=1",
    "--set", "schedule.decay_epochs=0",
)  # fmt: skip
"""Ten samples: three steps."""


def listing(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_alone_it_takes_the_shards_the_recipe_that_fits_and_a_numbered_run(bench):
    told = bench.desk.run("train", *SMALL, "--max-steps", 1)
    assert told.code == 0
    assert "data: ./shards  (--data to change)" in told.said
    assert any(line.startswith("recipe: scenes: generated landscapes") for line in told.said)
    assert "output: runs/000  (--output to change)" in told.said
    assert told.said[-1] == "step 1, to be gone on with; runs/000/run.html"
    told = bench.desk.run("train", *SMALL)
    assert told.code == 0 and "goes on with: runs/000  (--output to change)" in told.said
    assert "stops after: 10 minutes, to go on later  (--max-time to change)" in told.said
    assert "going on from step 1 to 3" in told.said
    assert told.said[-1] == "step 3, finished; runs/000/run.html"
    told = bench.desk.run("train", *SMALL, "--max-steps", 1, "--json")
    assert "output: runs/001  (--output to change)" in told.said
    summary = json.loads(told.out)
    assert (summary["output"], summary["step"], summary["finished"]) == ("runs/001", 1, False)
    assert (summary["event"], summary["skipped"]) == ("end", 0)
    inside = {path.name for path in (bench.folder / "runs/000").iterdir()}
    assert inside == {
        "_cocos", "best.safetensors", "checkpoints", "log.jsonl", "previews", "run.html",
        "run.toml", "weights.safetensors",
    }  # fmt: skip


@pytest.mark.parametrize("more", [("--seed", 1), ("--init", "w.st"), ("--set", "losses.reg=2")])
def test_what_began_otherwise_is_not_gone_on_with(bench, more):
    bench.train("--max-steps", 1, output="runs/000")
    again = ("train", "--recipe", "paper.toml", "--dry-run", "--json")
    assert json.loads(bench.desk.run(*again).out)["output"] == "runs/000"
    assert json.loads(bench.desk.run(*again, *more).out)["output"] == "runs/001"


def test_dry_run_writes_nothing(bench):
    before = listing(bench.folder)
    told = bench.train("--dry-run", "--json")
    facts = json.loads(told.out)
    assert told.code == 0 and listing(bench.folder) == before
    expected = {
        "recipe": "paper", "form": "paper", "width": 2, "condition": "labels, 14 planes",
        "size": 64, "samples": 10, "batch_size": 2, "steps": 250, "device": "cpu",
        "precision": "fp32", "features": "tiny", "output": "run",
    }  # fmt: skip
    assert {key: facts[key] for key in expected} == expected and facts["memory_mb"] > 500
    assert "samples" in bench.train("--dry-run").out


def without_val(bench) -> None:
    path = bench.folder / "shards/index.json"
    index = json.loads(path.read_bytes())
    index["shards"] = [row for row in index["shards"] if row["split"] == "train"]
    index["counts"] = {"train": 10}
    path.write_text(json.dumps(index))


def without_kind(bench) -> None:
    path = bench.folder / "shards/index.json"
    index = json.loads(path.read_bytes())
    del index["kind"]
    path.write_text(json.dumps(index))


def emptied(bench) -> None:
    for path in (bench.folder / "shards").glob("train-*.tar"):
        tarfile.open(path, "w").close()


def of_two_kinds(bench) -> None:
    shutil.copytree(bench.folder / "shards", bench.folder / "more")
    path = bench.folder / "more/index.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "kind": "edges", "channels": 1}))


def one_lost(bench) -> None:
    next((bench.folder / "shards").glob("train-*.tar")).unlink()


def no_run(bench) -> None:
    bench.desk.file("run/notes.txt")


def a_file(bench) -> None:
    bench.desk.file("run")


def nothing(bench) -> None:
    pass


FAULTS = {
    "kind": (nothing, ("--recipe", "celebahq-edge"), 1, "conditions, the shards hold labels."),
    "classes": (
        nothing, ("--set", "condition.channels=5"), 1, "5 condition planes, but the data has 14.",
    ),
    "no val": (without_val, (), 1, "shards: no validation split (index.json counts train)."),
    "results": (without_kind, (), 1, "shards/index.json: it does not say the kind"),
    "empty": (emptied, (), 1, "train-000000.tar: no samples in it."),
    "lost": (one_lost, (), 1, "not a readable shard"),
    "batch": (
        nothing, ("--accumulate", 3), 2,
        "a batch of 2 does not divide into 1 processes with --accumulate 3.",
    ),
    "key": (nothing, ("--set", "losses.typo=1"), 2, "error: --set: losses.typo: unknown key."),
    "no weights": (nothing, ("--init", "none.safetensors"), 1, "none.safetensors"),
    "no run": (no_run, (), 1, "run: not empty (notes.txt) and not a training run (it has"),
    "a file": (a_file, (), 1, "run"),
    "missing": (nothing, ("--data", "shards/train-{000000..000009}.tar"), 1, "no such shard"),
    "none": (nothing, ("--data", "shards/train-{9..0}.tar"), 1, "{9..0}.tar: names no shards."),
    "two kinds": (
        of_two_kinds, ("--data", "{shards,more}/train-*.tar"), 1,
        "more holds edges conditions of 1 planes, shards labels of 14.",
    ),
    "folder": (nothing, ("--data", "elsewhere"), 1, "index.json"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_bad_input_is_one_clear_error_and_changes_nothing(bench, name):
    prepare, more, code, said = FAULTS[name]
    prepare(bench)
    before = listing(bench.folder)
    told = bench.train(*more)
    assert told.code == code, told
    assert said in " ".join(told.err.split())
    assert len([line for line in told.said if line.startswith("error:")]) == 1
    assert listing(bench.folder) == before


@pytest.mark.parametrize("data", ["*/train-*.tar", "{shards,more}/train-*.tar"])
def test_shards_of_several_folders(bench, data):
    shutil.copytree(bench.folder / "shards", bench.folder / "more")
    plan = json.loads(bench.train("--data", data, "--dry-run", "--json").out)
    assert plan["samples"] == 20
    assert bench.train("--data", data, "--max-steps", 1).code == 0


def test_no_shards(desk):
    told = desk.run("train")
    assert told.code == 1
    assert told.said[0] == "error: no shards: ./shards holds no index.json."
    assert "cocos prepare" in told.said[1]
    told = desk.run("train", "--data", "nowhere")
    assert told.code == 1
    assert (
        told.said[0]
        == "error: nowhere: no shards; expected a folder with index.json, or tar files."
    )


def test_weights_of_another_network(bench):
    told = bench.train("--init", bench.desk.weights / "labels.safetensors")
    assert told.code == 1 and "another network than the recipe's (width 4, recipe 2" in told.err
    assert not (bench.folder / "run").exists()
    more = ("--set", "model.width=4", "--max-steps", 1)
    assert bench.train("--init", bench.desk.weights / "labels.safetensors", *more).code == 0


def test_a_training_that_does_not_fit_the_memory(bench, monkeypatch):
    monkeypatch.setattr(training_memory, "available_bytes", lambda device: 1e8)
    told = bench.train()
    assert told.code == 1 and "takes about 1.0 GB, this machine has 0.1 GB" in told.err
    assert "--accumulate N" in told.err and "schedule.batch_size=1" in told.err


def test_two_processes_do_not_share_a_run(bench):
    bench.train("--max-steps", 1)
    with open(bench.folder / "run/_cocos/lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        told = bench.train("--max-steps", 2)
    assert told.code == 1
    assert "error: run: another process is writing to this output folder." in told.said
    assert bench.steps() == [1]
