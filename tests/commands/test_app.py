"""The command itself: help, exit codes of usage errors, what importing it costs."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

COMMANDS = [[], ["prepare"], ["train"], ["translate"], ["correspond"], ["edit"], ["makeup"],
            ["evaluate"], ["rank"], ["recipes"], ["demo"], ["weights"], ["weights", "import"],
            ["weights", "info"]]  # fmt: skip
HEAVY = ("torch", "numpy", "PIL", "webdataset", "pydantic", "scipy", "cv2", "skimage")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_says_what_and_how(desk, command):
    for flag in ("--help", "-h"):
        help = desk.run(*command, flag)
        assert help.code == 0 and not help.err
        assert "Usage: cocos" in help.out
        assert all(len(line) <= 80 for line in help.out.splitlines())
        if command != ["weights"]:
            assert "Examples:\n    cocos" in help.out


def test_every_command_is_covered_here(desk):
    lines = desk.run("--help").out.split("Commands:\n")[1].splitlines()
    assert [[line.split()[0]] for line in lines] == [one for one in COMMANDS if len(one) == 1]
    assert not any(line.endswith("...") for line in lines), "a first sentence is too long"


def test_importing_the_command_imports_nothing_heavy():
    names = ", ".join(map(repr, HEAVY))
    code = f"import sys, cocoscli.app; print([m for m in ({names},) if m in sys.modules])"
    assert python("-c", code).stdout.strip() == "[]"


@pytest.mark.parametrize("command", [[], ["translate"], ["edit"], ["recipes"]])
def test_help_imports_nothing_heavy(command):
    told = python("-X", "importtime", "-m", "cocoscli", *command, "--help")
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in told.stderr.splitlines()}
    assert told.returncode == 0 and "typer" in imported
    typers_own = {"pydantic"} if command else set()  # some versions parse options with it
    assert not imported & {*HEAVY} - typers_own


def test_version():
    told = python("-m", "cocoscli", "--version")
    assert told.returncode == 0
    assert re.fullmatch(r"cocos \d\S+ \(torch \d\S+, Python 3\S+\)\n", told.stdout)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["tranlsate"], "tranlsate"),
        (["translate", "--exemplars", "x"], "--exemplars"),
        (["translate", "a", "b"], "b"),
        (["translate", "a", "--batch-size", "0"], "--batch-size"),
        (["translate", "a", "--batch-size", "many"], "--batch-size"),
        (["translate", "a", "--quality", "101"], "--quality"),
        (["translate", "a", "--limit", "0"], "--limit"),
        (["translate", "a", "--workers", "-1"], "--workers"),
        (["translate", "a", "--output"], "--output"),
        (["weights", "import", "x"], "--task"),
        (["weights", "info"], "FILE"),
        (["recipes", "a", "b"], "b"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_line(desk, arguments, word):
    told = desk.run(*arguments)
    assert told.code == 2 and not told.out
    assert told.said[0].startswith("error: ") and word in told.said[0]
    assert len(told.said) == 2 and told.said[1].startswith("See cocos")


@pytest.mark.parametrize("given", [[], ["weights"]])
def test_without_a_command_the_help_is_shown(desk, given):
    told = desk.run(*given)
    assert (told.out + told.err).lstrip().startswith("Usage: cocos")
    assert "\n\n" in told.out + told.err


def test_a_fault_is_one_line_without_traceback(desk, monkeypatch, capsys):
    from cocoscli import app

    def broken(**_: object) -> None:
        raise KeyError("inner")

    monkeypatch.setattr(app, "app", broken)
    with pytest.raises(SystemExit) as end:
        app.main()
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert "a fault in cocos itself: KeyError" in said and "Traceback" not in said


def test_a_closed_pipe_is_no_fault(desk):
    desk.fill()
    weights = desk.weights / "labels.safetensors"
    command = f"-m cocoscli translate masks --exemplar photos --weights {weights} --dry-run"
    process = subprocess.Popen(
        [sys.executable, *command.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=desk.folder,
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) in (0, 1)
    assert "Traceback" not in said and "fault" not in said and "Exception ignored" not in said
