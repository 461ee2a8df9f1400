"""HTML pages as tests read them: parsed, and opened in a browser."""

from __future__ import annotations

import html
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

HOSTILE = "<script>document.title='owned'</script>.png"
SWITCHES = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update --virtual-time-budget=5000
    --enable-logging=stderr --v=0 --dump-dom
"""


class Page(HTMLParser):
    """What a browser makes of the page: its elements, and the JSON for its script."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(path.read_text("utf-8"))
        text = re.search(r'id="page-data">(.*?)</script>', path.read_text("utf-8"))
        assert text
        self.data = json.loads(text[1])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def opened(page: Path, profile: Path, place: str = "", quiet: bool = True) -> str:
    """The document once its scripts have run; with `quiet` the console must have said nothing."""
    run = subprocess.run(
        ["chromium", *SWITCHES.split(), f"--user-data-dir={profile}", page.as_uri() + place],
        capture_output=True,
        timeout=120,
        check=True,
    )
    console = [line for line in run.stderr.decode().splitlines() if "CONSOLE" in line]
    assert not (quiet and console)
    return run.stdout.decode("utf-8")


LOOK = """<script>addEventListener("load", () => setTimeout(() => {
  const seen = [...document.querySelectorAll("body *")].filter((each) => each.checkVisibility());
  const rgba = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((each) => each / 255)
    .map((each) => each <= 0.03928 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, n) => sum + each * [0.2126, 0.7152, 0.0722][n], 0);
  const ground = (each) => {
    const colour = rgba(getComputedStyle(each).backgroundColor);
    return colour[3] === 0 && each.parentElement ? ground(each.parentElement) : colour;
  };
  const contrast = (each) => {
    const both = [light(rgba(getComputedStyle(each).color)), light(ground(each))];
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  };
  const written = seen.filter((each) => !each.disabled && !each.closest("svg") &&
    [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  const named = (each) => each.alt || each.ariaLabel || each.textContent.trim() ||
    each.labels?.length || each.querySelector("img[alt]:not([alt=''])");
  const tell = (each) => each.outerHTML.slice(0, 120);
  parent.postMessage(JSON.stringify({
    width: innerWidth, wide: document.documentElement.scrollWidth,
    dark: light(ground(document.body)) < 0.2,
    faint: written.filter((each) => contrast(each) < 4.5).map(tell),
    small: written.filter((each) => parseFloat(getComputedStyle(each).fontSize) < 9.5).map(tell),
    unnamed: seen.filter((each) => each.matches("img, a, button, input, select") && !named(each))
      .map(tell),
  }), "*");
}, 1500))</script></body>"""
FRAMES = """<!doctype html><body><pre></pre><script>
addEventListener("message", (event) => document.querySelector("pre").append(event.data, "\\n"));
</script>"""


def check_looks(page: Path, profile: Path, place: str = "", *, sideways: bool = False) -> None:
    """That a page fits a phone and a wide window in both colour schemes, with text that can be
    read and a name for every picture and control.

    `sideways`: it is meant to scroll both ways.
    """
    copy, frames = page.with_name("looked-at.html"), page.with_name("frames.html")
    copy.write_text(page.read_text("utf-8").replace("</body>", LOOK), "utf-8")
    every = [(width, scheme) for width in (360, 1400) for scheme in ("light", "dark")]
    frames.write_text(
        FRAMES
        + "".join(
            f'<iframe src="{copy.name}{place}" style="width:{width}px;height:800px;border:0;'
            f'color-scheme:{scheme}"></iframe>'
            for width, scheme in every
        ),
        "utf-8",
    )
    told = re.search(r"<pre>(.*?)</pre>", opened(frames, profile), re.S)
    assert told
    found = [json.loads(line) for line in html.unescape(told[1]).splitlines()]
    assert sorted((each["width"], each["dark"]) for each in found) == [
        (360, False), (360, True), (1400, False), (1400, True),
    ]  # fmt: skip
    for each in found:
        assert sideways or each["wide"] <= each["width"], each
        assert not (each["faint"] or each["small"] or each["unnamed"]), each
