"""`run.html`: a training run's curves and panels, one page that asks no other host."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cocoscli.console import duration
from cocoscli.engine.training.curves import POINTS, Curve
from cocoscli.engine.training.folder import RunFolder
from cocoscli.engine.training.history import Event
from cocoscli.engine.training.measures import SECTIONS, Section
from cocoscli.engine.training.validation import PANEL_COLUMNS
from cocoscli.recipe import Recipe
from cocoscli.report import render_page

PAGE = "run.html"
MESSAGES = 50
"""Different warnings that the page lists: the latest."""
_PREVIEW = re.compile(r"previews/step-(\d+)\.jpg")


def write_train_page(folder: RunFolder, recipe: Recipe, events: Iterator[Event]) -> Path:
    """Write the page of the run in `folder` from its log -> its path. Raises CocosError.

    The log is read once and never held: curves are binned, repeated warnings counted.
    """
    story = Story()
    for event in events:
        story.take(event)
    title = f"{recipe.name}, run {folder.path.name}"
    data = {
        "step": story.step,
        "sections": [_section(section, story) for section in SECTIONS],
        "columns": PANEL_COLUMNS,
        "previews": [p for p in story.previews if (folder.path / preview_name(p[0])).is_file()],
        "warnings": [[message, *seen] for message, seen in reversed(story.warnings.items())],
        "unlisted": story.unlisted,
        "recipe": recipe.to_toml(),
        "command": "cocos translate --exemplar DIR --weights "
        + shlex.quote(str(folder.path / "weights.safetensors")),
        "best": story.best and story.best[0],
    }
    page = render_page("train.html", title, story.facts(recipe), data, recipe.description)
    return folder.write(PAGE, page.encode("utf-8"))


def preview_name(step: int) -> str:
    return f"previews/step-{step:07d}.jpg"


@dataclass
class Story:
    """What the page tells of a log, in memory that does not grow with it."""

    step: int = 0
    epoch: float = 0.0
    total: int = 0
    starts: int = 0
    last: Event | None = None
    """The last steps' means."""
    best: tuple[int, float] | None = None
    """Step and reconstruction of the best validation."""
    curves: dict[str, dict[str, Curve]] = field(default_factory=dict)
    """By kind (terms, figures, machine) and name."""
    previews: list[tuple[int, bool]] = field(default_factory=list)
    """(step, whether it was the best so far); of very many, the older ones are thinned out."""
    warnings: dict[str, tuple[int, int]] = field(default_factory=dict)
    """message -> (step it last came at, how often it came), the latest last."""
    unlisted: int = 0

    def take(self, event: Event) -> None:
        self.step, self.epoch = event["step"], event.get("epoch", self.epoch)
        match event["event"]:
            case "start":
                self.total, self.starts = event["total"], self.starts + 1
            case "step":
                self.last = event
                self._draw("terms", event["terms"])
                machine = {name: event[name] for name in ("images_per_second", "memory_mb")}
                self._draw("machine", machine)
            case "validation":
                self._validation(event)
            case "warning":
                self._warning(str(event["message"]))

    def _draw(self, kind: str, values: Mapping[str, float]) -> None:
        curves = self.curves.setdefault(kind, {})
        for name, value in values.items():
            curves.setdefault(name, Curve()).add(self.step, value)

    def _validation(self, event: Event) -> None:
        self._draw("figures", event["figures"])
        if event["best"]:
            self.best = self.step, event["figures"]["reconstruction"]
        if found := _PREVIEW.fullmatch(event["preview"]):
            self.previews.append((int(found[1]), event["best"]))
        if len(self.previews) > POINTS:
            del self.previews[1:-1:2]

    def _warning(self, message: str) -> None:
        _, count = self.warnings.pop(message, (0, 0))
        self.warnings[message] = self.step, count + 1
        if len(self.warnings) > MESSAGES:
            _, dropped = self.warnings.pop(next(iter(self.warnings)))
            self.unlisted += dropped

    def facts(self, recipe: Recipe) -> dict[str, str]:
        """What stands under the title."""
        schedule = recipe.schedule
        finished = 0 < self.total <= self.step
        share = f" ({100 * self.step / self.total:.0f} %)" if self.total else ""
        facts = {
            "Step": f"{self.step:,} of {self.total:,}{': finished' if finished else share}",
            "Epoch": f"{self.epoch:.4g} of {schedule.epochs + schedule.decay_epochs:g}",
        }
        if self.last and not finished:
            facts["Left to train"] = duration(self.last["seconds_left"])
        if self.last:
            facts["Speed"] = f"{self.last['images_per_second']:.3g} images/s"
            facts["Most memory"] = f"{self.last['memory_mb'] / 1000:.3g} GB"
        if self.best:
            facts["Best reconstruction"] = f"{self.best[1]:.4g} at step {self.best[0]:,}"
        if self.starts > 1:
            facts["Started"] = f"{self.starts} times"
        return facts


def _section(section: Section, story: Story) -> dict[str, Any]:
    """A section as the page's script reads it; measures of no chart get one of their own."""
    curves = story.curves.get(section.kind, {})
    charts = []
    for chart in section.all_charts(curves):
        lines = [[label, curves[name].points()]
                 for name, label in chart.lines.items() if name in curves]  # fmt: skip
        if any(points for _, points in lines):
            charts.append({"title": chart.title, "words": chart.words,
                           "better": chart.better, "lines": lines})  # fmt: skip
    return {"title": section.title, "words": section.words, "smooth": section.smooth,
            "charts": charts}  # fmt: skip
