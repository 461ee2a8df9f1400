"""What is said of a training run, on a terminal and elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from cocoscli import console, training_console
from cocoscli.errors import CocosError
from cocoscli.training_console import train_progress

EVENTS: list[dict[str, Any]] = [
    {"event": "start", "step": 0, "epoch": 0.0, "total": 3000, "resumed": False},
    {
        "event": "step", "step": 120, "epoch": 0.53, "images_per_second": 4.2, "memory_mb": 1900,
        "terms": {"adversarial": 1.2, "context": 30.14}, "seconds_left": 660,
    },
    {"event": "validation", "step": 500, "best": True, "preview": "p", "figures": {"cycle": 0.25}},
    {"event": "warning", "step": 500, "message": "left out: a\x1b[2J"},
    {"event": "checkpoint", "step": 500, "path": "runs/000/checkpoints/step-0000500.safetensors"},
    {"event": "end", "step": 500, "epoch": 2.2, "finished": False, "skipped": 1},
]  # fmt: skip
SAID = [
    "training from step 0 to 3000",
    "step 120/3000, epoch 0.53: 4.2 images/s, 11 min left, 1.9 GB; adversarial 1.2, context 30.1",
    "validation at step 500, the best so far: cycle 0.25",
    r"warning: step 500: left out: a\x1b[2J",
    "checkpoint at step 500: runs/000/checkpoints/step-0000500.safetensors",
]


def broken(error: BaseException) -> Iterator[dict[str, Any]]:
    yield from EVENTS[:2]
    raise error


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal of 100 by 40 in the place of standard error."""
    stream = io.StringIO()
    shown = Console(
        file=stream, force_terminal=True, width=100, height=40, markup=False, emoji=False,
        highlight=False, soft_wrap=True, color_system=None, _environ={"TERM": "xterm"},
    )  # fmt: skip
    for module in (console, training_console):
        monkeypatch.setattr(module, "stderr", shown)
    return stream


def seen(stream: io.StringIO) -> list[str]:
    """The lines that a terminal is left with, by its cursor's movements."""
    lines, row = [""], 0
    text = stream.getvalue().replace("\x1b[?25l", "").replace("\x1b[?25h", "")
    for part in re.findall(r"\x1b\[\d*[A-Z]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\x1b[2K":
            lines[row] = ""
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part != "\r":
            lines[row] += part
    return [line.rstrip() for line in lines if line.strip()]


def test_plain_lines(monkeypatch, capsys):
    monkeypatch.setattr(training_console, "PLAIN_INTERVAL", 0.0)
    assert train_progress(iter(EVENTS)) == EVENTS[-1]
    assert capsys.readouterr().err.splitlines() == SAID


def test_plain_steps_are_few(capsys):
    steps = [{**EVENTS[1], "step": number} for number in range(1000)]
    train_progress(iter([EVENTS[0], *steps]))
    assert capsys.readouterr().err.splitlines() == SAID[:1]


def test_a_resumed_run_says_so(capsys):
    train_progress(iter([{**EVENTS[0], "step": 700, "resumed": True}]))
    assert capsys.readouterr().err == "going on from step 700 to 3000\n"


def test_quiet_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(training_console, "PLAIN_INTERVAL", 0.0)
    assert train_progress(iter(EVENTS), quiet=True) == EVENTS[-1]
    assert capsys.readouterr() == ("", "")


def test_no_events(capsys):
    assert train_progress(iter([])) == {}


def test_a_terminal_keeps_lines_above_one_table(terminal):
    assert train_progress(iter(EVENTS)) == EVENTS[-1]
    lines = seen(terminal)
    assert lines[:2] == [SAID[2], SAID[3]]
    board = "\n".join(lines[2:])
    assert board.count("step 120/3000, epoch 0.53") == 1
    assert "4.2 images/s, 11 min left, 1.9 GB" in lines
    assert re.search(r"^adversarial +1\.2 +context +30\.1$", board, re.MULTILINE)
    assert re.search(r"^validation at step 500\ncycle +0\.25$", board, re.MULTILINE)
    assert board.endswith(SAID[4])


def test_a_narrow_terminal(terminal, monkeypatch):
    monkeypatch.setattr(training_console.stderr, "width", 40)
    train_progress(iter(EVENTS[:2]))
    lines = seen(terminal)
    assert max(map(len, lines)) <= 40
    assert [line.split() for line in lines[-2:]] == [["adversarial", "1.2"], ["context", "30.1"]]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), CocosError("step 120: context is inf.")])
def test_a_terminal_is_restored(terminal, error):
    with pytest.raises(type(error)):
        train_progress(broken(error))
    text = terminal.getvalue()
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor: hidden, shown
    assert "4.2 images/s, 11 min left, 1.9 GB" in seen(terminal)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), CocosError("step 120: context is inf.")])
@pytest.mark.parametrize("quiet", [False, True])
def test_elsewhere_errors_pass_through(error, quiet):
    with pytest.raises(type(error)):
        train_progress(broken(error), quiet)
