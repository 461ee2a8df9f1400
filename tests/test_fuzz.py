"""The short form of `benchmarks/fuzz.py`: damaged files are taken or refused, and nothing else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"


@pytest.fixture
def fuzz(monkeypatch):
    monkeypatch.syspath_prepend(str(PATH.parent))  # its processes import it by name
    spec = importlib.util.spec_from_file_location("fuzz", PATH)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fuzz", module)
    spec.loader.exec_module(module)
    return module


def test_every_reader_takes_valid_files(fuzz, tmp_path):
    for name, reader in fuzz.READERS.items():
        for file, data in reader.seeds().items():
            folder = tmp_path / name / file.replace(".", "-")
            folder.mkdir(parents=True)
            (folder / file).write_bytes(data)
            assert file == "float.tiff" or fuzz.outcome(reader.read, folder / file) == "taken"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_damaged_files_are_taken_or_refused(fuzz):
    tallies = fuzz.run(list(fuzz.READERS), first=0, count=60, seed=1)
    assert {name: tally.faults for name, tally in tallies.items() if tally.faults} == {}
    assert all(tally.files == 60 and tally.refused for tally in tallies.values() if tally.refused)


def test_what_must_not_happen_is_told(fuzz, monkeypatch, tmp_path):
    def fails(path: Path) -> None:
        raise ZeroDivisionError("by zero")

    assert fuzz.outcome(fails, tmp_path).startswith("ZeroDivisionError at test_fuzz.py")
    watch = fuzz.Watch()
    watch.folder = str(tmp_path / "out")
    (tmp_path / "x").write_bytes(b"")
    watch.folder = ""
    assert watch.outside == [f"open {tmp_path / 'x'}"]
