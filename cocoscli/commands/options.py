"""Options that several commands share, each defined once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from cocoscli.commands.manual import Manual, choice
from cocoscli.data.storage import place
from cocoscli.errors import UsageError


class Command(Manual):
    """A command that refuses URLs where it takes local paths alone; the options that take both
    are parsed by `place`."""

    def invoke(self, ctx: Any) -> Any:
        for name, value in ctx.params.items():
            for path in value if isinstance(value, list) else [value]:
                if type(path) is type(Path()) and re.match("[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
                    raise UsageError(
                        f"{name.replace('_', ' ')} {path}: a URL, where local paths alone are "
                        "taken.",
                        "Copy it here, or from here.",
                    )
        return super().invoke(ctx)


Inputs = Annotated[
    str | None,
    typer.Argument(
        metavar="INPUTS",
        help="A folder (walked), a file, shards, @list.txt, or - for a path a line on standard "
        "input; local, or by URL (s3://bucket/folder).",
        show_default="generated scenes",
    ),
]
Exemplar = Annotated[
    str | None,
    typer.Option("--exemplar", metavar="DIR|FILE", help="The photo, or a folder of photos."),
]
WeightsFile = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="A checkpoint; scenes or faces: the bundled one.",
        parser=place,
        show_default="the newest run's that fit, or bundled ones",
    ),
]
Output = Annotated[
    Path,
    typer.Option(
        "--output", metavar="DIR|URL", help="Folder for the results.", parser=place
    ),
]  # fmt: skip
Pairs = Annotated[
    str,
    choice(
        "--pairs", metavar="cycle|nearest|random|all|FILE",
        help="Which exemplar an input gets: in turn, the one with the most similar label map, "
        "drawn by the seed, every one, or as a CSV of input,exemplar rows says.",
    ),
]  # fmt: skip
LAYOUT_NAMES = (
    "labels", "ade20k", "celebahq-mask", "celebahq-edge", "deepfashion", "edges", "folders",
    "face-edges", "pose", "portraits", "people",
)  # fmt: skip
"""Layouts and kinds, for completion: those of `cocoscli.data`, which is slow to import."""
KINDS = (
    "labels", "edges", "celebahq-edge", "face-edges", "deepfashion", "pose", "chains",
)  # fmt: skip
LayoutName = Annotated[
    str | None,
    choice(
        "--layout", metavar="NAME", words=lambda: LAYOUT_NAMES,
        show_default="what the weights take",
        help="How INPUTS are laid out: labels, edges, ade20k, celebahq-mask, celebahq-edge, "
        "face-edges, deepfashion or pose.",
    ),
]  # fmt: skip
ExemplarCondition = Annotated[
    Path | None,
    typer.Option(
        "--exemplar-condition", metavar="DIR|FILE", show_default="the layout's own place",
        help="Where the exemplars' masks (edges, poses) are, for weights that need them.",
        parser=place,
    ),
]  # fmt: skip
Colors = Annotated[
    Path | None,
    typer.Option(
        "--colors", metavar="FILE",
        help="Colours of the classes, for colour-coded masks: JSON [[r,g,b], ...] or CSV id,r,g,b.",
    ),
]  # fmt: skip
Size = Annotated[
    str | None,
    choice(
        "--size", metavar="N|WxH|original", show_default="what the weights were trained at",
        help="Size of the results; original keeps each input's own.",
    ),
]  # fmt: skip
MatchSize = Annotated[
    int | None,
    typer.Option(
        "--match-size", metavar="CELLS", min=16, max=4096, show_default="that of the results",
        help="Longer side of the matching grid, where matching is to be done smaller than the "
        "results: 64 for weights trained at 256 px.",
    ),
]  # fmt: skip
IgnoreLabel = Annotated[
    int,
    typer.Option(
        "--ignore-label",
        metavar="N",
        min=-1,
        max=65535,
        help="Class id of pixels without a class; -1 for none.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Seed of everything that is drawn.")]
Null = Annotated[bool, typer.Option("-0", "--null", help="Lists are separated by NUL.")]
Device = Annotated[
    str, choice("--device", metavar="auto|cpu|cuda[:N]|mps", help="Where networks run.")
]
Precision = Annotated[
    str,
    choice(
        "--precision", metavar="auto|fp32|bf16|fp16",
        help="auto is bf16 where the device computes it natively, else fp32.",
    ),
]  # fmt: skip
Compile = Annotated[
    bool,
    typer.Option(
        "--compile", help="Compile the networks (torch.compile); kept for the runs after."
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", metavar="N", min=1, show_default="by size and device",
                 help="Items computed at once."),
]  # fmt: skip
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=0, show_default="half of the cores, at most 8",
                 help="Decoding processes; 0 decodes in this one."),
]  # fmt: skip
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, show_default="all", help="Only the first items."),
]
Engine = Annotated[
    str,
    choice(
        "--engine", metavar="local[:N]|ray[:ADDRESS]",
        help="Where the work is done: in this process, in N of this machine (GPUs are dealt out), "
        "or on a Ray cluster.",
    ),
]  # fmt: skip
Part = Annotated[
    str | None,
    choice(
        "--part", metavar="K/N|slurm", show_default="all",
        help="Only the K-th of N even parts; all of them may write to one --output at once, from "
        "any machine. slurm: as the task's place in its job array says.",
    ),
]  # fmt: skip
Format = Annotated[str, choice("--format", metavar="png|jpg|webp", help="Of the photos.")]
ResultFormat = Annotated[
    str,
    choice(
        "--format", metavar="png|jpg|webp|shards",
        help="Of the results; shards are webdataset tar files of PNG images.",
    ),
]  # fmt: skip
ShardSamples = Annotated[
    int, typer.Option("--shard-samples", metavar="N", min=1, help="Samples of a shard at most.")
]
Quality = Annotated[
    int,
    typer.Option(
        "--quality", metavar="N", min=1, max=100, help="Of jpg and webp; webp at 100 is lossless."
    ),
]
Gallery = Annotated[
    int,
    typer.Option(
        "--gallery", metavar="N", min=0, help="Items on the page index.html; 0 for no page."
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Also do the items again that failed before.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Redo everything, also with other settings.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Json = Annotated[bool, typer.Option("--json", help="A machine-readable summary.")]
