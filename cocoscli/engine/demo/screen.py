"""Whether anyone sits before a screen, and a page on it."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

ELSEWHERE = ("CI", "SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY")
"""Variables of machines that nobody sits at."""
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")


def has_screen() -> bool:
    """Whether a browser would be seen: the terminal is a person's, and has a screen of its own."""
    if not sys.stderr.isatty() or any(os.environ.get(name) for name in ELSEWHERE):
        return False
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in SCREENS)


def show(page: Path) -> None:
    """Open a page in the user's browser, where there is a screen and a browser for it."""
    if not has_screen():
        return
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    if type(browser) is not webbrowser.GenericBrowser:  # those run in the terminal
        browser.open(page.absolute().as_uri())
