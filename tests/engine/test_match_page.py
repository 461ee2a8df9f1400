"""The pages of `cocos correspond` in a browser, opened from disk."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import HOSTILE, Page, check_looks, opened

from cocoscli.engine.gallery import mark_of
from cocoscli.engine.match_page import VIEW, describe

TRAP = HOSTILE.replace("/", "\u2215")  # a name cannot hold it


@pytest.fixture
def out(desk: Any) -> Path:
    """Three photos, one with a hostile name, matched with themselves: each match in its place."""
    for n, name in enumerate(("a.png", "b.png", TRAP)):
        desk.photo(f"photos/{name}", n, (96, 64))
    weights = desk.weights / "edges.safetensors"
    told = desk.correspond("--weights", weights, "--size", "96x64", inputs="photos")
    assert told.code == 0, told.err
    return desk.folder / "out"


def facts(document: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", document))


def acted(page: Path, script: str) -> Path:
    """The page with a script that acts on it half a second later."""
    text = f"<script>setTimeout(() => {{{script}}}, 500)</script></body>"
    path = page.with_name("acted.html")
    path.write_text(page.read_text("utf-8").replace("</body>", text), "utf-8")
    return path


def test_every_item_leads_to_its_view(out):
    rows = (out / "_cocos/rows/0000.js").read_text("utf-8")
    table = json.loads(rows[rows.index("[") : rows.rindex("]") + 1])
    assert [row[0] for row in table] == sorted(["a.png", "b.png", TRAP])
    for title, pictures, _, failed, (address, _) in table:
        assert not failed and all((out / each[0]).is_file() for each in pictures)
        assert address == f"{VIEW}#item={mark_of(title)}"
    listed = [item[0] for item in Page(out / VIEW).data["items"]]
    assert listed == [mark_of(row[0]) for row in table]


def test_pages_load_from_their_folder_alone(out):
    for name in (VIEW, "index.html"):
        text = (out / name).read_text("utf-8")
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


@pytest.mark.browser
def test_a_position_has_its_match_under_it(out, profile):
    found = facts(opened(out / VIEW, profile, f"#item={mark_of('b.png')}&x=3&y=5"))
    assert found["Position"] == found["Best match"] == "13.5, 21.5"
    assert found["Cycle error"] == "0.0 px" and found["Mutual match"] == "yes"
    assert 0 <= float(found["Confidence"]) <= 1
    check_looks(out / VIEW, profile)


@pytest.mark.browser
def test_the_pointer_and_the_arrow_keys_move_the_position(out, profile):
    key = """document.getElementById("from").dispatchEvent(new KeyboardEvent("keydown", {
        key: "%s", shiftKey: %s, bubbles: true }));"""
    script = key % ("ArrowRight", "false") + key % ("ArrowDown", "true")
    document = opened(acted(out / VIEW, script), profile, f"#item={mark_of('a.png')}&x=0&y=0")
    assert facts(document)["Position"] == "5.5, 33.5"
    script = """const box = document.getElementById("from").getBoundingClientRect();
        document.getElementById("from").dispatchEvent(new PointerEvent("pointermove", {
        clientX: box.left + box.width * 10 / 96, clientY: box.top + box.height * 62 / 64 }));"""
    document = opened(acted(out / VIEW, script), profile)
    assert facts(document)["Position"] == "9.5, 61.5"


@pytest.mark.browser
def test_positions_beyond_the_picture_are_at_its_edge(out, profile):
    document = opened(out / VIEW, profile, f"#item={mark_of('a.png')}&x=999&y=-7")
    assert facts(document)["Position"] == "93.5, 1.5"


@pytest.mark.browser
def test_hostile_names_and_addresses_are_inert(out, profile):
    document = opened(out / VIEW, profile, f"#item={mark_of(TRAP)}")
    assert (
        "<title>owned" not in document
        and TRAP.replace("<", "&lt;").replace(">", "&gt;") in document
    )
    document = opened(out / VIEW, profile, "#item=../../../etc/passwd&x=<script>")
    assert facts(document)["Position"]  # of the first item
    document = opened(out / "index.html", profile)
    assert "<title>cocos correspond</title>" in document


@pytest.mark.browser
def test_it_says_what_is_missing(out, profile):
    mark = mark_of("a.png")
    (out / f"_cocos/matches/{mark[:2]}/{mark}.js").unlink()
    document = opened(out / VIEW, profile, f"#item={mark}", quiet=False)
    assert "missing or damaged" in document and not facts(document)


def test_failures_are_said_in_words():
    row = {"exemplar": "e.png", "confidence": 0.3, "cycle_error": 9.25, "mutual": np.float64(0.2),
           "low_confidence": 0.75, "one_to_many": True, "most_used": 120, "used": 0.2,
           "many_to_one": True}  # fmt: skip
    text = describe(row)
    assert "One-to-many: 75% of the input" in text
    assert "one place of the exemplar is the match of 120 cells" in text
    quiet = describe({**row, "one_to_many": False, "many_to_one": False})
    assert "to-" not in quiet and "confidence 0.30" in quiet
