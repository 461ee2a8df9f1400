"""`cocos train`: a run from its first step, or from its last checkpoint, to its limit."""

from __future__ import annotations

import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import cocosnet
import torch

import cocoscli
from cocoscli.data.order import Order
from cocoscli.engine.files import storage_error
from cocoscli.engine.models import WEIGHTS
from cocoscli.engine.training.checkpoint import read_checkpoint, save_checkpoint
from cocoscli.engine.training.distributed import Processes
from cocoscli.engine.training.folder import RunFolder
from cocoscli.engine.training.history import Event, History, read_history
from cocoscli.engine.training.interrupts import Asked, deferred_signals
from cocoscli.engine.training.loading import Loaded, TrainingData, load_held_out, load_training
from cocoscli.engine.training.page import write_train_page
from cocoscli.engine.training.plan import TrainPlan
from cocoscli.engine.training.trainer import Trainer
from cocoscli.engine.training.validation import HeldOut, Judge, warnings
from cocoscli.errors import CocosError

LOGGED = 10
"""Steps whose means make a line of the log."""
BEST = "best.safetensors"


class TrainingRun:
    """A run in progress; `events` does the work."""

    def __init__(self, plan: TrainPlan, on_interrupt: Callable[[], None] = lambda: None) -> None:
        self.plan = plan
        self.on_interrupt = on_interrupt
        """Called when a signal has asked to stop: the step ends first, and is saved."""
        self.machine, self.options = plan.machine, plan.options
        self.processes: Processes = plan.machine.processes
        self.folder = RunFolder(plan.output)
        self.history: History | None = None
        self.skipped = 0
        self.best = float("inf")
        self.finished = False

    def events(self) -> Iterator[Event]:
        """Train; what happens, as it happens. Raises CocosError, and KeyboardInterrupt once what
        was learned is on disk."""
        with deferred_signals(self.on_interrupt) as asked:
            try:
                yield from self._events(asked)
            finally:
                if self.history is not None:
                    self.history.close()
                self.folder.close()
        if asked:
            raise KeyboardInterrupt

    def _events(self, asked: Asked) -> Iterator[Event]:
        plan = self.plan
        judge = self._judge() if self.processes.first else None
        model = plan.new_model()
        model.provenance = plan.facts
        trainer = Trainer(plan.recipe, model, plan.features.module, self.machine)
        found = None
        if self.processes.first:
            found = self.folder.open(
                plan.recipe, self.machine.seed, change_recipe=self.options.change_recipe
            )
        found = Path(name) if (name := self.processes.same(str(found or ""))) else None
        if found is not None:
            self._resume(trainer, found)
        if self.processes.first:
            self.folder.write_record(plan.recipe, self._record())
            self.history = History(plan.output, trainer.step)
        yield self._note("start", trainer, total=plan.total_steps, resumed=found is not None)
        start = time.monotonic()
        saved = start
        recent: deque[dict[str, float]] = deque(maxlen=LOGGED)
        with closing(self._batches(trainer.step)) as batches:
            while True:
                over = trainer.step >= plan.total_steps
                stop = self._agree(asked, over, start, trainer.step)
                if stop:
                    break
                before = time.monotonic()
                parts = list(islice(batches, self.options.accumulate))
                terms = trainer.advance(parts, trainer.step / plan.epoch_steps)
                terms["skipped"] = sum(len(part.skipped) for part in parts)
                terms = self.processes.mean(terms, self.machine.device)
                self.skipped += round(terms.pop("skipped") * self.processes.world)
                recent.append({**terms, "seconds": time.monotonic() - before})
                yield from self._skips(trainer, parts)
                if trainer.step % LOGGED == 0 or len(recent) < LOGGED:
                    yield self._step(trainer, recent, time.monotonic() - start)
                if judge and trainer.step % self.options.preview_steps == 0:
                    yield from self._validate(trainer, judge, recent)
                if self._due(saved):
                    yield self._save(trainer)
                    saved = time.monotonic()
        self.finished = trainer.step >= plan.total_steps
        if judge and recent and not asked and trainer.step % self.options.preview_steps:
            yield from self._validate(trainer, judge, recent)
        yield self._save(trainer)
        yield self._note("end", trainer, finished=self.finished, skipped=self.skipped)

    def _record(self) -> dict[str, Any]:
        return {
            "command": "train",
            "cocos": cocoscli.__version__,
            "torch": torch.__version__,
            "device": str(self.machine.device),
            "processes": self.processes.world,
            "finished": self.finished,
            **self.plan.facts,
        }

    def _resume(self, trainer: Trainer, path: Path) -> None:
        tensors, numbers = read_checkpoint(path)
        try:
            trainer.load_state(tensors, numbers)
        except (ValueError, KeyError) as error:
            raise CocosError(
                f"{path}: the state of another network ({error}).",
                "Choose another --output, or give the recipe that the run began with.",
            ) from None
        self.best = numbers.get("best", float("inf"))

    def _judge(self) -> Judge:
        samples = HeldOut(
            *load_held_out(self.plan.held_out, self.plan.reader, self.options.val_samples)
        )
        return Judge(self.machine.device, self.machine.precision, samples)

    def _batches(self, step: int) -> Generator[Loaded]:
        shards = self.plan.shards
        order = Order(shards.counts, self.machine.seed)
        data = TrainingData(shards, order, self.plan.reader, self.machine.seed)
        share = (self.plan.recipe.schedule.batch_size, self.options.accumulate)
        return load_training(data, share, step, self.processes, self.options.workers)

    def _agree(self, asked: Asked, over: bool, start: float, step: int) -> bool:
        """Whether all processes stop here."""
        minutes, steps = self.plan.minutes, self.options.max_steps
        late = bool(minutes) and time.monotonic() - start > 60 * minutes
        enough = steps is not None and step >= steps
        return self.processes.any(bool(asked) or over or late or enough, self.machine.device)

    def _due(self, saved: float) -> bool:
        late = time.monotonic() - saved > 60 * self.options.save_minutes
        return self.processes.any(late, self.machine.device)

    def _skips(self, trainer: Trainer, parts: list[Loaded]) -> Iterator[Event]:
        for part in parts:
            for message in part.skipped:
                yield self._note("warning", trainer, message=f"left out: {message}")

    def _step(self, trainer: Trainer, recent: deque[dict[str, float]], elapsed: float) -> Event:
        means = _means(recent)
        seconds = means.pop("seconds")
        left = (self.plan.total_steps - trainer.step) * seconds
        if self.plan.minutes:
            left = min(left, 60 * self.plan.minutes - elapsed)
        return self._note(
            "step", trainer, terms=means, seconds_left=max(0, round(left)),
            images_per_second=round(self.plan.recipe.schedule.batch_size / seconds, 3),
            memory_mb=round(peak_bytes(self.machine.device) / 1e6),
        )  # fmt: skip

    def _validate(
        self, trainer: Trainer, judge: Judge, recent: deque[dict[str, float]]
    ) -> Iterator[Event]:
        model = trainer.deployable()
        figures = judge.figures(model)
        name = f"previews/step-{trainer.step:07d}.jpg"
        self.folder.write(name, judge.panels(model))
        is_best = figures["reconstruction"] < self.best
        if is_best:
            self.best = figures["reconstruction"]
            self._write_weights(trainer, model, BEST)
        yield self._note("validation", trainer, figures=figures, preview=name, best=is_best)
        for message in warnings(figures, _means(recent), self.plan.recipe.losses.adversarial):
            yield self._note("warning", trainer, message=message)

    def _save(self, trainer: Trainer) -> Event:
        """Everything to disk: state, weights, record and page."""
        path = None
        if self.processes.first:
            tensors, numbers = trainer.state()
            numbers = {**numbers, "best": self.best}
            path = save_checkpoint(
                self.plan.output, trainer.step, tensors, numbers, self.options.keep
            )
            self._write_weights(trainer, trainer.deployable(), WEIGHTS)
            self.folder.write_record(self.plan.recipe, self._record())
        event = self._note("checkpoint", trainer, path=str(path))
        if self.processes.first:
            write_train_page(self.folder, self.plan.recipe, read_history(self.plan.output))
        return event

    def _write_weights(self, trainer: Trainer, model: cocosnet.CoCosNet, name: str) -> None:
        model.provenance = {**self.plan.facts, "steps": trainer.step}
        try:
            cocosnet.save(model, self.plan.output / name)
        except OSError as error:
            raise storage_error(self.plan.output / name, error) from None

    def _note(self, event: str, trainer: Trainer, **values: Any) -> Event:
        noted = {"event": event, "step": trainer.step,
                 "epoch": round(trainer.step / self.plan.epoch_steps, 3), **values}  # fmt: skip
        if self.history is not None:
            self.history.append(noted)
        return noted


def _means(recent: deque[dict[str, float]]) -> dict[str, float]:
    names = recent[-1] if recent else {}
    return {name: sum(terms.get(name, 0.0) for terms in recent) / len(recent) for name in names}


def peak_bytes(device: torch.device) -> int:
    """The most memory that this process has taken: of the device, or of the machine for a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
