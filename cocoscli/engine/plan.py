"""From options to work: what every command over pairs of inputs and exemplars resolves first."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from cocosnet import CoCosNet

import cocoscli
from cocoscli.data.colors import read_color_table
from cocoscli.data.conditions import CONDITIONS
from cocoscli.data.filelist import FileList
from cocoscli.data.images import Size, is_colour
from cocoscli.data.inputs import Inputs, ShardInputs, list_inputs, open_shards
from cocoscli.data.layouts import LAYOUTS
from cocoscli.data.layouts.layout import Layout
from cocoscli.data.pairs import (
    STRATEGIES,
    All,
    Cycle,
    Nearest,
    Pairing,
    Random,
    name_index,
    read_pairs,
)
from cocoscli.data.reading import ConditionReader
from cocoscli.data.scenes import Label, mask_name, write_scenes
from cocoscli.data.shards import is_shards, read_index
from cocoscli.data.storage import absolute, exists, is_file, is_folder, place
from cocoscli.engine.compiling import wanted
from cocoscli.engine.device import (
    check_precision,
    default_batch_size,
    resolve_device,
    resolve_precision,
)
from cocoscli.engine.files import storage_error
from cocoscli.engine.items import (
    Exemplars,
    PairReader,
    check_layout,
    find_exemplars,
    matching_layout,
    multiple,
    parse_size,
)
from cocoscli.engine.memory import check_memory
from cocoscli.engine.models import (
    RUNS,
    Weights,
    bundled_conditions,
    bundled_weights,
    file_sha256,
    load_weights,
    newest_weights,
    text_sha256,
)
from cocoscli.errors import BadInput, CocosError, UsageError

R = TypeVar("R")

SCENES = Path("out/scenes")
"""Where generated inputs go when none are given."""
SCENE_COUNT = 8
SCENES_KIND = "labels"
SHARDS = Path("shards")
"""Where `cocos prepare` writes when it is not told."""
VIA = ("auto", "condition", "photo")
"""What inputs may be matched by; see `_as_photos`."""


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """What the user asked for; None where a default is to be found."""

    inputs: str | None = None
    exemplar: str | None = None
    weights: Path | None = None
    pairs: str = "cycle"
    layout: str | None = None
    exemplar_condition: Path | None = None
    colors: Path | None = None
    size: str | None = None
    match_size: int | None = None
    """Cells of the longer side, where matching is done at a smaller size."""
    ignore_label: int | None = 255
    seed: int = 0
    null: bool = False
    device: str = "auto"
    precision: str = "auto"
    compiled: bool = False
    batch_size: int | None = None
    draws: bool = True
    """Whether the generator runs."""
    via: str = "condition"
    """What inputs are matched by, one of `VIA`."""
    input_condition: Path | None = None
    """Where the conditions of inputs that are photos are, for networks that take both."""
    dry_run: bool = False
    """Nothing is written, so scenes are named and not generated."""


@dataclass
class RunPlan(Generic[R]):
    """Everything resolved: a network, what it reads, and how."""

    weights: Weights
    reader: R
    device: torch.device
    precision: str
    batch_size: int
    memory: float
    """Peak bytes that it will about take."""
    settings: dict[str, Any]
    """What decides the results."""
    defaults: list[tuple[str, str, str]] = field(default_factory=list)
    """(what, value, flag) of each default that was taken."""
    compiled: bool = False
    """Whether the networks are to be compiled."""

    @property
    def record(self) -> dict[str, Any]:
        """What is written beside the settings: versions, and how the run was made."""
        return {
            "cocos": cocoscli.__version__,
            "torch": torch.__version__,
            "python": sys.version.split()[0],
            "device": str(self.device),
            "batch_size": self.batch_size,
            "provenance": {k: str(v) for k, v in self.weights.model.provenance.items()},
        }


PairPlan = RunPlan[PairReader]


def plan_pairs(options: PairOptions) -> PairPlan:
    """Resolve options, cheap checks first. Raises CocosError and UsageError."""
    if options.exemplar is None:
        raise UsageError("no exemplar.", "Give --exemplar PHOTO or a folder of photos.")
    if options.exemplar == "":
        raise UsageError("--exemplar is empty.", "Give a photo or a folder of photos.")
    defaults: list[tuple[str, str, str]] = []
    device = resolve_device(options.device)
    check_precision(options.precision, device)
    if options.size is not None:
        parse_size(options.size)
    layout_name = options.layout
    if layout_name is not None and layout_name not in LAYOUTS:
        raise UsageError(f"--layout {layout_name}: expected one of {', '.join(LAYOUTS)}.")
    if options.via not in VIA:
        raise UsageError(f"--via {options.via}: expected one of {', '.join(VIA)}.")
    if not exists(place(options.exemplar)):
        find_exemplars(options.exemplar, LAYOUTS["edges"])  # says so before weights are read
    weights = find_weights(options, device, defaults)
    model = weights.model
    precision = resolve_precision(options.precision, device, model.config.width)
    compiled = wanted(options.compiled, device, defaults)
    kind = model.condition.kind
    layout = LAYOUTS[layout_name or matching_layout(kind, LAYOUTS)]
    if options.inputs and is_folder(place(options.inputs)) and not is_shards(options.inputs):
        layout = layout.at(place(options.inputs))
    root, names = find_exemplars(options.exemplar, layout)
    check_layout(layout, kind, model.config)
    size_text = options.size or str(model.condition.size)
    size = parse_size(size_text)
    as_photos = _as_photos(options, layout, model.config.needs_exemplar_input)
    if options.via == "auto":
        defaults.append(("via", "photo" if as_photos else "condition", "--via"))
    listed = LAYOUTS["edges"] if as_photos else layout
    inputs = _inputs(options, listed, model.condition.size, defaults)
    colors = read_color_table(options.colors) if options.colors else None
    conditions = ConditionReader(layout, model.config.channels, options.ignore_label, colors)
    exemplars = Exemplars(
        root=root, names=names, reader=conditions, given=options.exemplar_condition, size=size,
        with_condition=model.config.needs_exemplar_input, match_size=options.match_size,
    )  # fmt: skip
    if exemplars.with_condition:
        exemplars.item(0)  # the first missing condition is said before anything runs
    if as_photos and options.pairs == "nearest" and not exemplars.with_condition:
        raise UsageError(
            "--pairs nearest compares label maps, and --via photo reads none of INPUTS.",
            "Give --pairs cycle, random, all or a CSV file, or --via condition.",
        )
    reader = PairReader(
        inputs, exemplars, _pairing(options, inputs, exemplars), conditions, size,
        as_photos=as_photos, input_condition=options.input_condition,
        match_size=options.match_size,
    )  # fmt: skip
    if as_photos and exemplars.with_condition and isinstance(inputs, Inputs):
        _check_input_condition(reader)
    batch_size, memory = fitting_batch(options.batch_size, size, model, device, draws=options.draws)
    settings = {
        "inputs": str(inputs.root), "exemplar": str(absolute(place(options.exemplar))),
        "exemplar_names": text_sha256("\0".join(names)), "pairs": content(options.pairs),
        "weights": weights.sha256 or weights.name, "layout": layout.name, "size": size_text,
        "precision": precision, "seed": options.seed,
        "ignore_label": -1 if options.ignore_label is None else options.ignore_label,
        "exemplar_condition": str(options.exemplar_condition or ""),
        "colors": content(str(options.colors or "")),
    }  # fmt: skip
    settings |= match_setting(options.match_size) | compile_setting(compiled)
    return PairPlan(
        weights, reader, device, precision, batch_size, memory, settings, defaults, compiled
    )


def compile_setting(compiled: bool) -> dict[str, Any]:
    """Whether the networks are compiled, which rounds otherwise, in a run's settings: where it is
    so."""
    return {"compiled": True} if compiled else {}


def match_setting(cells: int | None) -> dict[str, Any]:
    """`--match-size` in a run's settings: only where it is given, so that the settings of runs
    without it are what they were before there was one."""
    return {} if cells is None else {"match_size": cells}


def seen_size(size: Size | None, model: CoCosNet) -> Size:
    """The (width, height) that networks see of inputs of a size; of what the weights were trained
    at where each keeps its own."""
    width, height = size or (model.condition.size,) * 2
    return multiple(width, up=True), multiple(height, up=True)


def fitting_batch(
    asked: int | None, size: Size | None, model: CoCosNet, device: torch.device, *, draws: bool
) -> tuple[int, float]:
    """Items computed at once, as asked for or by size and device, and the peak bytes that they
    take; `draws`: whether the generator runs. CocosError where the free memory cannot hold them."""
    seen = seen_size(size, model)
    batch_size = asked or default_batch_size(device, *seen)
    return batch_size, check_memory(model, seen, batch_size, device, draws=draws)


def find_weights(
    options: PairOptions, device: torch.device, defaults: list[tuple[str, str, str]]
) -> Weights:
    """Those given, or of the newest run that fits, or bundled; a default is added to `defaults`.
    Raises CocosError."""
    if options.weights is not None:
        return load_weights(options.weights, device)
    kind, channels = _seen(options)
    found = newest_weights(kind, channels) or bundled_weights(kind, channels)
    if found is None:
        planes = f" of {channels} planes" if channels else ""
        raise CocosError(
            f"no weights for {kind} conditions{planes}: no run in ./{RUNS} fits, and bundled are "
            f"{', '.join(bundled_conditions())}.",
            "Give --weights FILE, or train on prepared shards with `cocos train`.",
        )
    defaults.append(("weights", str(found), "--weights"))
    return load_weights(found, device)


def _seen(options: PairOptions) -> tuple[str, int | None]:
    """The kind and planes of the conditions, as far as INPUTS or `--layout` tell.

    Shards say both, photos that are no label maps have edges, and generated scenes stand in where
    nothing is given.
    """
    if options.layout:
        return LAYOUTS[options.layout].kind, None
    spec = options.inputs if options.inputs is not None else str(SHARDS)
    if is_shards(spec):
        values = read_index(place(spec)).values if is_folder(place(spec)) else {}
        return values.get("kind", SCENES_KIND), values.get("channels")
    if options.inputs is None:
        return SCENES_KIND, len(Label)
    path = place(options.inputs)
    photos = (not options.colors and _in_colour(path)) or _are_photos(path, LAYOUTS["labels"])
    return LAYOUTS["edges" if photos else "labels"].kind, None


def _are_photos(path: Path, layout: Layout) -> bool:
    """Whether a file or folder has photos and no items of a layout of label maps."""
    return not _has_items(layout, path) and _has_items(LAYOUTS["edges"], path)


def _inputs(
    options: PairOptions, layout: Layout, size: int, defaults: list[tuple[str, str, str]]
) -> Inputs | ShardInputs:
    if options.inputs is None and is_shards(str(SHARDS)):
        defaults.append(("inputs", f"the val samples of {SHARDS}", "INPUTS"))
        return open_shards(str(SHARDS))
    if options.inputs is not None and is_shards(options.inputs):
        return open_shards(options.inputs)
    if options.inputs is not None:
        return list_inputs(options.inputs, layout, sys.stdin.buffer, null=options.null)
    if not CONDITIONS[layout.kind].is_labels or options.weights is not None:
        raise UsageError("no inputs.", "Give a folder, a file, @list.txt or -.")
    defaults.append(("inputs", f"{SCENE_COUNT} generated scenes in {SCENES}", "INPUTS"))
    if options.dry_run:
        names = FileList(f"masks/{mask_name(i)}" for i in range(SCENE_COUNT))
        return Inputs(SCENES.absolute(), names)
    try:
        write_scenes(SCENES, SCENE_COUNT, 0, size=size)
    except OSError as error:
        raise storage_error(SCENES, error) from None
    return list_inputs(str(SCENES), layout, sys.stdin.buffer)


def _as_photos(options: PairOptions, layout: Layout, needs_condition: bool) -> bool:
    """Whether inputs are matched as photos; `auto` is decided by what INPUTS are.

    Label maps are conditions. Photos are matched as photos where the network takes them without a
    condition, for they say more than the edges or joints that the layout would make of them.
    Samples of shards, which hold both, are matched by their conditions, as `cocos translate` does.
    """
    if options.via != "auto":
        return options.via == "photo"
    if options.inputs is None or is_shards(options.inputs):
        return False
    if not layout.items_are_labels:
        return not needs_condition
    return _are_photos(place(options.inputs), layout)


def _in_colour(path: Path) -> bool:
    """Whether a file, or the first picture of a folder, has colours and so no class ids."""
    try:
        first = path if is_file(path) else next(iter(LAYOUTS["edges"].walk(path)), None)
        return first is not None and is_colour(first)
    except CocosError:
        return False


def _has_items(layout: Layout, path: Path) -> bool:
    """Whether a file is an item of a layout by its name, or a folder holds one."""
    if is_file(path):
        return layout.is_item(path, path.parent)
    try:
        return any(True for _ in layout.walk(path))
    except CocosError:
        return False


def _check_input_condition(reader: PairReader) -> None:
    """CocosError where the first input's condition is missing, before anything runs."""
    try:
        reader.input_item(0)
    except BadInput as error:
        raise CocosError(
            f"{error.message} These weights mix conditions into photos, so they match photos only "
            "with those of both.",
            "Give --input-condition FILE or FOLDER, or weights that mix none in "
            "(`cocos weights info` tells).",
        ) from None


