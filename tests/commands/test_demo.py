"""`cocos demo`."""

from __future__ import annotations

import json


def test_demo_translates_scenes_and_goes_on(desk):
    told = desk.run("demo", "--size", 64, "--json")
    assert told.code == 0 and json.loads(told.out)["done"] == 24
    assert any(line.startswith("weights: ") and "scenes.safetensors" in line for line in told.said)
    assert '"layout":"matrix"' in (desk.folder / "demo/translate/index.html").read_text("utf-8")
    assert json.loads(desk.run("demo", "--size", 64, "--json").out)["done"] == 0


def test_a_file_in_the_demos_place(desk):
    desk.file("demo", b"mine")
    told = desk.run("demo", "--size", 64)
    assert told.code == 1 and "demo" in told.said[-2]
