"""The documentation: its commands parse, its options and links exist, its tasks run as written."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from training import tiny_features

from cocoscli.app import app
from cocoscli.engine.training import plan as train_plan

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
OTHERS_FLAGS = {"docs/released.md"}
"""Pages that name the options of other programs."""
KNOWN_ELSEWHERE = {
    "--array",
    "--nproc-per-node",
    "--nnodes",
    "--rdzv-endpoint",
    "--training",
    "--steps",
}
TASK = "A task from start to end"
GUIDES = ("prepare", "train", "translate", "correspond", "edit", "evaluate", "rank", "makeup")
TOOLS = {"awk", "cp", "cut", "jq", "pip", "ray", "sed", "tr"}


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """(language, text) of the fenced blocks."""
    yield from re.findall(r"^```(\w*)\n(.*?)^```$", page, re.M | re.S)


def command_lines(page: str) -> Iterator[list[str]]:
    """The words of every command in a page's blocks for the shell, and in examples of help."""
    for language, block in blocks(page):
        if language == "text":
            yield from map(shlex.split, re.findall(r"^  (cocos .*?)(?: >.*)?$", block, re.M))
        if language in ("", "sh"):
            for line in re.sub(r"\\\n\s*", "", block).splitlines():
                words = shlex.split(line, comments=True)
                stop = next((n for n, word in enumerate(words) if word in (">", "...")), None)
                if words[:stop]:
                    yield words[:stop]


def options(command: Any) -> set[str]:
    found = {flag for param in command.params for flag in param.opts}
    below = getattr(command, "commands", {}).values()
    return found.union(*map(options, below)) | {"--help"}


CLI: Any = typer.main.get_command(app)


@pytest.mark.parametrize("name", NAMES)
def test_commands_parse(name):
    for words in command_lines(text(name)):
        program, *arguments = words
        if program == "torchrun":
            arguments = words[words.index("cocoscli") + 1 :]
        if program in ("cocos", "torchrun"):
            command = CLI
            while arguments and arguments[0] in getattr(command, "commands", {}):
                command = command.commands[arguments.pop(0)]
            if "--help" not in arguments:
                command.make_context("cocos", arguments)
        elif program == "python":
            assert (ROOT / arguments[0]).is_file()
        elif program == "make":
            assert f"\n{arguments[0]}:" in text("Makefile")
        else:
            assert program in TOOLS or name == "docs/prepare.md", words


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OTHERS_FLAGS])
def test_options_in_the_text_exist(name):
    prose = re.sub(r"^```.*?^```$", "", text(name), flags=re.M | re.S)
    known = options(CLI) | KNOWN_ELSEWHERE
    named = {flag for code in re.findall(r"`([^`]+)`", prose)
             for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", code)}  # fmt: skip
    assert named <= known


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", text(name)):
        path, _, anchor = target.partition("#")
        if path.startswith("http"):
            continue
        page = (ROOT / name).parent / path if path else ROOT / name
        assert page.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("name", NAMES)
def test_python_compiles(name):
    for language, block in blocks(text(name)):
        if language == "python":
            compile(block, name, "exec")


def test_every_page_is_in_the_index():
    listed = set(re.findall(r"\]\(([\w.-]+\.md)\)", text("docs/README.md")))
    assert listed == {page.name for page in PAGES} - {"README.md"}


def test_the_readme_is_short():
    assert len(text("README.md").splitlines()) < 140, "guides hold what is long"


def test_all_of_the_paper_is_covered():
    page = re.sub(r"(\d+)-(\d+)", lambda m: ", ".join(map(str, range(int(m[1]), int(m[2]) + 1))),
                  text("docs/coverage.md"))  # fmt: skip

    def named(what: str) -> set[str]:
        lists = re.findall(rf"{what}s? ((?:\w+, )*\w+)", page)
        return {each for found in lists for each in found.split(", ")}

    assert named("Figure") >= set(map(str, range(1, 25)))
    assert named("Table") >= set("12345")
    assert named(r"Eq\.") >= set(map(str, range(1, 15)))
    assert named("Appendix") >= set("ABCDEFGH")


def test_coverage_names_files_that_exist():
    names = set(re.findall(r"`((?:cocoscli|tests|benchmarks|docs|recipes)/[\w./*-]+)`",
                           text("docs/coverage.md")))  # fmt: skip
    assert names and all(any(ROOT.glob(name)) for name in names)


def task(guide: str) -> str:
    page = text(f"docs/{guide}.md")
    return page.split(f"## {TASK}\n")[1].split("\n## ")[0]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tasks_run_as_written(desk, monkeypatch):
    monkeypatch.setattr(train_plan, "loss_features", tiny_features)
    for guide in GUIDES:
        for language, block in blocks(task(guide)):
            monkeypatch.chdir(desk.folder)
            if language == "python":
                exec(compile(block, guide, "exec"), {})
            for words in command_lines(f"```sh\n{block}```" if language == "sh" else ""):
                told = desk.run(*words[1:])
                assert told.code == 0, (guide, words, told.err)
