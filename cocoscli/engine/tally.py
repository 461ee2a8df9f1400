"""What became of a dataset's items, counted row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from cocoscli.data.wording import shown

USED, SKIPPED, FAILED = STATUSES = ("used", "skipped", "failed")
NAMED = 3
"""Items that a warning names."""


class Tally:
    """Rows by status, and by what they note; it holds a few names a note."""

    def __init__(self, rows: Iterable[dict[str, Any]] = ()) -> None:
        self.statuses: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self._named: dict[str, list[str]] = {}
        for row in rows:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        self.statuses[row["status"]] += 1
        for note in row.get("notes") or ():
            self.notes[note] += 1
            names = self._named.setdefault(note, [])
            if len(names) < NAMED:
                names.append(shown(row["key"]))

    @property
    def counts(self) -> dict[str, int]:
        return {name: self.statuses[name] for name in STATUSES}

    @property
    def warnings(self) -> list[str]:
        """A line for each thing noted: of how many items, and the first of them."""
        return [
            f"{count:,} of {self.statuses[USED]:,} items: {note} ({', '.join(self._named[note])}"
            f"{', ...' if count > NAMED else ''})"
            for note, count in self.notes.items()
        ]
