"""`cocos demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocoscli.commands import options as o


def demo(
    output: Annotated[
        Path, typer.Option("--output", metavar="DIR", help="Folder for the scenes and results.")
    ] = Path("demo"),
    size: Annotated[
        int, typer.Option("--size", metavar="N", min=64, help="Side of the pictures.")
    ] = 128,
    json: o.Json = False,
) -> None:
    """Translate generated scenes: every mask by every exemplar.

    \b
    Examples:
      cocos demo
      cocos demo --output elsewhere
    """
    from cocoscli import console
    from cocoscli.commands.translate import translate
    from cocoscli.data.scenes import write_scenes
    from cocoscli.engine.files import storage_error

    try:
        files = write_scenes(output / "scenes", 6, 4, size=size)
    except OSError as error:
        raise storage_error(output, error) from None
    console.note(
        f"{len(files.masks)} masks and {len(files.exemplars)} exemplars in {output}/scenes"
    )
    translate(
        inputs=str(output / "scenes" / "masks"),
        exemplar=str(output / "scenes" / "exemplars"),
        output=output / "translate",
        pairs="all",
        size=str(size),
        json=json,
    )
    console.note(f"open {output}/translate/index.html")
