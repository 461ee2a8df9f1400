"""`cocos train` in this process: exact resume, what goes wrong on the way, what is left on disk."""

from __future__ import annotations

import errno
import json
import math
import re
import shutil

import pytest
from training import differing, read_tensors

from cocoscli.data.shards import ShardList, ShardWriter
from cocoscli.engine.training import checkpoint
from cocoscli.engine.training.trainer import Trainer

EXACT = {
    "paper": ("paper", ()),
    "released": ("released", ("--set", "schedule.ema=0.9", "--set", "schedule.mask_epochs=1")),
    "accumulated": ("paper", ("--accumulate", 2)),
    "bf16": ("released", ("--precision", "bf16")),
}


@pytest.mark.parametrize("name", EXACT)
def test_resumed_is_the_same_to_the_last_bit(bench, name):
    recipe, more = EXACT[name]
    assert bench.train(*more, "--max-steps", 6, output="whole", recipe=recipe).code == 0
    assert bench.train(*more, "--max-steps", 3, recipe=recipe).code == 0
    told = bench.train(*more, "--max-steps", 6, "--workers", 2, recipe=recipe)
    assert told.code == 0 and "going on from step 3 to" in told.err
    learned = bench.learned()
    assert differing(learned, bench.learned("whole")) == []
    parts = {key.partition("/")[0] for key in learned if key.startswith("state:")}
    ema = {"state:average"} if "schedule.ema=0.9" in more else set()
    assert parts == {"state:model", "state:discriminator", "state:optimiser"} | ema
    steps = [event["step"] for event in bench.log() if event["event"] == "step"]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_steps_change_everything_that_is_kept(bench):
    """What the comparison of the other test would not see if nothing were trained."""
    bench.train("--set", "schedule.ema=0.9", "--max-steps", 1)
    before = bench.learned()
    bench.train("--set", "schedule.ema=0.9", "--max-steps", 2)
    changed = differing(before, bench.learned())
    for part in ("model", "discriminator", "average", "optimiser/generator"):
        assert any(name.startswith(f"state:{part}/") for name in changed)
    assert any(name.startswith("weights:") for name in changed)


def test_the_last_few_checkpoints_are_kept(bench):
    assert bench.train("--save-every", 0, "--keep", 2, "--max-steps", 4).code == 0
    assert bench.steps() == [3, 4] and bench.temporaries() == []


def test_what_a_killed_process_left_is_taken_away(bench):
    for name in ("_cocos/tmp/abc", ".best.safetensors.x", "checkpoints/.step-1.safetensors.x"):
        bench.desk.file(f"run/{name}", b"half")
    bench.desk.file("run/run.toml", b"")
    assert bench.train("--max-steps", 1).code == 0
    assert bench.temporaries() == []


def test_lines_after_the_step_that_is_resumed_are_dropped(bench):
    bench.train("--max-steps", 2)
    with open(bench.folder / "run/log.jsonl", "a") as log:
        for step in (3, 4):  # of a process that was killed after its last checkpoint
            log.write(json.dumps({"event": "step", "step": step, "terms": {"lost": 1.0}}) + "\n")
        log.write('{"event": "st')
    bench.train("--max-steps", 3)
    assert "lost" not in (bench.folder / "run/log.jsonl").read_text()
    assert [e["step"] for e in bench.log() if e["event"] == "step"] == [1, 2, 3]


# ------------------------------------------------------------------------------- a full disk


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_keeps_the_last_checkpoint(bench, monkeypatch):
    bench.train("--max-steps", 3, output="whole")
    bench.train("--max-steps", 1)
    before = bench.learned()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_tensors", full)
        told = bench.train("--max-steps", 2)
    assert told.code == 1
    assert [line for line in told.said if line.startswith("error:")] == [
        "error: run/checkpoints/step-0000002.safetensors: the output cannot be written "
        "(No space left on device)."
    ]
    assert bench.steps() == [1] and differing(before, bench.learned()) == []
    assert bench.train("--max-steps", 3).code == 0
    assert differing(bench.learned(), bench.learned("whole")) == []


def test_a_disk_that_is_too_small(bench, small_disk):
    (bench.folder / "run").symlink_to(small_disk)
    told = bench.train("--save-every", 0, "--max-steps", 3)
    assert told.code == 1 and "No space left on device" in told.err
    assert len([line for line in told.said if line.startswith("error:")]) == 1
    assert bench.temporaries() == []


# ------------------------------------------------------------------------------ what diverges


class Spoiled:
    """The extractor, from some call on without a number."""

    def __init__(self, features, calls: int, value: float) -> None:
        self.features, self.left, self.value = features, calls, value

    def __call__(self, image, layers):
        self.left -= 1
        found = self.features(image, layers)
        return found if self.left > 0 else {k: v * self.value for k, v in found.items()}


