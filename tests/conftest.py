"""What several tests use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and goldens beside the repository; skips where it is absent."""
    default = Path(__file__).parents[1].parent / "shared"
    path = Path(os.environ.get("COCOS_SHARED", default))
    if not (path / "released").is_dir():
        pytest.skip(f"no data folder at {path}; set COCOS_SHARED")
    return path
