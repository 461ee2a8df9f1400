"""The benchmark of matching, in its short form: it runs, and its figures say what they should."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/matching.py"


@pytest.mark.parametrize("more", [[], ["--gradient"]], ids=["forward", "gradient"])
def test_streamed_matching_is_measured_beside_the_dense_form(more):
    command = [sys.executable, str(SCRIPT), "--grid", "32", "--repeats", "1", "--json", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert report["speedup"] > 0
    assert report["streamed_extra_mb"] < report["dense_extra_mb"]
    assert report["max_difference"] < (1e-4 if more else 1e-5)


def test_without_the_dense_form_only_the_streamed_one_is_measured():
    command = [
        sys.executable,
        str(SCRIPT),
        "--grid",
        "16",
        "--repeats",
        "1",
        "--json",
        "--streamed",
    ]
    report = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert report["streamed_seconds"] > 0
    assert "speedup" not in report and "dense_seconds" not in report