@pytest.mark.parametrize(("value", "said"), [(math.nan, "is nan"), (1e9, r"is \d")])
def test_a_loss_that_is_no_number_ends_the_run_before_anything_is_spoiled(
    bench, monkeypatch, value, said
):
    bench.train("--max-steps", 1, "--set", "losses.context=0")
    before = bench.learned()
    start = Trainer.__init__

    def spoiled(self, recipe, model, features, machine):
        start(self, recipe, model, Spoiled(features, 3, value), machine)

    monkeypatch.setattr(Trainer, "__init__", spoiled)
    told = bench.train("--max-steps", 4, "--set", "losses.context=0")
    assert told.code == 1
    found = re.search(r"error: step \d: (\w+) (.*) \(batch: (.*)\)\.", told.err)
    assert found and found[1] in ("feat", "perc") and re.match(said, found[2])
    assert found[3].count("images/scene-") == 2
    assert "--change-recipe" in told.err
    assert differing(before, bench.learned()) == []


def test_a_rate_far_too_high_diverges_and_a_lower_one_goes_on(bench):
    bench.train("--max-steps", 1)
    high = ("--set", "optimiser.lr=1e30", "--change-recipe")
    told = bench.train(*high, "--max-steps", 6)
    assert told.code == 1 and "(batch: images/scene-" in told.err
    assert bench.steps() == [1]
    assert bench.train("--change-recipe", "--max-steps", 2).code == 0


# ---------------------------------------------------------------------------- corrupt samples


def spoil(bench, spoiled) -> int:
    """Write the training shards anew, those samples' photos cut off -> how many remain whole."""
    paths = sorted((bench.folder / "shards").glob("train-*.tar"))
    old = ShardList(paths)
    number = whole = 0
    for path, count in zip(paths, old.counts, strict=True):
        with open(bench.folder / "new.tar", "wb") as file:
            writer = ShardWriter(file)
            for _ in range(count):
                sample = old.sample(number)
                if spoiled(number):
                    name = next(n for n in sample.members if n.startswith("image."))
                    sample.members[name] = sample.members[name][:100]
                whole += not spoiled(number)
                writer.add(sample)
                number += 1
            writer.close()
        shutil.move(bench.folder / "new.tar", path)
    return whole


def test_a_corrupt_sample_is_left_out_and_counted(bench):
    assert spoil(bench, lambda i: i == 2) == 9
    told = bench.train("--max-steps", 6, output="whole")
    assert told.code == 0 and "left out: images/scene-" in told.err
    log = bench.log("whole")
    messages = [e["message"] for e in log if e["event"] == "warning"]
    left_out = [message for message in messages if message.startswith("left out: ")]
    assert len(left_out) == log[-1]["skipped"] >= 1
    bench.train("--max-steps", 2)
    bench.train("--max-steps", 6, "--workers", 2)
    assert differing(bench.learned(), bench.learned("whole")) == []


def test_nothing_but_corrupt_samples_ends_the_run(bench):
    assert spoil(bench, lambda _: True) == 0
    told = bench.train("--max-steps", 2)
    assert told.code == 1
    assert "error: 20 samples in a row cannot be read; the last: images/scene-" in told.err


# --------------------------------------------------------------------------------- the recipe


def test_another_recipe_or_seed_is_refused_with_the_difference(bench):
    bench.train("--max-steps", 1)
    record = (bench.folder / "run/run.toml").read_bytes()
    told = bench.train("--max-steps", 2, "--set", "losses.perc=0.5")
    assert told.code == 1 and "losses.perc: 0.3 -> 0.5" in told.err
    told = bench.train("--max-steps", 2, "--seed", 3)
    assert told.code == 1 and "--seed: 0 -> 3" in told.err
    assert bench.steps() == [1] and (bench.folder / "run/run.toml").read_bytes() == record
    told = bench.train("--max-steps", 2, "--set", "losses.perc=0.5", "--change-recipe")
    assert told.code == 0 and "going on from step 1" in told.err
    assert b"perc = 0.5" in (bench.folder / "run/run.toml").read_bytes()


def test_another_network_cannot_go_on_and_changes_nothing(bench):
    bench.train("--max-steps", 1)
    before = (bench.folder / "run/run.toml").read_bytes()
    told = bench.train("--set", "model.width=4", "--change-recipe", "--max-steps", 2)
    assert told.code == 1 and "the state of another network" in told.err
    assert (bench.folder / "run/run.toml").read_bytes() == before
    assert bench.train("--max-steps", 2).code == 0


def test_an_average_that_is_kept_from_now_on_starts_at_the_weights(bench):
    bench.train("--max-steps", 2)
    before = read_tensors(bench.folder / "run/weights.safetensors")
    more = ("--set", "schedule.ema=0.999", "--set", "optimiser.lr=1e-30", "--change-recipe")
    bench.train(*more, "--max-steps", 3)
    after = read_tensors(bench.folder / "run/weights.safetensors")
    moved = {
        k: float((after[k] - v).abs().max()) for k, v in before.items() if v.is_floating_point()
    }
    assert all(gap < 0.02 for name, gap in moved.items() if "running" not in name), moved


def test_a_damaged_checkpoint_is_named(bench):
    bench.train("--max-steps", 1)
    path = bench.folder / "run/checkpoints/step-0000001.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    told = bench.train("--max-steps", 2)
    assert told.code == 1
    assert "step-0000001.safetensors: not a readable training checkpoint" in told.err
