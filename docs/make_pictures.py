"""Draw docs/pictures/ anew by the bundled weights: for the README, docs/limits.md and
docs/resolution.md.

python docs/make_pictures.py

Shown are generated scenes, and the portrait inside scikit-image (Eileen Collins, NASA, public
domain).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw
from skimage import data

from cocoscli.app import app
from cocoscli.data.scenes import Layout, Scene, Style, render, save_image, save_mask
from cocoscli.data.scenes.edits import without
from cocoscli.data.scenes.items import Kind

PICTURES = Path(__file__).with_name("pictures")
SIDE, GAP = 128, 4
MASKS, STYLES = (0, 12, 18), (1, 2, 14, 21)
"""Seeds of layouts and of styles that are told apart at a glance."""
ELSEWHERE = 100_000
"""From those of inputs to those of exemplars, as `cocos demo` has them."""


def cocos(command: str, *arguments: object) -> None:
    app([command, *map(str, arguments)], standalone_mode=False)


def results(folder: Path) -> dict[tuple[str, str], Path]:
    """The results of a run by the stems of input and exemplar."""
    rows = map(json.loads, (folder / "manifest.jsonl").read_text("utf-8").splitlines())
    stems = ((Path(row["input"]).stem, Path(row["exemplar"]).stem, row) for row in rows)
    return {(input, exemplar): folder / row["output"] for input, exemplar, row in stems}


def sheet(rows: Sequence[Sequence[Path | np.ndarray | None]], name: str, side: int = SIDE) -> None:
    """Writes a table of square pictures; None leaves its place white."""
    columns = max(map(len, rows))
    page = Image.new("RGB", [n * (side + GAP) - GAP for n in (columns, len(rows))], "white")
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            if cell is not None:
                opened = Image.fromarray(cell) if isinstance(cell, np.ndarray) else Image.open(cell)
                shown = opened.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
                page.paste(shown, (x * (side + GAP), y * (side + GAP)))
    page.save(PICTURES / name, quality=90, optimize=True)


def heat(values: np.ndarray) -> np.ndarray:
    """(h,w) values from 0 to 1 -> (128,128,3) uint8: dark is 0, bright 1."""
    levels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    large = cv2.resize(levels, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return cv2.applyColorMap(large, cv2.COLORMAP_VIRIDIS)[..., ::-1].copy()


def draw_scenes(work: Path) -> None:
    """Every mask in every style: the README's first picture."""
    masks = [save_mask(seen(n).labels, work / f"masks/{n}.png") for n in MASKS]
    styles = [save_image(elsewhere(n), work / f"styles/{n}.png") for n in STYLES]
    cocos("translate", work / "masks", "--exemplar", work / "styles", "--pairs", "all",
          "--weights", "scenes", "--output", work / "scenes")  # fmt: skip
    found = results(work / "scenes")
    rows = [[mask, *(found[mask.stem, style.stem] for style in styles)] for mask in masks]
    sheet([[None, *styles], *rows], "scenes.jpg")


def seen(layout: int, style: int = 0, side: int = SIDE) -> Scene:
    return render(Layout.sample(layout), Style.sample(style), side)


def elsewhere(n: int, side: int = SIDE) -> np.ndarray:
    return render(Layout.sample(ELSEWHERE + n), Style.sample(n), side).image


def draw_edit(work: Path) -> None:
    """A photo, its mask, the mask without its houses, and what comes of it."""
    scene = seen(18, 21)
    emptied = render(without(Layout.sample(18), Kind.HOUSE), Style.sample(21), SIDE)
    photo = save_image(scene.image, work / "photo.png")
    mask = save_mask(scene.labels, work / "mask.png")
    edited = save_mask(emptied.labels, work / "edited.png")
    cocos("edit", photo, "--mask", mask, "--edited", edited, "--weights", "scenes",
          "--keep", "--output", work / "edit")  # fmt: skip
    sheet([[photo, mask, edited, work / "edit/edited.png.png"]], "edit.jpg")


