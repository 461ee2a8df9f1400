"""The paper's ablations (Table 4; Figures 9, 18, 19): one term or choice taken out, all else equal.

    python benchmarks/ablation.py scenes OUT --shards SHARDS --features VGG
    python benchmarks/ablation.py facades OUT --shards SHARDS --features VGG --dataset cmp_facades

Trains every variant for the same number of steps (`cocos train --set ...`), translates held-out
pairs with it and measures them; then OUT/table.md and OUT/panels.jpg. Run again, it goes on where
it stopped and redoes nothing. Two seeds of the full network tell how far chance alone goes.
SHARDS are prepared from 64 px (`--generate 1000 --size 64 --format png`) or 72 px (`--size 72`).
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw

from cocoscli.app import app
from cocoscli.data.points import read_points
from cocoscli.data.scenes import mask_name, render, save_image, write_scenes
from cocoscli.data.scenes.layout import Layout
from cocoscli.data.scenes.style import Style
from cocoscli.engine.evaluation.diversity import Diversity
from cocoscli.engine.evaluation.items import ResultReader
from cocoscli.engine.evaluation.judge import CLASS_COLOURS, RESULT, UNMOVED, Judge
from cocoscli.engine.evaluation.matching import Matcher
from cocoscli.engine.evaluation.sources import Named
from cocoscli.engine.evaluation.store import FeatureStore, default_path
from cocoscli.engine.evaluation.subject import read_run
from cocoscli.engine.features import Features, resolve_features
from cocoscli.engine.gallery import thumb_name
from cocoscli.engine.models import load_weights
from cocoscli.engine.parallel import cut
from cocoscli.errors import CocosError
from cocoscli.metrics.quality import FIGURES
from cocoscli.metrics.summary import Mean

CPU = torch.device("cpu")
SIDE = 64
BATCH = 8
HELD_OUT = 50_000
"""The first seed of the held-out scenes; those of the shards count from 0."""
SHOWN = (0, 5)
"""The pairs that panels show."""

BASE = (
    'model.preset="celebahq-mask"', "model.mask_mix=false", "model.exemplar_mask=false",
    "model.width=8", "model.hidden=16", "model.match_kernel=1", f"condition.size={SIDE}",
    "losses.perc=0.001", "losses.context=10", "losses.adversarial=10",
    "losses.discriminator_features=10", "losses.reg=1", "losses.mask=100", "losses.warp_self=1000",
    "losses.pixels=0", "losses.points=0", "data.same_style=false", "data.exemplars.first=0.5",
    "data.exemplars.last=0.2", "data.exemplars.any=0", "data.exemplars.pseudo=0.3",
    "optimiser.lr=1e-4", "optimiser.beta1=0", "optimiser.beta2=0.9", "optimiser.eps=1e-3",
    "schedule.ema=0.98", "schedule.batch_size=2", "schedule.mask_epochs=0",
)  # fmt: skip
"""The full network: the release's form without exemplar masks, small; spatial normalisation is
defined for descriptors of one cell only."""


class Variant(NamedTuple):
    """What is trained."""

    title: str
    change: str = ""
    """The one key that differs from `BASE`."""
    seed: int = 0


VARIANTS = {
    "full": Variant("full"),
    "full-again": Variant("full, another seed", seed=1),
    "no-domain": Variant("without domain (Eq. 9)", "losses.domain=0"),
    "no-feat": Variant("without feat (Eq. 8)", "losses.feat=0"),
    "no-perc": Variant("without perc (Eq. 10)", "losses.perc=0"),
    "no-context": Variant("without context (Eq. 11)", "losses.context=0"),
    "no-reg": Variant("without reg (Eq. 12)", "losses.reg=0"),
    "batch-norm": Variant("batch norm (Fig. 18)", 'model.norm="batch"'),
    "spatial": Variant("spatial normalisation (Fig. 19)", 'model.match_norm="spatial"'),
}
TWINS = ("full", "full-again")
BASELINES = (CLASS_COLOURS, UNMOVED)
Rows = dict[str, dict[str, float]]


class HeldOut(NamedTuple):
    """Pairs that no training saw."""

    inputs: Path
    exemplars: Path
    named: Named
    points: Path | None = None
    """Points of inputs and exemplars that show the same."""


def scene_pairs(folder: Path, count: int) -> HeldOut:
    """Generated scenes: masks, exemplars, the exact translations, and photos in a third style."""
    files = write_scenes(folder, count, count, size=SIDE, seed=HELD_OUT)
    for i in range(count):
        layout, style = Layout.sample(HELD_OUT + i), Style.sample(HELD_OUT + count + i)
        save_image(render(layout, style, SIDE).image, folder / "images" / mask_name(i))
    return HeldOut(
        folder / "masks", folder / "exemplars", Named(truth=folder / "truth"), files.points
    )


def facade_pairs(dataset: Path) -> HeldOut:
    return HeldOut(dataset / "masks" / "val", dataset / "images" / "test", Named())


class Ablation:
    """The variants of one set of images, each in files of its own below `output`."""

    def __init__(self, args: argparse.Namespace, held_out: HeldOut) -> None:
        self.args, self.held_out, self.output = args, held_out, args.output

    def measured(self, name: str) -> Rows:
        """A variant's rows of figures; trained, translated and measured where that is not done."""
        path = self.output / "figures" / f"{name}.json"
        if path.exists():
            found = json.loads(path.read_text("utf-8"))
            if found["steps"] == self.args.steps:
                return found["rows"]
        run, out = self.output / "runs" / name, self.output / "out" / name
        self.train(VARIANTS[name], run)
        self.translate(run / "weights.safetensors", out)
        features = resolve_features(self.args.features, CPU)
        first = name == TWINS[0]
        rows = measure(out, run / "weights.safetensors", features, self.held_out, baselines=first)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"steps": self.args.steps, "rows": rows}, indent=1) + "\n")
        return rows

    def train(self, variant: Variant, run: Path) -> None:
        recipe = self.args.set
        changes = [*BASE, *self.args.changes, *filter(None, [variant.change])]
        cocos(
            "train", "--recipe", recipe, "--data", self.args.shards, "--output", run,
            *(word for change in changes for word in ("--set", change)),
            "--init", "none", "--features", self.args.features, "--seed", variant.seed,
            "--max-steps", self.args.steps, "--max-time", 0, "--save-every", 2,
            "--preview-every", 10_000, "--val-samples", 8, "--workers", 0,
            "--precision", self.args.precision,
        )  # fmt: skip

    def translate(self, weights: Path, out: Path) -> None:
        cocos(
            "translate", self.held_out.inputs, "--exemplar", self.held_out.exemplars,
            "--layout", "labels", "--weights", weights, "--output", out, "--size", SIDE,
            "--limit", self.args.pairs, "--batch-size", BATCH, "--workers", 0,
            "--precision", "fp32", "--overwrite",
        )  # fmt: skip


