"""`cocos demo`: every command once, a page of it all, and what comes of a second run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from pages import check_looks, opened
from PIL import Image

from cocoscli.engine import edit_plan, models
from cocoscli.engine.demo import folder, material, screen

STEPS = ["translate", "evaluate", "correspond", "edit", "makeup"]


@pytest.fixture
def stage(desk, monkeypatch):
    """A desk with tiny networks for bundled ones, few scenes, and a second portrait."""
    bundled = desk.folder / "bundled"
    bundled.mkdir()
    for name, network in {"scenes": "labels", "faces": "edges"}.items():
        shutil.copy(desk.weights / f"{network}.safetensors", bundled / f"{name}.safetensors")
    monkeypatch.setattr(models, "_bundled", lambda: sorted(bundled.iterdir()))
    monkeypatch.setattr(material, "MASKS", 2)
    hopper = desk.picture("hopper.jpg", Image.new("RGB", (512, 600), "tan"))
    for module in (material, folder):
        monkeypatch.setattr(module, "find_hopper", lambda: hopper)
    monkeypatch.setattr(screen, "has_screen", lambda: False)
    return desk


def demo(stage, *more):
    return stage.run("demo", "--size", 64, *more)


def typed(told) -> list[str]:
    """The commands that were typed, by their names."""
    return [line.split()[2] for line in told.said if line.startswith("$ cocos ")]


def test_every_command_is_typed_and_a_second_run_types_none(stage):
    told = demo(stage, "--json")
    assert told.code in (0, 3), told.err  # the tiny network may find no face
    assert typed(told) == STEPS and "open demo/index.html" in told.said
    line = next(x for x in told.said if x.startswith("$ cocos edit "))
    assert "0 done, 0 failed, 3 from before" in stage.run(*line.split()[2:]).err
    assert json.loads(told.out) == {"output": "demo", "page": "demo/index.html"}
    page = (stage.folder / "demo/index.html").read_text("utf-8")
    for place in re.findall(r'(?:href|src)="([^"#:]+)"', page):
        assert (stage.folder / "demo" / place).is_file()
    assert page.count("<section") == len(STEPS)
    assert len(re.findall(r"<img ", page)) == len(re.findall(r'<img [^>]*alt="[^"]+"', page)) + 1
    before = (stage.folder / "demo/evaluate/evaluation.json").stat().st_mtime_ns
    assert typed(demo(stage)) == []
    assert (stage.folder / "demo/evaluate/evaluation.json").stat().st_mtime_ns == before
    (stage.folder / "demo/correspond/index.html").unlink()
    told = demo(stage)
    assert typed(told) == ["correspond"] and "0 done, 0 failed, 2 from before" in told.err


def test_an_interrupted_run_goes_on(stage, monkeypatch):
    def stopped(options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(edit_plan, "plan_edits", stopped)
        told = demo(stage)
    assert told.code == 130 and told.said[-1].startswith("interrupted")
    assert not (stage.folder / "demo/index.html").exists()
    assert typed(demo(stage)) == ["edit", "makeup"]


def test_another_demo_needs_another_folder(stage, monkeypatch):
    demo(stage)
    told = stage.run("demo", "--size", 96)
    assert told.code == 1 and "size was 64, is 96" in told.err
    monkeypatch.setattr(folder, "find_hopper", lambda: None)
    monkeypatch.setattr(material, "find_hopper", lambda: None)
    told = demo(stage, "--overwrite")
    assert typed(told) == STEPS and "matplotlib is not installed" in told.err
    targets = stage.folder / "demo/portraits/targets"
    assert [path.name for path in targets.iterdir()] == ["eileen-collins.png"]
    assert "--overwrite" not in (stage.folder / "demo/index.html").read_text("utf-8")


@pytest.mark.parametrize("name", ["demo", "demo/mine.txt"])
def test_what_is_not_ours_is_left_alone(stage, name):
    mine = stage.file(name, b"mine")
    told = demo(stage)
    assert told.code == 1 and "demo" in told.err
    assert mine.read_bytes() == b"mine" and not (stage.folder / "demo/scenes").exists()


def test_grace_hopper_comes_with_matplotlib(tmp_path, monkeypatch):
    package = tmp_path / "matplotlib"
    (package / "mpl-data/sample_data").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert material.find_hopper() is None  # installed without its sample data
    photo = package / "mpl-data/sample_data/grace_hopper.jpg"
    photo.touch()
    assert material.find_hopper() == photo


class TestScreen:
    @pytest.fixture(autouse=True)
    def person(self, monkeypatch):
        """At a terminal, with a screen."""
        for name in (*screen.ELSEWHERE, *screen.SCREENS):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(screen.sys, "platform", "linux")
        monkeypatch.setattr(screen.sys.stderr, "isatty", lambda: True, raising=False)
        monkeypatch.setenv("DISPLAY", ":0")

    @pytest.fixture
    def shown(self, monkeypatch):
        """The addresses that a browser was given."""
        shown: list[str] = []

        class Browser(screen.webbrowser.BaseBrowser):
            def open(self, url, new=0, autoraise=True):
                shown.append(url)
                return True

        monkeypatch.setattr(screen.webbrowser, "get", Browser)
        return shown

    def test_the_page_opens_where_a_person_sits(self, shown, tmp_path):
        screen.show(tmp_path / "a b.html")
        assert shown == [(tmp_path / "a b.html").as_uri()]

    @pytest.mark.parametrize("name", ["CI", "SSH_CONNECTION", "DISPLAY"])
    def test_and_nowhere_else(self, shown, monkeypatch, name):
        monkeypatch.setenv(name, "" if name == "DISPLAY" else "true")
        screen.show(Path("page.html"))
        assert not shown

    def test_a_browser_of_the_terminal_is_none(self, monkeypatch):
        browser = screen.webbrowser.GenericBrowser("false")
        monkeypatch.setattr(browser, "open", pytest.fail)
        monkeypatch.setattr(screen.webbrowser, "get", lambda: browser)
        screen.show(Path("page.html"))


@pytest.mark.browser
def test_a_browser_shows_it_without_a_word(stage, profile):
    demo(stage)
    page = stage.folder / "demo/index.html"
    document = opened(page, profile)
    assert document.count("<section") == len(STEPS) and "PSNR" in document
    assert not re.findall(r"https?://[^\"' ]+", page.read_text("utf-8"))
    check_looks(page, profile)