def draw_makeup(work: Path) -> None:
    """Strokes on one portrait, and on the same person turned and in other light."""
    face = (95, 0, 355, 260)
    photo = Image.fromarray(data.astronaut())
    layer = Image.new("RGBA", photo.size)
    draw = ImageDraw.Draw(layer)
    lips = [(203, 140), (214, 138), (225, 141), (237, 138), (247, 139), (233, 153), (214, 152)]
    draw.polygon(lips, (190, 20, 60, 200))
    for lid in ((196, 92, 214, 99), (241, 94, 260, 101)):
        draw.ellipse(lid, (70, 60, 160, 150))
    source, strokes = work / "ref.png", work / "strokes.png"
    photo.crop(face).save(source)
    layer.crop(face).save(strokes)
    (work / "portraits").mkdir()
    turned = photo.rotate(-8, Image.Resampling.BICUBIC, center=(225, 120)).crop(face)
    turned.point(lambda v: int(0.8 * v)).save(work / "portraits/turned.png")
    cocos("makeup", "--source", source, "--layer", strokes, "--targets", work / "portraits",
          "--weights", "faces", "--output", work / "makeup")  # fmt: skip
    target, made = work / "portraits/turned.png", work / "makeup/turned.png.png"
    painted = Image.alpha_composite(Image.open(source).convert("RGBA"), Image.open(strokes))
    sheet([[np.asarray(painted.convert("RGB")), target, made]], "makeup.jpg")


def draw_limits(work: Path) -> None:
    """One-to-many, many-to-one and a class that the exemplar lacks (Appendix H)."""
    left, right = (render(Layout.sample(ELSEWHERE + 18), Style.sample(n), SIDE) for n in (18, 9))
    both = left.image.copy()
    both[:, SIDE // 2 :] = right.image[:, SIDE // 2 :]
    cases = {
        "one-to-many": (4, both),
        "many-to-one": (0, elsewhere(7)),
        "absent": (11, elsewhere(11)),
    }
    for name, (layout, exemplar) in cases.items():
        mask = save_mask(seen(layout).labels, work / f"{name}/mask.png")
        photo = save_image(exemplar, work / f"{name}/exemplar.png")
        pair = (mask, "--exemplar", photo, "--weights", "scenes", "--output")
        cocos("translate", *pair, work / name / "drawn")
        cocos("correspond", *pair, work / name / "match", "--warp")
        match = np.load(work / name / "match/mask.png.npz")
        usage = np.log1p(match["usage"]) / np.log(100)
        warped, drawn = work / name / "match/mask.png.warp.png", work / name / "drawn/mask.png.png"
        row = [mask, photo, warped, drawn, heat(match["confidence"]), heat(usage)]
        sheet([row], f"{name}.png")


def draw_resolution(work: Path) -> None:
    """Results of four times the trained size, matched at it and at the trained one."""
    rows = []
    for layout, style in ((0, 1), (12, 14)):
        mask = save_mask(seen(layout, side=512).labels, work / f"{layout}.png")
        exemplar = save_image(elsewhere(style, side=512), work / f"styles/{style}.png")
        drawn = []
        for match in ((), ("--match-size", 32)):
            folder = work / f"drawn{len(match)}-{layout}"
            cocos("translate", mask, "--exemplar", exemplar, "--weights", "scenes", "--size", 512,
                  *match, "--output", folder)  # fmt: skip
            drawn.append(folder / f"{layout}.png.png")
        rows.append([mask, exemplar, *drawn])
    sheet(rows, "resolution.jpg", side=256)


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for draw in (draw_scenes, draw_edit, draw_makeup, draw_limits, draw_resolution):
            work = Path(folder) / draw.__name__
            work.mkdir()
            draw(work)


if __name__ == "__main__":
    main()
