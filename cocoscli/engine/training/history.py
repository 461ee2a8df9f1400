"""`log.jsonl`: what a training run measured, a JSON document a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from cocoscli.engine.files import TEMPORARY, storage_error, whole_file

LOG = "log.jsonl"
Event = dict[str, Any]
"""`event` says which: start, step, validation, checkpoint, warning or end; `step` when."""


def read_history(run: Path) -> Iterator[Event]:
    """The events on disk; a line that was cut off is left out."""
    path = run / LOG
    if not path.is_file():
        return
    with open(path, encoding="ascii", errors="replace") as file:
        for line in file:
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            step = event.get("step", 0) if isinstance(event, dict) and "event" in event else None
            if isinstance(step, int):
                yield event


class History:
    """Appends events; what came after the step that a run resumes from is forgotten.

    Raises CocosError where the storage fails.
    """

    def __init__(self, run: Path, step: int) -> None:
        self._path = run / LOG
        try:
            with whole_file(self._path, run / TEMPORARY) as file:
                for event in read_history(run):
                    if event.get("step", 0) <= step:
                        file.write(json.dumps(event).encode("ascii") + b"\n")
            self._file = open(self._path, "a", encoding="ascii")  # noqa: SIM115 (closed in close)
        except OSError as error:
            raise storage_error(self._path, error) from None

    def append(self, event: Event) -> None:
        try:
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()
        except OSError as error:
            raise storage_error(self._path, error) from None

    def close(self) -> None:
        with suppress(OSError):  # what a full disk left in the buffer was told of by `append`
            self._file.close()
