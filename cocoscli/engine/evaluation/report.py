"""What an evaluation has found, as the values of `evaluation.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cocoscli.data.wording import one_line, shown
from cocoscli.engine.evaluation.judge import RESULT
from cocoscli.engine.files import storage_error
from cocoscli.errors import CocosError
from cocoscli.metrics import paper
from cocoscli.metrics.bootstrap import paired_difference
from cocoscli.metrics.quality import FIGURES, PCK, SETS
from cocoscli.metrics.summary import Mean, worst_end
from cocoscli.report import write_whole

JSON = "evaluation.json"
Report = dict[str, Any]


def summarise(name: str, values: np.ndarray) -> dict[str, float | int | None]:
    """A figure's mean, what the worst twentieth falls short of, and how many pairs have one."""
    mean = Mean.of(torch.from_numpy(values))
    low = worst_end(values, FIGURES[name].better)
    return {"mean": finite(mean.value), "worst": finite(low), "pairs": mean.used,
            "left_out": mean.left_out}  # fmt: skip


def finite(value: float) -> float | None:
    """For JSON, which knows no NaN."""
    return round(value, 6) if math.isfinite(value) else None


def table(
    report: Report, wanted: Sequence[str] = (*FIGURES, *SETS)
) -> tuple[list[str], list[tuple[str, ...]]]:
    """Heads and lines: a row an evaluated set, a column a wanted figure that any of them has."""
    rows = report["rows"]
    names = [name for name in wanted if any(name in row for row in rows.values())]
    titles = {**FIGURES, **SETS}
    lines = [(row, *(_cell(columns.get(n), n) for n in names)) for row, columns in rows.items()]
    worst = [_worst(rows[RESULT].get(name), name) for name in names]
    if any(worst):
        lines.insert(1, ("  worst 5 %", *worst))
    return ["", *(titles[name].title for name in names)], lines


def _cell(value: Any, name: str) -> str:
    if isinstance(value, Mapping):
        value = value["mean"]
    return "-" if value is None else number(value, name)


def _worst(value: Any, name: str) -> str:
    return _cell(value["worst"], name) if isinstance(value, Mapping) else ""


def number(value: float, name: str) -> str:
    """A figure as tables print it."""
    return f"{value:.2f}" if name in SETS or name == "psnr" else f"{value:.3f}"


def read_report(folder: Path) -> Report:
    """The report of an output folder that was evaluated before. Raises CocosError."""
    path = folder / JSON if folder.is_dir() else folder
    try:
        report = json.loads(path.read_text("utf-8"))
        if not isinstance(report["items"], list) or not isinstance(report["features"], dict):
            raise ValueError("no items in it")
        return dict(report)
    except FileNotFoundError:
        raise CocosError(
            f"{shown(path)}: no such file.", f"Run `cocos evaluate {shown(folder)}` first."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CocosError(
            f"{shown(path)}: no report of `cocos evaluate` ({one_line(error)}).",
            "Evaluate that folder again.",
        ) from None


def check_comparable(features: Mapping[str, str], keys: Collection[str], other: Report) -> None:
    """CocosError where figures by these features, of these pairs, do not compare with another's."""
    theirs = other["features"]
    if any(features[what] != theirs.get(what) for what in ("sha256", "name")):
        raise CocosError(
            f"--against: measured with other features ({theirs.get('name')}; here "
            f"{features['name']}).",
            "Evaluate both with the same --features.",
        )
    if not any(item["key"] in keys for item in other["items"]):
        raise CocosError("--against: no pair in common.", "Compare runs over the same inputs.")


def compare(report: Report, other: Report, seed: int) -> dict[str, dict[str, Any]]:
    """The differences to another run over the pairs of both, by figure."""
    theirs = {item["key"]: item for item in other["items"]}
    both = [(item, theirs[item["key"]]) for item in report["items"] if item["key"] in theirs]
    found: dict[str, dict[str, Any]] = {}
    for name in FIGURES:
        one, two = (_column([pair[i] for pair in both], name) for i in range(2))
        if difference := paired_difference(one, two, seed):
            found[name] = {**difference._asdict(), "better": FIGURES[name].better}
    return found


def _column(items: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([np.nan if (v := item.get(name)) is None else v for item in items], float)


def facts(report: Report) -> dict[str, str]:
    """How the figures were measured, in words."""
    result = report["rows"][RESULT]
    pooled = (f"{result[n]['pooled']:.3f} within {alpha}" for n, alpha in PCK.items()
              if n in result and result[n]["pooled"] is not None)  # fmt: skip
    return {
        **({"points, pooled": words} if (words := ", ".join(pooled)) else {}),
        "pairs by": _extractor(report["features"]),
        "sets by": _extractor(report["set_features"]),
        "images": f"{report['images']} results ({report['format']}), {report['real_images']} real "
        f"photos ({report['real_formats'] or 'none'})",
        "resized": f"{report['resize']}; sets at 256x256, pairs at the results' own size",
    }


def _extractor(features: Mapping[str, str]) -> str:
    sha256 = features["sha256"]
    return f"{features['name']}{f' (sha256 {sha256[:16]})' if sha256 else ''}"


def write_report(folder: Path, report: Report) -> None:
    """`evaluation.json` in a folder. Raises CocosError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / JSON, json.dumps(report, indent=1) + "\n")
    except OSError as error:
        raise storage_error(folder, error) from None


def paper_table(report: Report) -> tuple[list[str], list[tuple[str, ...]]]:
    """Heads and lines: these results, then the paper's printed figures, image set by image set."""
    titles = {**FIGURES, **SETS}
    own = report["rows"]
    lines = [("here", row, *(_cell(columns.get(n), n) for n in paper.COLUMNS))
             for row, columns in own.items()]  # fmt: skip
    for images, method, figures in paper.printed():
        cells = (number(figures[n], n) if n in figures else "" for n in paper.COLUMNS)
        lines.append((images, method, *cells))
    return ["images", "method", *(titles[n].title for n in paper.COLUMNS)], lines


def paper_differences(report: Report) -> dict[str, str]:
    """Where these figures were measured otherwise than the paper's."""
    translation = report["translation"]
    return {
        "image set": f"{report['images']} results of {report['inputs']}; the paper's are the test "
        "images of the sets named",
        "features": f"{report['features']['name']}; the paper: {paper.FEATURES}",
        "size": f"{translation['size']}; the paper: {paper.SIZE}",
        "exemplars": f"--pairs {translation['pairs']}; the paper: {paper.PAIRS}",
        "FID, SWD": "blank where the paper's Table 1 is not legible; they compare only between "
        f"sets of one count and file format (here {report['format']})",
    }


def difference_table(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Lines of `against`: a figure, the difference with its interval, and which run is better."""
    lines: list[tuple[str, ...]] = []
    for name, entry in found.items():
        sign = 1 if entry["better"] == "higher" else -1
        low, high = sorted(sign * entry[end] for end in ("low", "high"))
        verdict = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
        interval = f"{entry['low']:+.4f} to {entry['high']:+.4f}"
        lines.append((FIGURES[name].title, f"{entry['mean']:+.4f}", interval,
                      str(entry["pairs"]), verdict))  # fmt: skip
    return lines
