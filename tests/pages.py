"""HTML pages as tests read them: parsed, and opened in a browser."""

from __future__ import annotations

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
