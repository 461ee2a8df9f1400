"""A part of a work list, for many processes that share one output folder and nothing else."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath

from cocoscli.errors import UsageError

SLURM = "slurm"
MOST = 99_999
"""Parts of a cut."""


@dataclass(frozen=True)
class Part:
    """One of `count` even parts; `number` counts from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """`003-of-016`: as files of a part are called."""
        return f"{self.number:03d}-of-{self.count:03d}"

    def span(self, total: int) -> range:
        """Its items, of so many."""
        return range(total * (self.number - 1) // self.count, total * self.number // self.count)


def marked(name: str, part: Part | None) -> str:
    """A file of a part by that of a whole run: `lock` -> `lock-003-of-016`."""
    path = PurePath(name)
    return name if part is None else str(path.with_name(f"{path.stem}-{part.name}{path.suffix}"))


def parse_part(text: str, environment: Mapping[str, str] = os.environ) -> Part:
    """`3/16`, or `slurm` within a task of a job array. Raises UsageError."""
    if text == SLURM:
        return _of_array(environment)
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]) <= MOST:
        raise UsageError(
            f"--part {text}: expected K/N with K from 1 to N, such as 3/16, or {SLURM} in a task "
            "of a job array."
        )
    return Part(int(found[1]), int(found[2]))


def _of_array(environment: Mapping[str, str]) -> Part:
    """The part that is a task of a SLURM array, whose numbers may start anywhere, in even steps."""
    names = ("ID", "MIN", "MAX", "COUNT")
    try:
        task, first, last, count = (int(environment[f"SLURM_ARRAY_TASK_{n}"]) for n in names)
        step = int(environment.get("SLURM_ARRAY_TASK_STEP", 1))
    except (KeyError, ValueError):
        raise UsageError(
            f"--part {SLURM}: this is no task of a job array (SLURM_ARRAY_TASK_ID and its like are "
            "not set).",
            "Submit it with sbatch --array=1-16, or give --part K/N.",
        ) from None
    if step < 1 or (last - first) // step + 1 != count or (task - first) % step:
        raise UsageError(
            f"--part {SLURM}: this array is a choice of {count} tasks from {first} to {last}, so "
            "the cut that they belong to cannot be told.",
            "Say it: --part $SLURM_ARRAY_TASK_ID/16.",
        )
    return Part((task - first) // step + 1, count)