def content(name: str) -> str:
    """A setting that may be a file: its name and hash, so that an edited file is another one."""
    return f"{name} (sha256 {file_sha256(Path(name))[:16]})" if os.path.isfile(name) else name


def content_name(setting: str) -> str:
    """The name that `content` made a setting of."""
    return re.sub(r" \(sha256 [0-9a-f]{16}\)$", "", setting)


def _pairing(options: PairOptions, inputs: Inputs | ShardInputs, exemplars: Exemplars) -> Pairing:
    count = len(exemplars)
    if options.pairs == "cycle":
        return Cycle(len(inputs), count)
    if options.pairs == "random":
        return Random(inputs.names, count, options.seed)
    if options.pairs == "all":
        return All(len(inputs), count)
    if options.pairs == "nearest":
        if not CONDITIONS[exemplars.reader.layout.kind].is_labels:
            name = exemplars.reader.layout.name
            raise UsageError(
                f"--pairs nearest compares label maps, and layout '{name}' has none.",
                "Give --pairs cycle, random, all or a CSV file.",
            )
        return Nearest(len(inputs), exemplars.label_maps())
    path = Path(options.pairs)
    if not path.is_file():
        raise UsageError(
            f"--pairs {options.pairs}: neither one of {', '.join(STRATEGIES)} nor a file."
        )
    exemplar_index = name_index(FileList(exemplars.names), exemplars.root)
    try:
        return read_pairs(path, name_index(inputs.names, inputs.root), exemplar_index)
    except UnicodeError as error:
        raise CocosError(f"{path}: not a text file ({error}).") from None
