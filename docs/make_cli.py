"""Write docs/cli.md, the reference of every command, from the commands themselves.

python docs/make_cli.py
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from cocoscli.app import app
from cocoscli.commands.manual import sections

PAGE = Path(__file__).with_name("cli.md")
HIDDEN = {"help", "install_completion", "show_completion"}
OPENING = """\
# Every command and option

Made by `python docs/make_cli.py` from the commands; `cocos COMMAND --help` says the same.
All commands have `--help`; `cocos --install-completion` lets the shell complete commands, options,
and the values that an option names (recipes, layouts, formats).
"""


def reference() -> str:
    """The page, in Markdown."""
    root = typer.main.get_command(app)
    return OPENING + "".join(_command("cocos", root))


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"\n## {name}\n\n{_prose(command.help or '')}\n"
    params = [param for param in command.params if param.name not in HIDDEN]
    for title, members in sections(params).items():
        yield f"\n| {title.lower()} | | default |\n| --- | --- | --- |\n"
        yield from map(_row, members)
    for below, each in getattr(command, "commands", {}).items():
        yield from _command(f"{name} {below}", each)


def _prose(text: str) -> str:
    """A help text; paragraphs that keep their lines (`\\b`) become blocks of code."""
    blocks = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(
        f"```text\n{kept[1].lstrip()}\n```" if len(kept := block.split("\b")) > 1 else block
        for block in blocks
    )


def _row(param: Any) -> str:
    is_argument = param.param_type_name == "argument"
    names = "" if is_argument else ", ".join((*param.opts, *param.secondary_opts))
    metavar = (param.metavar or "").replace("|", "\\|")
    called = " ".join(part for part in (names, metavar) if part)
    help = (param.help or "").replace("|", "\\|")
    return f"| `{called}` | {help} | {_default(param)} |\n"


def _default(param: Any) -> str:
    if param.required:
        return "*required*"
    if isinstance(param.show_default, str):
        return str(param.show_default)
    nothing = param.default is None or param.default is False
    return "" if nothing else f"`{param.default}`"


if __name__ == "__main__":
    PAGE.write_text(reference(), "utf-8")
