"""How messages show paths and the words of other libraries' exceptions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def shown(path: Path | str) -> str:
    """The path or key, quoted and escaped where it is not plain (line breaks, odd bytes)."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def one_line(error: Exception) -> str:
    """What an exception says, as one line of at most 200 characters without a final full stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200].rstrip(".")


def few(names: Sequence[str], most: int = 5) -> str:
    """The first few of `names`, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
