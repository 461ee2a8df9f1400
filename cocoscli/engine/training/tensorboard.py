"""The events of a training run for TensorBoard (the extra `[train]`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from cocoscli.engine.training.history import Event
from cocoscli.errors import CocosError

FOLDER = "tensorboard"


def mirrored(events: Iterator[Event], run: Path) -> Iterator[Event]:
    """Pass events on and write their curves and panels below the run's folder.

    Raises CocosError where TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise CocosError(
            "--tensorboard: TensorBoard is not installed.", "pip install 'cocos[train]'"
        ) from None
    return _mirrored(events, run, SummaryWriter)


def _mirrored(events: Iterator[Event], run: Path, make: type) -> Iterator[Event]:
    writer = None
    try:
        for event in events:
            writer = writer or make(str(run / FOLDER))
            for group in ("terms", "figures"):
                for name, value in event.get(group, {}).items():
                    writer.add_scalar(f"{group}/{name}", value, event["step"])
            if "preview" in event:
                panels = np.asarray(Image.open(run / event["preview"]))
                writer.add_image("panels", panels, event["step"], dataformats="HWC")
            yield event
    finally:
        if writer is not None:
            writer.close()
