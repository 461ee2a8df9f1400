"""The log of a training run."""

from __future__ import annotations

from pathlib import Path

import pytest

from cocoscli.engine.files import TEMPORARY
from cocoscli.engine.training.history import LOG, History, read_history
from cocoscli.errors import CocosError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / TEMPORARY).mkdir(parents=True)
    history = History(tmp_path, 0)
    for step in range(5):
        history.append({"event": "step", "step": step})
    history.close()
    return tmp_path


def steps(run: Path) -> list[int]:
    return [event["step"] for event in read_history(run)]


def test_what_came_after_the_resumed_step_is_forgotten(run):
    history = History(run, 2)
    history.append({"event": "step", "step": 3, "again": True})
    history.close()
    assert steps(run) == [0, 1, 2, 3]
    assert list(read_history(run))[-1]["again"]


@pytest.mark.parametrize(
    "torn",
    [
        '{"event": "st',
        '{"step": 3}\n',
        "[1]\n",
        "\xff\x00\n",
        "[" * 9999 + "\n",
        '{"event": "step", "step": "x"}\n',
    ],
)
def test_a_torn_line_costs_itself(run, torn):
    with open(run / LOG, "a", encoding="latin-1") as log:
        log.write(torn)
    assert steps(run) == list(range(5))
    history = History(run, 9)
    history.append({"event": "step", "step": 5})
    history.close()
    assert steps(run) == list(range(6))
    assert len((run / LOG).read_text("ascii").splitlines()) == 6


def test_numbers_that_are_none_come_back(run):
    history = History(run, 9)
    history.append({"event": "step", "step": 6, "terms": {"perc": float("nan")}})
    history.close()
    assert str(list(read_history(run))[-1]["terms"]["perc"]) == "nan"


def test_a_full_disk_is_told_of_once(run):
    history = History(run, 9)
    history._file = open("/dev/full", "w")  # noqa: SIM115
    with pytest.raises(CocosError, match=r"log\.jsonl: the output cannot be written \(No space"):
        history.append({"event": "step", "step": 6})
    history.close()
    assert steps(run) == list(range(5))


def test_no_log_yet(tmp_path):
    assert list(read_history(tmp_path)) == []
