"""Answers of a blind ranking, counted: the share of first places (Figures 7 and 22)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cocoscli.data.wording import one_line, shown
from cocoscli.engine.ranking.page import KEY
from cocoscli.errors import CocosError

ALL = "all"
"""What the row of all images is called."""


@dataclass(frozen=True)
class Key:
    """Which run is behind each letter of a page."""

    page: str
    dataset: str
    runs: list[str]
    questions: list[str]
    slots: list[list[int]]
    """By task, the number of the run by slot."""


@dataclass(frozen=True)
class Answers:
    """What one person has said of a page: (question, run of the first place) by task."""

    key: Key
    person: str
    firsts: list[tuple[str, str]]


@dataclass
class Shares:
    """First places by run."""

    sorted: int = 0
    """Tasks that someone has sorted."""
    shown: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    firsts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, runs: Iterable[str], first: str) -> None:
        self.sorted += 1
        self.firsts[first] += 1
        for run in runs:
            self.shown[run] += 1

    def share(self, run: str) -> float | None:
        """Of the tasks that showed the run; None where none did."""
        return self.firsts[run] / self.shown[run] if self.shown[run] else None


def read_key(folder: Path) -> Key:
    """The key of a page. Raises CocosError."""
    path = folder / KEY
    try:
        values = json.loads(path.read_text("utf-8"))
        slots = [list(map(int, task["slots"])) for task in values["tasks"]]
        runs = list(map(str, values["runs"]))
        if any(sorted(each) != list(range(len(runs))) for each in slots):
            raise ValueError("its slots are not its runs")
        return Key(str(values["page"]), str(values["dataset"]), runs,
                   list(map(str, values["questions"])), slots)  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CocosError(
            f"{shown(path)}: no key of a page of `cocos rank` ({one_line(error)}).",
            "Give the folder that `cocos rank` wrote.",
        ) from None


def read_answers(path: Path, keys: Mapping[str, Key]) -> Answers:
    """A file of answers to one of these pages, by their ids. Raises CocosError."""
    try:
        values = json.loads(path.read_text("utf-8"))
        page, person = str(values["page"]), str(values["person"])
        given = [
            (int(each["task"]), str(each["question"]), list(map(int, each["order"])))
            for each in values["answers"]
        ]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise CocosError(
            f"{shown(path)}: no answers of a page of `cocos rank` ({one_line(error)}).",
            "Give the files that the page saves.",
        ) from None
    if page not in keys:
        raise CocosError(
            f"{shown(path)}: answers to another page ({page}; here {', '.join(keys)}).",
            "Give the folder of their page too, or leave them out.",
        )
    key = keys[page]
    if len({(task, question) for task, question, _ in given}) < len(given):
        raise CocosError(f"{shown(path)}: a task is answered twice.", "Save the answers again.")
    return Answers(key, person, [(q, _first(path, key, t, q, order)) for t, q, order in given])


def _first(path: Path, key: Key, task: int, question: str, order: list[int]) -> str:
    """The run that an order of slots puts first."""
    known = question in key.questions and 0 <= task < len(key.slots)
    if not known or sorted(order) != list(range(len(key.runs))):
        raise CocosError(
            f"{shown(path)}: task {task}, {question}: {order} is no order of "
            f"{len(key.runs)} results.",
            "Save the answers again.",
        )
    return key.runs[key.slots[task][order[0]]]


def once_a_person(answers: Iterable[Answers]) -> list[Answers]:
    """The fullest answers of each person to each page."""
    found: dict[tuple[str, str], Answers] = {}
    for each in answers:
        mark = (each.key.page, each.person)
        if mark not in found or len(found[mark].firsts) < len(each.firsts):
            found[mark] = each
    return list(found.values())


def tally(answers: Sequence[Answers]) -> dict[tuple[str, str], Shares]:
    """First places by (question, dataset), and of all datasets where there are several."""
    found: dict[tuple[str, str], Shares] = defaultdict(Shares)
    several = len({each.key.dataset for each in answers}) > 1
    for each in answers:
        for question, first in each.firsts:
            for dataset in (each.key.dataset, *((ALL,) if several else ())):
                found[(question, dataset)].add(each.key.runs, first)
    return dict(sorted(found.items(), key=lambda entry: (entry[0][0], entry[0][1] == ALL)))
