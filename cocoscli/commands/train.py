"""`cocos train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cocoscli.commands import options as o
from cocoscli.commands.manual import choice
from cocoscli.shipped import recipe_names


def train(
    recipe: Annotated[
        str | None,
        choice(
            "--recipe",
            metavar="NAME|FILE",
            words=recipe_names,
            show_default="the one that fits the shards",
            help="What to train and how; `cocos recipes` lists them.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="SHARDS",
            show_default="./shards",
            help="The training shards: a prepared folder, or tar files by {00..09} and *.",
        ),
    ] = None,
    val: Annotated[
        str | None,
        typer.Option(
            "--val",
            metavar="SHARDS",
            show_default="the val split beside them",
            help="The shards to validate on.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="RUN",
            show_default="runs/NNN, the next or the unfinished one",
            help="Folder of the run; one that is there is gone on with.",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: losses.context=5."),
    ] = None,
    init: Annotated[
        str,
        choice("--init", metavar="bundled|none|FILE", help="The weights to start from."),
    ] = "bundled",
    features: Annotated[
        str,
        choice(
            "--features",
            metavar="auto|FILE",
            help="VGG weights for the losses; auto is torchvision's VGG-19.",
        ),
    ] = "auto",
    max_time: Annotated[
        float | None,
        typer.Option(
            "--max-time",
            metavar="MINUTES",
            min=0,
            show_default="10 on a CPU, else none",
            help="Stop after this long, to go on later; 0 for no limit.",
        ),
    ] = None,
    max_steps: Annotated[
        int | None,
        typer.Option(
            "--max-steps",
            metavar="N",
            min=1,
            show_default="the recipe's",
            help="Stop at this step.",
        ),
    ] = None,
    accumulate: Annotated[
        int,
        typer.Option("--accumulate", metavar="N", min=1, help="Parts that a batch is computed in."),
    ] = 1,
    recompute: Annotated[
        bool,
        typer.Option("--recompute", help="Less memory, more time: activations are made twice."),
    ] = False,
    compiled: o.Compile = False,
    save_every: Annotated[
        float, typer.Option("--save-every", metavar="MINUTES", min=0, help="Between checkpoints.")
    ] = 5.0,
    preview_every: Annotated[
        int, typer.Option("--preview-every", metavar="STEPS", min=1, help="Between validations.")
    ] = 500,
    val_samples: Annotated[
        int, typer.Option("--val-samples", metavar="N", min=2, help="Samples to validate on.")
    ] = 64,
    keep: Annotated[
        int, typer.Option("--keep", metavar="N", min=1, help="Checkpoints that are kept.")
    ] = 3,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Curves for TensorBoard too (extra [train]).")
    ] = False,
    change_recipe: Annotated[
        bool, typer.Option("--change-recipe", help="Go on with a run under another recipe.")
    ] = False,
    device: o.Device = "auto",
    precision: o.Precision = "auto",
    workers: o.Workers = None,
    seed: o.Seed = 0,
    dry_run: o.DryRun = False,
    json: o.Json = False,
) -> None:
    """Train a network on prepared shards.

    The run's folder holds weights.safetensors, which the other commands take, and
    run.html with curves and pictures. The same command again goes on where it
    stopped, exactly. On several GPUs: torchrun --nproc-per-node 8 -m cocoscli
    train ...; on several nodes with --nnodes and --rdzv-endpoint too.
    Guide: docs/train.md

    \b
    Examples:
      cocos train
      cocos train --recipe celebahq-edge --data shards --output run
      cocos train --recipe scenes --set schedule.batch_size=8 --max-time 60
    """
    from cocoscli import console
    from cocoscli.commands.running import default_workers
    from cocoscli.engine.training.distributed import join, leave
    from cocoscli.engine.training.plan import TrainOptions, describe, plan_training
    from cocoscli.engine.training.run import TrainingRun
    from cocoscli.engine.training.tensorboard import mirrored
    from cocoscli.training_console import train_progress

    processes, device = join(device)
    try:
        plan = plan_training(
            TrainOptions(
                data=data, val=val, recipe=recipe, changes=tuple(changes or ()), output=output,
                init=init, features=features, change_recipe=change_recipe, device=device,
                precision=precision, accumulate=accumulate, recompute=recompute, compiled=compiled,
                seed=seed, workers=default_workers() if workers is None else workers,
                max_minutes=max_time, max_steps=max_steps, save_minutes=save_every,
                preview_steps=preview_every, val_samples=val_samples, keep=keep,
            ),
            processes,
        )  # fmt: skip
        if processes.first:
            console.say_defaults(plan.defaults)
            if plan.features.warning:
                console.warn(plan.features.warning)
        if dry_run and not processes.first:
            return None
        if dry_run:
            return console.say_facts(describe(plan), json)
        run = TrainingRun(plan, _say_stopping) if processes.first else TrainingRun(plan)
        events = run.events()
        if tensorboard and processes.first:
            events = mirrored(events, plan.output)
        last = train_progress(events, quiet=not processes.first)
        if processes.first:
            summary = {"output": str(plan.output), "page": str(plan.output / "run.html"), **last}
            if json:
                console.emit(summary)
            state = "finished" if last.get("finished") else "to be gone on with"
            console.note(f"step {last['step']}, {state}; {summary['page']}")
    finally:
        leave()


def _say_stopping() -> None:
    from cocoscli import console

    console.note("stopping: the step at hand is finished and saved first; once more stops at once")
