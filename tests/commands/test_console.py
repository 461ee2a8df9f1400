"""What is written to the two streams."""

from __future__ import annotations

import io
import os
import sys

import pytest

from cocoscli import console

ROWS = [("a" * 200, "[red]x"), ("画像", ":smile:"), (os.fsdecode(b"\xe9\x1b"), r"\[b] x")]


def test_a_row_is_one_line_of_aligned_columns(capsys):
    console.table(ROWS, "name", "value")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"name{' ' * 198}value",
        f"{'a' * 200}  [red]x",
        f"画像{' ' * 198}:smile:",
        rf"\udce9\x1b{' ' * 192}\[b] x",
    ]


def test_a_table_without_head_or_rows(capsys):
    console.table([("one", "1"), ("three", "")])
    console.table([])
    assert capsys.readouterr().out == "one    1\nthree\n"


def test_an_output_that_lacks_letters(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    console.table([("é", "x")])
    assert stream.buffer.getvalue() == b"\\xe9  x\n"


def test_the_rate_is_counted_from_the_first_item(capsys, monkeypatch):
    clock = iter([1000.0, 1005.0, 1010.0])  # the first item comes after a long preparation
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    assert list(console.follow("abc", 5, "items")) == list("abc")
    assert capsys.readouterr().err == "3/5 items, 0.20/s, 10 s left\n"


def test_messages_are_lines_as_they_are(capsys):
    name = os.fsdecode(b":smile: [b]\xe9\x1b[2J\nx")
    console.note(name)
    console.warn(name)
    console.error(name, name)
    plain = r":smile: [b]\udce9\x1b[2J\nx"
    said = capsys.readouterr().err.splitlines()
    assert said == [plain, f"warning: {plain}", f"error: {plain}", plain]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (660, "11 min"), (5340, "89 min"),
     (5400, "1 h 30 min"), (12_000, "3 h 20 min"), (47.4 * 3600, "47 h 24 min"),
     (53 * 3600, "2 d 5 h")],
)  # fmt: skip
def test_durations(seconds, text):
    assert console.duration(seconds) == text
