"""`run.html`: a training run's curves and panels."""

from __future__ import annotations

from collections.abc import Iterator

from cocoscli.engine.history import Event
from cocoscli.engine.train_folder import RunFolder
from cocoscli.recipe import Recipe


def write_train_page(folder: RunFolder, recipe: Recipe, events: Iterator[Event]) -> None:
    raise NotImplementedError
