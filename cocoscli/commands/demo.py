"""`cocos demo`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from cocoscli.commands import options as o
from cocoscli.commands.running import EXIT_FAILED_ITEMS


def demo(
    context: typer.Context,
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Folder for all that it makes.")
    ] = Path("demo"),
    size: Annotated[
        int, typer.Option("--size", metavar="N", min=64, help="Side of the generated scenes.")
    ] = 128,
    overwrite: o.Overwrite = False,
    json: o.Json = False,
) -> None:
    """Show what every command does, on one page.

    Types commands as a user would, on generated scenes and two portraits, with the weights that
    are bundled; needs no network connection. The page opens by itself where there is a screen.
    Running it again goes on where it stopped.

    \b
    Examples:
      cocos demo
      cocos demo --output elsewhere
    """
    from cocoscli import console
    from cocoscli.engine.demo.folder import DemoFolder
    from cocoscli.engine.demo.screen import show

    failed = False
    with DemoFolder(output, size, overwrite) as folder:
        for words in folder.lacking:
            console.warn(words)
        for step in folder.remaining():
            console.note(f"$ {step.typed}", "bold")
            failed |= _typed(context, step.again() if overwrite else step.arguments)
        page = folder.write_page()
    if json:
        console.emit({"output": str(output), "page": str(page)})
    console.note(f"open {page}")
    show(page)
    if failed:
        raise typer.Exit(EXIT_FAILED_ITEMS)


def _typed(context: typer.Context, arguments: Sequence[str]) -> bool:
    """Run a command as if it were typed; whether some of its items have failed."""
    root = context.find_root()
    group: Any = root.command
    name, *options = arguments
    command = group.commands[name]
    try:
        with (
            redirect_stdout(sys.stderr),
            command.make_context(name, options, parent=root) as inner,
        ):
            command.invoke(inner)
    except typer.Exit as end:
        if end.exit_code != EXIT_FAILED_ITEMS:
            raise
        return True
    return False
