"""The commands that `cocos demo` types, one after another."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cocoscli.engine.demo.material import PHOTO
from cocoscli.engine.evaluation.page import PAGE as EVALUATION
from cocoscli.report import INDEX

SIZE = 128
"""What the bundled weights were trained at."""


@dataclass(frozen=True)
class Step:
    """A command and what the page says of it."""

    title: str
    words: str
    arguments: tuple[str, ...]
    """What is typed after `cocos`; the first is the command's name, and its folder's."""
    page: str = INDEX
    """The command's own page, in its folder."""

    @property
    def name(self) -> str:
        return self.arguments[0]

    @property
    def typed(self) -> str:
        return shlex.join(["cocos", *self.arguments])

    def again(self) -> tuple[str, ...]:
        """What is typed to do it once more; an evaluation is measured anew in any case."""
        return self.arguments if self.page == EVALUATION else (*self.arguments, "--overwrite")

    @property
    def place(self) -> str:
        """Its page in the demo's folder."""
        return f"{self.name}/{self.page}"


def demo_steps(folder: Path, size: int) -> Iterator[Step]:
    """The steps in a demo's folder, whose material is there, for scenes of `size` pixels."""
    scenes, portraits = folder / "scenes", folder / "portraits"
    pairs = (str(scenes / "masks"), "--exemplar", str(scenes / "exemplars"), "--weights", "scenes")
    at_size = () if size == SIZE else ("--size", str(size))
    photo = f"exemplar-{PHOTO:04d}.png"

    def into(name: str) -> tuple[str, ...]:
        return "--output", str(folder / name)

    yield Step(
        "Masks become pictures in the style of a photo",
        "Each row is one mask, each column takes its colours, light and weather from the picture "
        "at its head. Nothing but the mask says where things are.",
        ("translate", *pairs, "--pairs", "all", *at_size, *into("translate")),
    )
    yield Step(
        "How close is that to the truth?",
        "Generated scenes have an exact answer: the same mask, painted in the exemplar's style. "
        "PSNR (decibels) and SSIM compare with it; Labels and PCK are shares of places and of "
        "known points that the match finds. More is better, and the rows below the results are "
        "simple ways that a network has to beat.",
        (
            "evaluate", *pairs, "--truth", str(scenes / "truth"), "--exemplar-labels",
            str(scenes / "exemplar_masks"), "--points", str(scenes / "points.csv"),
            "--baselines", "--features", "none", *at_size, *into("evaluate"),
        ),
        EVALUATION,
    )  # fmt: skip
    yield Step(
        "Every place knows where it comes from",
        "The network first finds, for each place of the mask, the one in the exemplar that shows "
        "the same; the exemplar moved by these matches is what it paints from.",
        ("correspond", *pairs, *at_size, *into("correspond")),
    )
    yield Step(
        "Edit the mask, keep the photo",
        "Edits of one picture's mask. What was edited is drawn anew from the "
        "picture's own colours; everything else stays as it is.",
        (
            "edit", str(scenes / "exemplars" / photo), "--mask",
            str(scenes / "exemplar_masks" / photo), "--edited", str(folder / "edits"), "--keep",
            "--weights", "scenes", *at_size, *into("edit"),
        ),
    )  # fmt: skip
    yield Step(
        "Makeup, painted once and put on others",
        "Strokes painted on one portrait go to the places of other portraits that match.",
        (
            "makeup", "--source", str(portraits / "made-up.png"), "--layer",
            str(portraits / "strokes.png"), "--targets", str(portraits / "targets"),
            "--faces", "centred", "--weights", "faces", *into("makeup"),
        ),
    )  # fmt: skip
