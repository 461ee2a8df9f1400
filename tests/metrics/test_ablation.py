"""The ablation script: what each variant is trained with, and the marks of its table."""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path

import pytest

from cocoscli.recipe import difference, read_recipe

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "ablation.py"))
VARIANTS = SCRIPT["VARIANTS"]


def changes(name: str) -> list[str]:
    return [*SCRIPT["BASE"], *filter(None, [VARIANTS[name].change])]


@pytest.mark.parametrize("recipe", ["scenes", "facades"])
def test_variants_differ_from_the_full_network_in_one_key(recipe):
    full = read_recipe(recipe, changes("full"))
    assert (full.model.width, full.sees.size) == (8, 64)
    for name, variant in VARIANTS.items():
        found = difference(full, read_recipe(recipe, changes(name)))
        assert len(found) == bool(variant.change), name
        assert all(variant.change.partition("=")[0] in line for line in found)
    seeds = {name: variant.seed for name, variant in VARIANTS.items() if variant.seed}
    assert seeds == {"full-again": 1} and not VARIANTS["full-again"].change


def test_marks_tell_what_chance_does_not_reach():
    beyond = SCRIPT["beyond"]
    assert beyond("style_colour", 0.96, [0.90, 0.92]) == " +"
    assert beyond("style_colour", 0.935, [0.90, 0.92]) == ""  # within the twins' own difference
    assert beyond("style_colour", 0.87, [0.90, 0.92]) == " -"
    assert beyond("cycle_l1", 0.2, [0.10, 0.12]) == " -"  # lower is better


def test_the_table_has_a_line_a_variant_and_the_baselines():
    figures = {"style_colour": 0.9, "psnr": 12.3, "points": 40.0}
    rows = {name: {"results": dict(figures)} for name in VARIANTS}
    rows["no-feat"]["results"]["style_colour"] = 0.5
    rows["full"] |= {name: {"style_colour": 0.7} for name in SCRIPT["BASELINES"]}
    lines = SCRIPT["table"](rows).splitlines()
    assert lines[0] == "|  | Colour ↑ | PSNR ↑ |"
    assert len(lines) == 2 + len(VARIANTS) + 2
    assert "| without feat (Eq. 8) | 0.500 - | 12.30 |" in lines
    assert lines[-1] == "| *the exemplar, unmoved* | 0.700 |  |"


def test_facades_need_their_folder(monkeypatch, capsys):
    words = ["ablation.py", "facades", "out", "--shards", "s", "--features", "f"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit):
        SCRIPT["main"]()
    assert "needs --dataset" in capsys.readouterr().err


def test_a_measured_variant_is_not_trained_again(tmp_path):
    args = argparse.Namespace(output=tmp_path, steps=5)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "full.json").write_text('{"steps": 5, "rows": {"results": {}}}')
    assert SCRIPT["Ablation"](args, None).measured("full") == {"results": {}}