def cocos(*words: object) -> None:
    """A command, to its end, in this process. SystemExit where it fails."""
    try:
        code = app([str(word) for word in words], standalone_mode=False)
    except CocosError as error:
        raise SystemExit(f"cocos {words[0]}: {error}") from None
    if code:
        raise SystemExit(f"cocos {words[0]}: exit status {code}")


@torch.inference_mode()
def measure(
    out: Path, weights: Path, features: Features, held_out: HeldOut, *, baselines: bool
) -> Rows:
    """The mean figures of the pairs of an output folder, and of `BASELINES` where asked for.

    Those of whole sets are left out: they would say little of pictures of 64 px.
    """
    subject = read_run(out, held_out.named)
    points = read_points(held_out.points) if held_out.points else None
    matcher = Matcher.of(load_weights(weights, CPU), subject.sources, subject.settings, points, CPU,
                         draws=False, compares=False)  # fmt: skip
    reader = ResultReader(out, subject.rows, subject.sources, matches=matcher.reader)
    inputs = [str(row["input"]) for row in subject.rows]
    store = FeatureStore(default_path())
    diversity = Diversity(inputs)
    judge = Judge(features, CPU, subject.sources.ignore, baselines, diversity, matcher, store)
    found: dict[str, dict[str, list[torch.Tensor]]] = defaultdict(lambda: defaultdict(list))
    for batch in cut(range(len(reader)), BATCH):
        for measured in judge.measure([reader.load(k) for k in batch]):
            for figure, values in measured.figures.items():
                found[measured.row][figure].append(values)
    store.save()
    return {
        row: {figure: Mean.of(torch.cat(parts)).value for figure, parts in found[row].items()}
        for row in (RESULT, *BASELINES) if row in found
    }  # fmt: skip


