"""`log.jsonl`: what a training run measured, a JSON document a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
            except ValueError:
                continue
            if isinstance(event, dict) and "event" in event:
                yield event


class History:
    """Appends events; what came after the step that a run resumes from is forgotten."""

    def __init__(self, run: Path, step: int) -> None:
        kept = [event for event in read_history(run) if event.get("step", 0) <= step]
        text = "".join(json.dumps(event) + "\n" for event in kept)
        (run / LOG).write_text(text, encoding="ascii")
        self._file = open(run / LOG, "a", encoding="ascii")  # noqa: SIM115 (closed in close)

    def append(self, event: Event) -> None:
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()
