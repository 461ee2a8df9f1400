"""`run.html`: what it tells of a log, odd words inert, and a browser that agrees."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import HOSTILE, Page, check_looks, opened
from PIL import Image

from cocoscli.engine.files import TEMPORARY
from cocoscli.engine.training.folder import RunFolder
from cocoscli.engine.training.history import Event
from cocoscli.engine.training.page import MESSAGES, preview_name, write_train_page
from cocoscli.engine.training.validation import PANEL_COLUMNS
from cocoscli.recipe import read_recipe


def start(step: int = 0, **values: Any) -> Event:
    return {
        "event": "start",
        "step": step,
        "epoch": 0.0,
        "total": 400,
        "resumed": step > 0,
    } | values


def step(number: int, **terms: float) -> Event:
    return {
        "event": "step", "step": number, "epoch": number / 100, "terms": terms,
        "images_per_second": 4.25, "memory_mb": 1900, "seconds_left": 660,
    }  # fmt: skip


def validation(number: int, best: bool = False, **figures: float) -> Event:
    return {
        "event": "validation", "step": number, "figures": {"reconstruction": 0.5} | figures,
        "preview": preview_name(number), "best": best,
    }  # fmt: skip


def warning(number: int, message: str) -> Event:
    return {"event": "warning", "step": number, "message": message}


def written(folder: Path, *events: Event) -> Page:
    """The page of a run with these events; every validation's preview is on disk."""
    for name in (TEMPORARY, "previews"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for event in events:
        if "preview" in event:
            Image.new("RGB", (64, 32), "teal").save(folder / event["preview"])
    return Page(write_train_page(RunFolder(folder), read_recipe("scenes"), iter(events)))


def charts(page: Page) -> dict[str, list[Any]]:
    """The lines of every chart by its title."""
    return {c["title"]: c["lines"] for s in page.data["sections"] for c in s["charts"]}


def facts(page: Page) -> dict[str, str]:
    """What stands under the title."""
    words = [word for word in page.words if word.strip()]
    names = ("Step", "Epoch", "Left to train", "Speed", "Most memory", "Best reconstruction",
             "Started")  # fmt: skip
    return {name: words[words.index(name) + 1] for name in names if name in words}


def test_curves_hold_what_the_log_holds(tmp_path):
    page = written(
        tmp_path, start(), step(10, context=8.0, gradient_generator=2.0), step(20, context=6.0),
        validation(20, confidence=0.25),
    )  # fmt: skip
    found = charts(page)
    assert found["Contextual"] == [["", [[10, 8.0, 8.0, 8.0], [20, 6.0, 6.0, 6.0]]]]
    assert found["Gradient norms"] == [["generator", [[10, 2.0, 2.0, 2.0]]]]
    assert found["Confidence"] == [["", [[20, 0.25, 0.25, 0.25]]]]
    assert found["Images a second"][0][1][-1] == [20, 4.25, 4.25, 4.25]
    assert set(found) == {"Contextual", "Gradient norms", "Confidence", "Reconstruction",
                          "Images a second", "Memory, MB"}  # fmt: skip


def test_real_and_fake_share_a_chart(tmp_path):
    page = written(tmp_path, start(), step(10, discriminator_fake=1.0, discriminator_real=2.0))
    labels = [label for label, _ in charts(page)["Discriminator"]]
    assert labels == ["photos", "results"]


def test_measures_without_words_get_a_chart(tmp_path):
    page = written(tmp_path, start(), step(10, new_term=1.0), validation(10, new_figure=3.0))
    assert {"New term", "New figure"} <= set(charts(page))


def test_meaning_stands_beside_every_figure(tmp_path):
    page = written(tmp_path, start(), validation(10, label_miou=0.5))
    shown = {c["title"]: c["better"] for s in page.data["sections"] for c in s["charts"]}
    assert shown == {"Reconstruction": "lower", "Label IoU": "higher"}


def test_facts(tmp_path):
    page = written(tmp_path, start(), step(100), validation(100, best=True, reconstruction=0.25),
                   start(100), step(200), validation(200))  # fmt: skip
    assert facts(page) == {
        "Step": "200 of 400 (50 %)", "Epoch": "2 of 60", "Left to train": "11 min",
        "Speed": "4.25 images/s", "Most memory": "1.9 GB",
        "Best reconstruction": "0.25 at step 100", "Started": "2 times",
    }  # fmt: skip


def test_a_finished_run_says_so(tmp_path):
    found = facts(written(tmp_path, start(), step(400)))
    assert found["Step"] == "400 of 400: finished"
    assert "Left to train" not in found


def test_an_empty_log_is_a_page(tmp_path):
    page = written(tmp_path)
    assert not charts(page) and page.data["previews"] == []
    assert facts(page) == {"Step": "0 of 0", "Epoch": "0 of 60"}


def test_previews_are_those_on_disk(tmp_path):
    events = [start(), validation(10, best=True), validation(20), validation(30)]
    written(tmp_path, *events)
    (tmp_path / preview_name(20)).unlink()
    stolen = {**validation(40), "preview": "https://example.org/x.jpg"}
    recipe = read_recipe("scenes")
    path = write_train_page(RunFolder(tmp_path), recipe, iter([*events, stolen]))
    page = Page(path)
    assert page.data["previews"] == [[10, True], [30, False]]
    assert page.data["columns"] == list(PANEL_COLUMNS)


def test_warnings_are_counted_and_bounded(tmp_path):
    events = [warning(n, f"sample {n}") for n in range(MESSAGES)]
    events += [warning(100, "again"), warning(200, "again")]
    page = written(tmp_path, start(), *events)
    assert page.data["warnings"][0] == ["again", 200, 2]
    assert len(page.data["warnings"]) == MESSAGES and page.data["unlisted"] == 1


def test_the_next_command_and_the_recipe(tmp_path):
    data = written(tmp_path / "my run", start()).data
    weights = tmp_path / "my run" / "weights.safetensors"
    assert data["command"] == f"cocos translate --exemplar DIR --weights '{weights}'"
    assert data["recipe"] == read_recipe("scenes").to_toml()


def test_odd_words_are_only_words(tmp_path):
    plain = written(tmp_path / "plain", start(), step(10, x=1.0))
    odd = written(
        tmp_path / "a<b>\udce9", start(), step(10, **{HOSTILE: 1.0}),
        {**validation(20, **{HOSTILE: 1.0}), "preview": HOSTILE.replace("/", "")},
        warning(20, HOSTILE), warning(20, "</script><!--<script>"),
    )  # fmt: skip
    text = (tmp_path / "a<b>\udce9" / "run.html").read_text("utf-8")
    assert HOSTILE not in text and "a<b>" not in text and odd.data["warnings"][1][0] == HOSTILE
    assert {tag for tag, _ in odd.elements} == {tag for tag, _ in plain.elements}


def test_the_page_asks_no_other_host(tmp_path):
    page = written(tmp_path, start(), step(10, x=1.0), validation(10))
    text = (tmp_path / "run.html").read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.findall(r"https?:|//\w+\.|@import|url\(", text)
    for tag, attributes in page.elements:
        assert "src" not in attributes, tag
        assert attributes.get("href", "data:,") == "data:,"


def test_a_long_run_is_a_light_page(tmp_path):
    """10,000 step events and 1,000 validations; gradients that overflow are left out."""

    def events() -> Iterator[Event]:
        yield start(total=100_000)
        for number in range(10, 100_001, 10):
            norm = math.inf if number % 30 == 0 else 5.0
            yield step(number, context=1000 / number, gradient_generator=norm)
            if number % 100 == 0:
                yield validation(number)

    (tmp_path / TEMPORARY).mkdir(parents=True)
    (tmp_path / "previews").mkdir()
    for number in (100, 100_000):
        Image.new("RGB", (8, 8)).save(tmp_path / preview_name(number))
    path = write_train_page(RunFolder(tmp_path), read_recipe("scenes"), events())
    page = Page(path)
    assert path.stat().st_size < 200_000
    assert all(len(points) <= 500 for lines in charts(page).values() for _, points in lines)
    assert page.data["previews"] == [[100, False], [100_000, False]]
    assert "Infinity" not in json.dumps(page.data)


# In a browser.


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with three previews and one warning."""
    folder = tmp_path_factory.mktemp("run")
    losses = [step(n, context=900 / n, discriminator_fake=0.5, discriminator_real=n) for n in
              range(10, 301, 10)]  # fmt: skip
    checks = [validation(n, best=n == 200, reconstruction=0.1 * n) for n in (100, 200, 300)]
    written(folder, start(), *losses, *checks, warning(300, HOSTILE))
    return folder / "run.html"


def after(run: Path, profile: Path, script: str) -> str:
    """The document after a script has run on the page."""
    page = run.with_name("pressed.html")
    script = f"<script>setTimeout(() => {{ {script} }}, 300)</script></body>"
    page.write_text(run.read_text("utf-8").replace("</body>", script), "utf-8")
    return opened(page, profile)


def panels(document: str) -> str:
    """The picture that is shown."""
    found = re.search(r'<img id="sheet"[^>]* src="([^"]*)"', document)
    assert found
    return found[1]


@pytest.mark.browser
def test_browser_draws_and_shows_the_latest(run, profile):
    document = opened(run, profile)
    assert document.count("<svg ") == 5
    assert "NaN" not in document.split('id="page-data"')[0]
    assert panels(document) == preview_name(300)
    assert "&lt;script&gt;document.title=" in document and "<title>owned" not in document
    named = re.search(r'id="columns">(.*?)</div>', document)
    assert named and re.findall(r"<span>(.*?)</span>", named[1]) == list(PANEL_COLUMNS)
    check_looks(run, profile)


@pytest.mark.browser
def test_browser_slider_and_keys_step_through_previews(run, profile):
    slide = """const slider = document.getElementById("preview");
        slider.value = 0;
        slider.dispatchEvent(new Event("input"));"""
    assert panels(after(run, profile, slide)) == preview_name(100)
    key = """document.body.dispatchEvent(
        new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true}));"""
    document = after(run, profile, slide + key)
    assert panels(document) == preview_name(200)
    assert re.search(r'<output id="when"[^>]*>Step 200<span>best</span>', document)
    assert panels(opened(run, profile, "#step=110")) == preview_name(100)


@pytest.mark.browser
def test_browser_reads_a_curve_by_keyboard(run, profile):
    press = """const chart = [...document.querySelectorAll(".chart")]
            .find((each) => each.textContent.includes("Contextual"));
        chart.focus();
        for (const key of ["Home", "ArrowRight"])
            chart.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
        document.getElementById("log").click();"""
    document = after(run, profile, press)
    assert 'aria-label="Contextual: 45 at step 20"' in document
    assert panels(document) == preview_name(300)  # the chart's keys leave the panels
