"""Sections of help texts, completion of values, near names of commands."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cocoscli.app import app
from cocoscli.commands.manual import SECTIONS, sections
from cocoscli.commands.options import KINDS, LAYOUT_NAMES
from cocoscli.data.layouts import LAYOUTS
from cocoscli.recipe import recipe_names

ROOT = Path(__file__).parents[2]


def completed(words: str) -> list[str]:
    """What bash is told where `words` have been typed, the last of them in part."""
    asked = {"_COCOS_COMPLETE": "complete_bash", "COMP_WORDS": f"cocos {words}",
             "COMP_CWORD": str(words.count(" ") + 1)}  # fmt: skip
    code = "import sys; sys.argv = ['cocos']; from cocoscli.app import main; main()"
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        env=os.environ | asked, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert told.returncode == 0 and "torch" not in told.stderr
    return told.stdout.split()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("tr", ["train", "translate"]),
        ("weights i", ["import", "info"]),
        ("translate --pre", ["--precision"]),
        ("translate --device ", ["auto", "cpu", "cuda", "mps"]),
        ("translate --layout celeb", ["celebahq-mask", "celebahq-edge"]),
        ("translate --pairs c", ["cycle"]),
        ("translate --size ", ["original"]),
        ("train --recipe faces", ["faces", "faces-mini", "faces-mini-paper"]),
        ("recipes sc", ["scenes"]),
        ("train --init runs/", []),  # the shell goes on with files
    ],
)
def test_the_shell_completes(typed, offered):
    assert completed(typed) == offered


def test_every_choice_is_completed_by_words_that_are_known():
    assert {*LAYOUT_NAMES} == {*LAYOUTS}
    assert {*KINDS} == {kind for layout in LAYOUTS.values() for kind in layout.kinds}
    assert "scenes" in recipe_names()


def test_options_that_are_shared_stand_in_their_section():
    translate = typer.main.get_command(app).commands["translate"]  # type: ignore[attr-defined]
    found = sections(translate.params)
    assert list(found) == ["Arguments", "Options", *SECTIONS]
    assert {param.name for param in found["Computing"]} == {*SECTIONS["Computing"]}
    assert sum(map(len, found.values())) == len(translate.params)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("tranlsate", "translate"),
        ("corespond", "correspond"),
        ("test", "translate"),
        ("import", "weights import"),
        ("zzz", None),
    ],
)
def test_an_unknown_command_is_told_the_nearest(desk, given, meant):
    told = desk.run(given)
    assert told.code == 2
    said = f"Did you mean {meant}?" if meant else "There are prepare, train, translate, "
    assert f"{given}: no such command. {said}" in told.said[0]


def test_the_reference_is_up_to_date():
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs/make_cli.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.PAGE.read_text("utf-8") == made.reference(), "run python docs/make_cli.py"
