"""From options to work: what `cocos edit` resolves first."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cocoscli.data.colors import read_color_table
from cocoscli.data.edits import FROM_PHOTO, condition_suffixes
from cocoscli.data.layouts import LAYOUTS
from cocoscli.data.reading import ConditionReader
from cocoscli.engine.device import check_precision, resolve_device, resolve_precision
from cocoscli.engine.edit_items import EditReader, find_edits
from cocoscli.engine.items import matching_layout, parse_size
from cocoscli.engine.models import load_weights
from cocoscli.engine.plan import RunPlan, content, fitting_batch, match_setting
from cocoscli.errors import CocosError, UsageError

EditPlan = RunPlan[EditReader]


@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """What the user asked for; None where a default is to be found."""

    image: Path
    mask: Path | None
    edited: Path
    weights: Path
    keep: bool = False
    border: int | None = None
    colors: Path | None = None
    size: str | None = None
    match_size: int | None = None
    ignore_label: int | None = 255
    gallery: int = 1000
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None


def plan_edits(options: EditOptions) -> EditPlan:
    """Resolve options, cheap checks first. Raises CocosError and UsageError."""
    device = resolve_device(options.device)
    check_precision(options.precision, device)
    if options.border is not None and not options.keep:
        raise UsageError("--border without --keep: nothing is blended.", "Add --keep.")
    if options.size is not None:
        parse_size(options.size)
    _check_places(options)
    weights = load_weights(options.weights, device)
    model, kind = weights.model, weights.model.condition.kind
    precision = resolve_precision(options.precision, device, model.config.width)
    condition_suffixes(kind)
    if options.mask is None and kind != FROM_PHOTO:
        raise UsageError(
            f"no --mask, and the weights take {kind} conditions.",
            "Give the photo's own, of which --edited is an edited copy.",
        )
    edits = find_edits(options.edited, kind)
    size_text = options.size or str(model.condition.size)
    size = parse_size(size_text)
    colors = read_color_table(options.colors) if options.colors else None
    layout = LAYOUTS[matching_layout(kind, LAYOUTS)]
    reader = EditReader(
        edits=edits, photos=options.image, masks=options.mask,
        conditions=ConditionReader(layout, model.config.channels, options.ignore_label, colors),
        with_condition=model.config.needs_exemplar_input, size=size, keep=options.keep,
        border=options.border, gallery=options.gallery, match_size=options.match_size,
    )  # fmt: skip
    batch_size, memory = fitting_batch(options.batch_size, size, model, device, draws=True)
    settings = {
        "image": os.path.abspath(options.image),
        "mask": os.path.abspath(options.mask) if options.mask else "",
        "edited": os.path.abspath(options.edited), "weights": weights.sha256,
        "size": size_text, "keep": options.keep,
        "border": -1 if options.border is None else options.border, "precision": precision,
        "ignore_label": -1 if options.ignore_label is None else options.ignore_label,
        "colors": content(str(options.colors or "")),
    }  # fmt: skip
    settings |= match_setting(options.match_size)
    return RunPlan(weights, reader, device, precision, batch_size, memory, settings)


def _check_places(options: EditOptions) -> None:
    """CocosError for what is not there, UsageError where one photo or mask is to serve many."""
    places = {"IMAGE": options.image, "--mask": options.mask}
    for name, place in places.items():
        if place is not None and not place.exists():
            raise CocosError(f"{name} {place}: no such file or folder.")
    folders = {name: os.path.isdir(place) for name, place in places.items() if place is not None}
    if len(set(folders.values())) > 1 or (folders["IMAGE"] and not os.path.isdir(options.edited)):
        raise UsageError(
            "IMAGE, --mask and --edited are not of one form.",
            "Give three files, three folders, or a photo, its mask and a folder of edited masks.",
        )
