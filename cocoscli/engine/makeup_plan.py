"""From options to work: what `cocos makeup` resolves first."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cocoscli.data.faces import available
from cocoscli.data.filelist import FileList
from cocoscli.data.inputs import Inputs, list_inputs
from cocoscli.data.layouts import LAYOUTS
from cocoscli.data.makeup import BLENDS
from cocoscli.data.makeup_regions import parse_regions
from cocoscli.data.portraits import FACES
from cocoscli.data.reading import ConditionReader
from cocoscli.data.wording import shown
from cocoscli.engine.alignment import VIA, Aligner
from cocoscli.engine.compiling import wanted
from cocoscli.engine.device import check_precision, resolve_device, resolve_precision
from cocoscli.engine.makeup_items import MakeupReader
from cocoscli.engine.makeup_parts import PartFinder
from cocoscli.engine.makeup_sources import Source, SourceFiles, read_source
from cocoscli.engine.models import Weights, face_weights, load_weights
from cocoscli.engine.network import Computing, Network
from cocoscli.engine.plan import RunPlan, compile_setting, content, fitting_batch
from cocoscli.errors import CocosError, UsageError


@dataclass(frozen=True, kw_only=True)
class MakeupOptions:
    """What the user asked for; None where a default is to be found."""

    sources: Sequence[Path]
    targets: str
    layers: Sequence[Path] = ()
    bares: Sequence[Path] = ()
    parts: Sequence[Path] = ()
    regions: Sequence[str] = ()
    weights: Path | None = None
    strength: float = 1.0
    blend: str = "multiply"
    via: str = "auto"
    faces: str = "auto"
    draws: bool = False
    null: bool = False
    device: str = "auto"
    precision: str = "auto"
    compiled: bool = False
    batch_size: int | None = None


@dataclass
class MakeupPlan(RunPlan[MakeupReader]):
    """And the sources, the way that targets are matched by, and targets that are left out."""

    sources: list[Source] = field(default_factory=list)
    via: str = "photo"
    left_out: list[Path] = field(default_factory=list)


def plan_makeup(options: MakeupOptions) -> MakeupPlan:
    """Resolve options, cheap checks first. Raises CocosError and UsageError."""
    device = resolve_device(options.device)
    check_precision(options.precision, device)
    for flag, value, known in (
        ("--blend", options.blend, BLENDS), ("--via", options.via, VIA),
        ("--faces", options.faces, FACES),
    ):  # fmt: skip
        if value not in known:
            raise UsageError(f"{flag} {value}: expected one of {', '.join(known)}.")
    files = source_files(options)
    targets, left_out = _targets(options, files)
    defaults: list[tuple[str, str, str]] = []
    faces = options.faces
    if faces == "auto":
        faces = "largest" if available() else "centred"
        why = "the largest of each" if available() else "centred portraits: no extra [faces]"
        defaults.append(("faces", why, "--faces"))
    weights = _weights(options, device, defaults)
    via = _via(options, weights)
    if options.via == "auto":
        defaults.append(("via", via, "--via"))
    model = weights.model
    precision = resolve_precision(options.precision, device, model.config.width)
    size = (model.condition.size,) * 2
    conditions = ConditionReader(LAYOUTS["edges"], model.config.channels)
    compiled = wanted(options.compiled, device, defaults)
    computing = Computing(device=device, precision=precision, compiled=compiled)
    network = Network(model, conditions, computing, varied=False)
    finder = PartFinder(Aligner(network, via), extra=faces != "centred")
    if not finder.extra and any(each.needs_parts for each in files):
        defaults.append(("parts", "by match with a known face, roughly", "--parts"))
    sources = [read_source(each, options.blend, faces, finder) for each in files]
    reader = MakeupReader(targets, faces, conditions, size)
    batch_size, memory = fitting_batch(options.batch_size, size, model, device, draws=options.draws)
    settings = {
        "targets": str(targets.root), "weights": weights.sha256, "blend": options.blend,
        "strength": options.strength, "via": via, "faces": faces, "network": options.draws,
        "size": str(model.condition.size), "precision": precision,
        **{f"source {n}": _setting(each) for n, each in enumerate(files)},
        **compile_setting(compiled),
    }  # fmt: skip
    return MakeupPlan(
        weights, reader, device, precision, batch_size, memory, settings, defaults, compiled,
        sources=sources, via=via, left_out=left_out,
    )  # fmt: skip


def source_files(options: MakeupOptions) -> list[SourceFiles]:
    """The sources, each with what belongs to it: options that repeat go by their order."""
    count = len(options.sources)
    if not count:
        raise UsageError("no source.", "Give --source PORTRAIT, the one that wears the makeup.")
    if options.layers and options.bares:
        raise UsageError("--layer and --bare: the makeup is given twice.", "Give one of them.")
    files = {"--layer": options.layers, "--bare": options.bares, "--parts": options.parts}
    given: dict[str, Sequence[object]] = {**files, "--regions": options.regions}
    for flag, values in given.items():
        if len(values) not in (0, count):
            raise UsageError(
                f"{flag} is given {len(values)} times, --source {count} times.",
                f"Give each source its {flag}, in the same order, or none.",
            )
    for flag, paths in {"--source": options.sources, **files}.items():
        for path in paths:
            if not os.path.isfile(path):
                raise CocosError(f"{flag} {shown(str(path))}: no such file.")
    return [
        SourceFiles(
            photo=options.sources[n],
            layer=options.layers[n] if options.layers else None,
            bare=options.bares[n] if options.bares else None,
            parts=options.parts[n] if options.parts else None,
            regions=parse_regions(options.regions[n]) if options.regions else None,
        )
        for n in range(count)
    ]


def _targets(options: MakeupOptions, files: Sequence[SourceFiles]) -> tuple[Inputs, list[Path]]:
    """The targets without the files that sources are made of, and those that this left out."""
    found = list_inputs(options.targets, LAYOUTS["edges"], sys.stdin.buffer, null=options.null)
    own = {os.path.realpath(path) for each in files for path in each.all}
    paths = [found.path(i) for i in range(len(found))]
    left_out = [path for path in paths if os.path.realpath(path) in own]
    if not left_out:
        return found, []
    kept = FileList(found.key(i) for i, path in enumerate(paths) if path not in left_out)
    if not len(kept):
        raise CocosError(
            f"--targets {options.targets}: nothing in it but the source's own files.",
            "Give other portraits.",
        )
    return Inputs(found.root, kept), left_out


def _weights(
    options: MakeupOptions, device: torch.device, defaults: list[tuple[str, str, str]]
) -> Weights:
    if options.weights is not None:
        return load_weights(options.weights, device)
    path = face_weights()
    if path is None:
        raise CocosError("no weights of faces are bundled.", "Give --weights FILE.")
    defaults.append(("weights", str(path), "--weights"))
    return load_weights(path, device)


def _via(options: MakeupOptions, weights: Weights) -> str:
    """What targets are matched by. UsageError where the weights do not take that."""
    model = weights.model
    photos, edges = not model.config.needs_exemplar_input, model.condition.kind == "edges"
    if options.draws and not edges:
        raise UsageError(
            f"--render network draws from edges, and the weights take {model.condition.kind}.",
            "Give weights of edges (`cocos weights info` tells).",
        )
    if not photos:
        raise UsageError(
            "these weights mix conditions into photos, and targets have none.",
            "Give weights that mix none in (`cocos weights info` tells).",
        )
    if options.via == "auto":
        return "photo"
    if options.via != "photo" and not edges:
        raise UsageError(
            f"--via {options.via} takes targets' edges, and the weights {model.condition.kind}.",
            "Give --via photo, or weights of edges.",
        )
    return options.via


def _setting(files: SourceFiles) -> str:
    """A source in a run's settings: its files with their hashes, and its regions."""
    names = [content(str(path)) for path in files.all]
    return "; ".join([*names, *sorted(files.regions or ())])