def table(rows: dict[str, Rows]) -> str:
    """Markdown: a line a variant, with a mark where chance (the two full ones) does not reach.

    `+` is better than both by more than they differ, `-` worse.
    """
    twins = [rows[name][RESULT] for name in TWINS]
    names = [figure for figure in FIGURES if figure in twins[0] and figure != "copy_score"]
    heads = [f"{FIGURES[n].title} {'↑' if FIGURES[n].better == 'higher' else '↓'}" for n in names]
    lines = [["", *heads], ["---"] * (len(heads) + 1)]
    for name, found in rows.items():
        own = found[RESULT]
        marks = ["" if name in TWINS else beyond(n, own[n], [t[n] for t in twins]) for n in names]
        cells = (f"{number(own[n], n)}{mark}" for n, mark in zip(names, marks, strict=True))
        lines.append([VARIANTS[name].title, *cells])
    for row in BASELINES:
        own = rows[TWINS[0]][row]
        cells = (number(own[n], n) if n in own else "" for n in names)
        lines.append([f"*{row}*", *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def beyond(figure: str, value: float, twins: list[float]) -> str:
    """Whether a figure lies further from both of the twins than they do from each other."""
    noise = abs(twins[0] - twins[1])
    above, below = value > max(twins) + noise, value < min(twins) - noise
    if not (above or below):
        return ""
    return " +" if above == (FIGURES[figure].better == "higher") else " -"


def number(value: float, figure: str) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}" if figure == "psnr" else f"{value:.3f}"


def panels(output: Path, names: list[str], exemplars: Path) -> Image.Image:
    """A row a variant: input, exemplar, dense warp and output of the pairs `SHOWN`."""
    scale, words, gap = 2, 210, 12
    side = SIDE * scale
    width = words + len(SHOWN) * (4 * side + gap)
    sheet = Image.new("RGB", (width, side * len(names)), "white")
    draw = ImageDraw.Draw(sheet)
    for y, name in enumerate(names):
        draw.text((6, y * side + side // 2 - 8), VARIANTS[name].title, "black", font_size=13)
        out = output / "out" / name
        results = read_run(out, Named()).rows
        for x, row in enumerate(results[k] for k in SHOWN):
            files = (
                out / thumb_name(row["key"], "input"), exemplars / row["exemplar"],
                out / thumb_name(row["key"], "warp"), out / row["output"],
            )  # fmt: skip
            for i, file in enumerate(files):
                with Image.open(file) as picture:
                    cell = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
                sheet.paste(cell, (words + x * (4 * side + gap) + i * side, y * side))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", choices=("scenes", "facades"))
    parser.add_argument("output", type=Path)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--features", type=Path, required=True, help="VGG-16 or VGG-19")
    parser.add_argument("--dataset", type=Path, help="the folder of cmp_facades")
    parser.add_argument("--steps", type=int, default=300, help="of batches of 2")
    parser.add_argument("--pairs", type=int, default=64, help="held-out pairs")
    parser.add_argument("--precision", default="bf16", help="of training")
    args = parser.parse_args()
    if args.set == "facades" and args.dataset is None:
        parser.error("facades needs --dataset")
    args.output.mkdir(parents=True, exist_ok=True)
    args.changes = () if args.set == "scenes" else ("data.load=72",)
    held_out = (
        scene_pairs(args.output / "pairs", args.pairs)
        if args.set == "scenes"
        else facade_pairs(args.dataset)
    )
    ablation = Ablation(args, held_out)
    rows = {name: ablation.measured(name) for name in VARIANTS}
    (args.output / "table.md").write_text(table(rows), "utf-8")
    panels(args.output, list(VARIANTS), held_out.exemplars).save(
        args.output / "panels.jpg", quality=85
    )
    print(table(rows))


if __name__ == "__main__":
    main()
