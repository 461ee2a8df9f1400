"""`cocos weights import` and `cocos weights info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocoscli.commands import options as o
from cocoscli.commands.manual import Commands, choice

app = typer.Typer(
    no_args_is_help=True, cls=Commands, help="Import released weights, or say what a file holds."
)


@app.command("import", cls=o.Command)
def import_(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder with EPOCH_net_Corr.pth, EPOCH_net_G.pth."),
    ],
    task: Annotated[
        str,
        choice(
            "--task",
            metavar="ade20k|celebahq-mask|celebahq-edge|deepfashion",
            help="What the files were trained for.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="The checkpoint to write.")
    ],
    epoch: Annotated[
        str, typer.Option("--epoch", metavar="EPOCH", help="What stands before _net_.")
    ] = "latest",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE.")] = False,
    json: o.Json = False,
) -> None:
    """Turn the authors' released files into one checkpoint.

    Every tensor must be there and have its shape. Guide: docs/released.md

    \b
    Examples:
      cocos weights import ade20k/ --task ade20k --output w.safetensors
      cocos weights import runs/x --task ade20k --epoch 40 --output w.safetensors
    """
    from cocoscli import console
    from cocoscli.engine.models import describe_weights, import_released

    import_released(folder, task, epoch, output, overwrite=overwrite)
    facts = describe_weights(output)
    console.note(f"{output}: {facts['parameters']} parameters, {facts['condition']}")
    if json:
        console.emit(facts)


@app.command("info", cls=o.Command)
def info(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A checkpoint, or the name of a bundled one.")
    ],
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="N|WxH", help="Also say whether this size fits here."),
    ] = None,
    json: o.Json = False,
) -> None:
    """Say what a checkpoint holds.

    That is its sizes, parameters, condition, provenance and memory by size;
    with --size also the largest size of that shape that fits into this
    machine's free memory.

    \b
    Examples:
      cocos weights info ade20k.safetensors
      cocos weights info ade20k.safetensors --size 1024
    """
    from cocoscli import console
    from cocoscli.engine.items import parse_size
    from cocoscli.engine.models import describe_room, describe_weights
    from cocoscli.errors import UsageError

    if size == "original":
        raise UsageError("--size original: which is that of an input.", "Give a side, or WxH.")
    facts = describe_weights(file)
    if size and (sides := parse_size(size)):
        facts |= describe_room(file, sides)
    console.say_facts(facts, json)
