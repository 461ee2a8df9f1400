"""The page of a blind ranking (the paper's user study, Figures 7 and 22), and its key.

index.html   one file, its pictures inside; it names neither runs nor files
key.json     which run is behind each letter: for the tally, not for those who sort
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cocoscli.data.conditions import preview
from cocoscli.data.encoding import encode_image
from cocoscli.data.wording import few, shown
from cocoscli.engine.evaluation.items import Row, read_result
from cocoscli.engine.evaluation.sources import Named
from cocoscli.engine.evaluation.subject import Subject, read_run
from cocoscli.engine.files import storage_error
from cocoscli.engine.gallery import thumb_name
from cocoscli.engine.manifest import digest
from cocoscli.engine.output import RUN
from cocoscli.errors import BadInput, CocosError, UsageError
from cocoscli.report import INDEX, render_page, write_whole

KEY = "key.json"
QUESTIONS = {
    "quality": "Which looks best? Sort by how real and free of faults they are.",
    "style": "Which is most like the exemplar? Sort by colours, light and textures.",
}
MOST = 26
"""Runs on one page: a letter each."""
Pairing = tuple[str, str]
"""An input and its exemplar, by their names in manifests."""


@dataclass(frozen=True)
class Run:
    """An output folder of `cocos translate`."""

    name: str
    """As the tally calls it."""
    folder: Path
    subject: Subject
    rows: dict[Pairing, Row]

    def result(self, pair: Pairing) -> np.ndarray:
        """(H,W,3) uint8. Raises BadInput."""
        return read_result(self.folder, self.rows[pair])


@dataclass(frozen=True)
class Task:
    """A pair as the page shows it: pictures (H,W,3) uint8, and the run of each letter."""

    pair: Pairing
    input: np.ndarray | None
    exemplar: np.ndarray
    results: list[np.ndarray]
    slots: list[int]

    @property
    def shown(self) -> dict[str, Any]:
        """What the script reads."""
        return {
            "input": None if self.input is None else _inlined(self.input),
            "exemplar": _inlined(self.exemplar),
            "results": list(map(_inlined, self.results)),
        }

    @property
    def key(self) -> dict[str, Any]:
        return {"input": self.pair[0], "exemplar": self.pair[1], "slots": self.slots}


@dataclass(frozen=True)
class Written:
    """What came of it."""

    page: Path
    tasks: int
    left_out: list[str]
    """Why pairs could not be shown."""


def open_runs(folders: Sequence[Path]) -> list[Run]:
    """Output folders by their names, or by their paths where names repeat. Raises CocosError."""
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UsageError("cocos rank: the same folder twice; expected different runs.")
    if not 2 <= len(folders) <= MOST:
        raise UsageError(
            f"cocos rank: {len(folders)} output folder{'s' * (len(folders) != 1)}; expected 2 to "
            f"{MOST}, of `cocos translate` over the same inputs."
        )
    short = [folder.resolve().name for folder in folders]
    names = short if len(set(short)) == len(short) else list(map(str, folders))
    return [_open(folder, name) for folder, name in zip(folders, names, strict=True)]


def _open(folder: Path, name: str) -> Run:
    if not (folder / RUN).is_file():
        raise CocosError(
            f"{shown(folder)}: no {RUN} in it.", "Give the --output of a run of `cocos translate`."
        )
    subject = read_run(folder, Named())
    rows = {(str(row["input"]), str(row["exemplar"])): row for row in subject.rows}
    return Run(name, folder, subject, rows)


def common_pairs(runs: Sequence[Run], seed: int) -> list[Pairing]:
    """The pairs of all runs, in an order drawn by the seed. Raises CocosError without any."""
    found = set.intersection(*(set(run.rows) for run in runs))
    if not found:
        inputs = set.intersection(*({pair[0] for pair in run.rows} for run in runs))
        told = (
            f"{len(inputs)} inputs in common ({few(sorted(map(shown, inputs)))}), none of them "
            "with the same exemplar"
            if inputs
            else f"no input in common ({', '.join(f'{r.name}: {len(r.rows)}' for r in runs)})"
        )
        raise CocosError(
            f"cocos rank: {told}.", "Translate the same inputs with the same --pairs and --seed."
        )
    return sorted(found, key=lambda pair: (digest(f"{seed}/{pair[0]}/{pair[1]}"), pair))


def write_rank(
    folder: Path,
    runs: Sequence[Run],
    count: int,
    seed: int,
    name: str | None,
    overwrite: bool,
) -> Written:
    """Write the page of `count` pairs, or of as many as there are, and its key.

    `name` is what the tally calls the images; None: the inputs' path.
    Raises CocosError, also where the folder holds another page and `overwrite` is not said.
    """
    tasks, left_out = _drawn(runs, count, seed)
    data = {
        "questions": [{"name": name, "words": words} for name, words in QUESTIONS.items()],
        "tasks": [task.shown for task in tasks],
    }
    key = {
        "dataset": name or str(runs[0].subject.settings["inputs"]),
        "runs": [run.name for run in runs],
        "questions": list(QUESTIONS),
        "seed": seed,
        "tasks": [task.key for task in tasks],
    }
    id = hashlib.sha256(json.dumps([data, key]).encode()).hexdigest()[:16]
    lead = "Sort the results of each task. Nobody is told which is whose; answers stay in this "
    page = render_page("rank.html", "Which is better?", {}, {"page": id, **data},
                       lead + "browser until you save them as a file.")  # fmt: skip
    try:
        _refuse_foreign(folder, id, overwrite)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / KEY, json.dumps({"page": id, **key}, indent=1) + "\n")
        write_whole(folder / INDEX, page)
    except OSError as error:
        raise storage_error(folder, error) from None
    return Written(folder / INDEX, len(tasks), left_out)


def _refuse_foreign(folder: Path, id: str, overwrite: bool) -> None:
    """CocosError where the folder holds other things: answers to a lost key cannot be counted."""
    if overwrite or not folder.exists() or not any(folder.iterdir()):
        return
    try:
        same = json.loads((folder / KEY).read_text("utf-8"))["page"] == id
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise CocosError(
            f"{shown(folder)}: not empty, and not this page.",
            "Choose another --output, or --overwrite: answers to a page that is there are lost.",
        )


def _drawn(runs: Sequence[Run], count: int, seed: int) -> tuple[list[Task], list[str]]:
    """The first pairs that can be shown, and why others cannot. CocosError where none can."""
    tasks: list[Task] = []
    left_out: list[str] = []
    for pair in common_pairs(runs, seed):
        if len(tasks) == count:
            break
        try:
            tasks.append(_task(runs, pair, seed))
        except BadInput as error:
            left_out.append(error.message)
    if not tasks:
        raise CocosError(
            f"cocos rank: none of the {len(left_out)} pairs can be shown; the first: {left_out[0]}",
            "Give the files back, or translate again.",
        )
    return tasks, left_out


def _task(runs: Sequence[Run], pair: Pairing, seed: int) -> Task:
    """A pair with its results in an order of its own. Raises BadInput."""
    rng = np.random.default_rng([seed, digest("/".join(pair))])
    slots = rng.permutation(len(runs)).tolist()
    results = [runs[i].result(pair) for i in slots]
    size = (results[0].shape[1], results[0].shape[0])
    exemplar = runs[0].subject.sources.exemplar(pair[1], size)
    return Task(pair, _input(runs, pair, size), exemplar, results, slots)


def _input(runs: Sequence[Run], pair: Pairing, size: tuple[int, int]) -> np.ndarray | None:
    """The picture of an input: its label map, or what a run's own page shows of it."""
    labels = runs[0].subject.sources.input_labels(pair[0], size)
    if labels is not None:
        return preview(labels[None], "labels")
    for run in runs:
        path = run.folder / thumb_name(str(run.rows[pair]["key"]), "input")
        if path.is_file():
            with Image.open(path) as picture:
                return np.asarray(picture.convert("RGB"))
    return None


def _inlined(pixels: np.ndarray) -> str:
    """A picture (H,W,3) uint8 as an address that holds it: whoever made it, as the same JPEG."""
    return "data:image/jpeg;base64," + base64.b64encode(encode_image(pixels, "jpg")).decode()
