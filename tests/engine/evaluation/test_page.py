"""`evaluation.html`: what it holds, that it asks no other host, and what a browser makes of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from pages import HOSTILE, Page, check_looks, opened
from PIL import Image

from cocoscli.data.layouts import LAYOUTS
from cocoscli.engine.evaluation.inputs import FolderExemplars, FolderInputs
from cocoscli.engine.evaluation.items import ResultReader
from cocoscli.engine.evaluation.page import ENDS, write_page
from cocoscli.engine.evaluation.report import summarise
from cocoscli.engine.evaluation.sources import Sources

COUNT = 30


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Of thirty results, named in an unpleasant way; pair n has the figure n / 100."""
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "photos/e.png")
    rows = []
    for n in range(COUNT):
        key = f"{n:02d}{HOSTILE.replace('/', '-')}"
        Image.fromarray(np.full((16, 16, 3), n, np.uint8)).save(tmp_path / f"{key}.png")
        rows.append({"key": key, "input": key, "exemplar": "e.png", "output": f"{key}.png"})
    edges = LAYOUTS["edges"]
    exemplars = FolderExemplars(tmp_path / "photos", edges, None, None)
    sources = Sources(FolderInputs(tmp_path, edges, None), exemplars, edges, None, {}, None)
    values = np.arange(COUNT) / 100
    report = {
        "output": "out", "inputs": "in", "images": COUNT, "real_images": 0, "format": "png",
        "real_formats": "", "resize": "bicubic", "notes": [f"a note of {HOSTILE}"],
        "features": {"name": "vgg", "sha256": "0" * 64},
        "set_features": {"name": "vgg", "sha256": ""},
        "rows": {"results": {"copy_score": summarise("copy_score", values)}},
        "classes": [{"id": 3, "name": "sky", "images": 5, "style_colour": 0.5}],
        "items": [{**row, "copy_score": v} for row, v in zip(rows, values.tolist(), strict=True)],
    }  # fmt: skip
    return write_page(
        tmp_path,
        report,
        {str(row["key"]): k for k, row in enumerate(rows)},
        ResultReader(tmp_path, rows, sources).load,
    )


def test_the_ends_are_the_worst_and_the_best_pairs(page):
    (figure,) = Page(page).data["figures"]
    worst, best = figure["ends"]
    assert worst == list(range(ENDS)) and best == list(range(COUNT - 1, COUNT - 1 - ENDS, -1))
    assert (figure["mean"], figure["worst"]) == pytest.approx((0.145, 0.0145))


def test_their_pictures_lie_beside_the_page(page):
    pictures = Page(page).data["pictures"]
    assert len(pictures) == 2 * ENDS
    for shown in pictures.values():
        assert [what for _, what in shown] == ["exemplar", "result"]
        assert all((page.parent / src).is_file() for src, _ in shown)


def test_it_asks_no_other_host_and_names_stay_text(page):
    text = page.read_text("utf-8")
    assert HOSTILE not in text
    addresses = set(re.findall(r"https?://[^\"' ]+", text)) - {"http://www.w3.org/2000/svg"}
    assert not addresses


@pytest.mark.browser
def test_a_browser_shows_figures_pairs_and_classes(page, profile):
    document = opened(page, profile)
    assert document.count('class="pair"') == 2 * ENDS
    assert document.count("<rect") == 24
    assert "0.145" in document and "sky" in document and "1 note" in document
    assert document.count("<tr") >= COUNT and "owned" not in re.search(
        r"<title>(.*?)</title>", document
    ).group(1)
    check_looks(page, profile)
