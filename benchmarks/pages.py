"""Pages of many rows in a browser: `pages.py --rows 10000`, needs `chromium`.

Writes the gallery, the page of matches and the page of an evaluation with so many rows each, opens
them in a headless Chromium, and prints as JSON how long each takes to load and, as medians, to do
what a user does with it, the page laid out again each time: milliseconds.
"""

from __future__ import annotations

import argparse
import base64
import html
import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from cocoscli.engine.evaluation.items import Pair
from cocoscli.engine.evaluation.page import write_page
from cocoscli.engine.evaluation.report import summarise
from cocoscli.engine.gallery import mark_of
from cocoscli.engine.match_page import write_pages
from cocoscli.engine.match_pictures import cells_name
from cocoscli.metrics.quality import FIGURES
from cocoscli.report import Picture, Row, write_gallery

GRID, SIDE = 32, 128
NUMBERS = 10
"""Of a cell of the page of matches."""
REPEATS = 9
ACTIONS = {
    "gallery": """
        "turn a page": () => document.querySelector('[data-step="1"]').click(),
        "search, the first part": (n) => {
          const words = document.querySelector("#words");
          words.value = `0${n}`;
          words.dispatchEvent(new Event("input"));
        },""",
    "match": """
        "move the position": () => document.querySelector("#from").dispatchEvent(
          new KeyboardEvent("keydown", { key: "ArrowRight" })),
        "next item": () => document.querySelector("#next").click(),""",
    "evaluation": """
        "sort by a figure": (n) => document.querySelectorAll("#pairs th button")[2 + n % 2].click(),
        "show more": () => document.querySelector("#more").click(),""",
}
"""What is done on each page, in its own script's terms."""
MEASURE = """<script>addEventListener("load", () => {{
  const told = {{ load: performance.now() }};
  for (const [name, action] of Object.entries({{{actions}
  }})) {{
    const times = [];
    for (let n = 0; n < {repeats}; n += 1) {{
      const start = performance.now();
      action(n);
      document.body.getBoundingClientRect();
      times.push(performance.now() - start);
    }}
    told[name] = times.sort((a, b) => a - b)[{repeats} >> 1];
  }}
  told.elements = document.querySelectorAll("*").length;
  document.body.replaceChildren(JSON.stringify(told));
}})</script></body>"""


def picture(folder: Path) -> str:
    """The one picture that all rows show."""
    name = "_cocos/picture.jpg"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).resize((SIDE, SIDE)).save(folder / name)
    return name


def gallery(folder: Path, rows: int) -> Path:
    shown = (Picture(picture(folder), "a picture"),) * 4
    every = (Row(f"folder/image_{n:06d}.png", shown, "exemplar photo.jpg") for n in range(rows))
    return write_gallery(folder, "gallery", ["Input", "Exemplar", "Warp", "Result"], every, {})


def match(folder: Path, rows: int) -> Path:
    shown = picture(folder)
    zeros = base64.b64encode(bytes(2 * NUMBERS * GRID**2)).decode()
    found = json.dumps({
        "size": [SIDE, SIDE], "exemplar_size": [SIDE, SIDE], "grid": [GRID, GRID], "scale": 1,
        "unit": 1, "first": 1.5, "step": 4, "cells": zeros, "input": shown, "exemplar": shown,
    })  # fmt: skip
    numbers = {"confidence": 0.5, "cycle_error": 1.0, "mutual": 0.5, "one_to_many": False,
               "many_to_one": False}  # fmt: skip
    with open(folder / "manifest.jsonl", "w") as manifest:
        for n in range(rows):
            key = f"folder/image_{n:06d}.png"
            row = {"key": key, "input": key, "exemplar": "photo.jpg", "status": "done",
                   "output": key, **numbers}  # fmt: skip
            manifest.write(json.dumps(row) + "\n")
            path = folder / cells_name(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'cocosMatch("{mark_of(key)}", {found})')
    return write_pages(folder, rows, rows, {}).with_name("match.html")


def evaluation(folder: Path, rows: int) -> Path:
    names = list(FIGURES)[:4]
    values = {name: np.random.default_rng(i).random(rows) for i, name in enumerate(names)}
    items = [
        {"key": f"folder/image_{n:06d}.png", "exemplar": "photo.jpg"}
        | {name: float(values[name][n]) for name in names}
        for n in range(rows)
    ]
    report = {
        "output": "out", "inputs": "in", "images": rows, "real_images": 0, "format": "png",
        "real_formats": "", "resize": "bicubic", "notes": [], "classes": [], "items": items,
        "features": {"name": "vgg", "sha256": ""}, "set_features": {"name": "vgg", "sha256": ""},
        "rows": {"results": {name: summarise(name, values[name]) for name in names}},
    }  # fmt: skip
    black = np.zeros((SIDE, SIDE, 3), np.uint8)
    pair = Pair(0, (SIDE, SIDE), black, black, *[None] * 5)
    return write_page(folder, report, {e["key"]: n for n, e in enumerate(items)}, lambda _: pair)


def timed(page: Path, actions: str) -> dict[str, float]:
    text = page.read_text("utf-8").replace(
        "</body>", MEASURE.format(actions=actions, repeats=REPEATS)
    )
    copy = page.with_name("measured.html")
    copy.write_text(text, "utf-8")
    switches = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent}/b"]
    told = subprocess.run(
        ["chromium", *switches, "--dump-dom", copy.as_uri()],
        capture_output=True, check=True, timeout=300, text=True,
    ).stdout  # fmt: skip
    found = re.search(r"<body[^>]*>(\{.*?\})</body>", told, re.S)
    if found is None:
        raise SystemExit(f"{page.name}: the browser told nothing")
    size = {"page_kb": page.stat().st_size / 1000}
    return {k: round(v, 1) for k, v in (json.loads(html.unescape(found[1])) | size).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    rows = parser.parse_args().rows
    pages: tuple[Callable[[Path, int], Path], ...] = (gallery, match, evaluation)
    told = {}
    for write in pages:
        with tempfile.TemporaryDirectory() as folder:
            told[write.__name__] = timed(write(Path(folder), rows), ACTIONS[write.__name__])
    print(json.dumps({"rows": rows, "milliseconds": told}, indent=1))


if __name__ == "__main__":
    main()
