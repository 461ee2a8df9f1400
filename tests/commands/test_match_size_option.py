"""`--match-size` of `cocos translate` and `cocos edit`."""

from __future__ import annotations

import json
import tomllib

import pytest


def edit(desk, *more: object, output: str = "out"):
    weights = desk.weights / "labels.safetensors"
    return desk.run("edit", "photos", "--mask", "masks", "--edited", "edited", "--weights", weights,
                    "--workers", 0, "--output", output, *more)  # fmt: skip


@pytest.fixture
def trio(desk):
    for n in range(3):
        size = (70 + 40 * n, 90)
        desk.photo(f"photos/p{n}.png", n, size)
        desk.mask(f"masks/p{n}.png", n, size), desk.mask(f"edited/p{n}.png", 9 + n, size)
    return desk


def settings(desk, output: str) -> dict:
    return tomllib.loads((desk.folder / output / "run.toml").read_text())["settings"]


@pytest.mark.parametrize("size", ["128", "original"])
@pytest.mark.parametrize("command", ["translate", "edit"])
def test_a_grid_as_large_as_the_results_changes_nothing(trio, command, size):
    run = trio.translate if command == "translate" else lambda *m, output: edit(
        trio, *m, output=output
    )  # fmt: skip
    assert run("--size", size, output="a").code == 0
    assert run("--size", size, "--match-size", 64, output="b").code == 0
    assert trio.results("a") == trio.results("b")
    assert "match_size" not in settings(trio, "a") and settings(trio, "b")["match_size"] == 64


@pytest.mark.parametrize("size", ["128", "150x100", "original"])
@pytest.mark.parametrize("weights", ["labels", "edges", "faces"])
def test_a_smaller_grid_changes_pictures_the_same_way_each_time(trio, weights, size):
    given = ["--weights", trio.weights / f"{weights}.safetensors", "--size", size]
    given += ["--exemplar-condition", "masks"] if weights == "faces" else []
    inputs = "photos" if weights == "edges" else "masks"
    small = [*given, "--match-size", 16]
    for output, options in {"whole": given, "a": small, "b": [*small, "--batch-size", 3]}.items():
        assert trio.translate(*options, inputs=inputs, output=output).code == 0
    whole, a, b = (list(trio.results(output).values()) for output in ("whole", "a", "b"))
    assert a == b and all(one != other for one, other in zip(whole, a, strict=True))


def test_decoding_processes_change_nothing(trio):
    for output, workers in (("a", 0), ("b", 2)):
        given = ("--size", "original", "--match-size", 16, "--workers", workers)
        assert trio.translate(*given, output=output).code == 0
    assert trio.results("a") == trio.results("b")


def test_edits_are_matched_smaller_too(trio):
    for output, more in (("whole", []), ("a", [16]), ("b", [16, "--batch-size", 3])):
        match = ["--match-size", *more] if more else []
        assert edit(trio, "--size", 128, *match, output=output).code == 0
    whole, a, b = (list(trio.results(output).values()) for output in ("whole", "a", "b"))
    assert a == b and all(one != other for one, other in zip(whole, a, strict=True))


def test_another_grid_in_the_same_folder_is_refused(trio):
    assert trio.translate("--size", "128", "--match-size", 16).code == 0
    told = trio.translate("--size", "128", "--match-size", 24)
    assert told.code == 1 and "match_size was 16, is 24" in told.err


def test_a_dry_run_says_it(trio):
    for told in (trio.translate("--match-size", 16, "--dry-run", "--json"),
                 edit(trio, "--match-size", 16, "--dry-run", "--json")):  # fmt: skip
        assert json.loads(told.out)["match_size"] == 16
    assert "match_size" not in json.loads(trio.translate("--dry-run", "--json").out)


@pytest.mark.parametrize("value", ["15", "4097", "x", ""])
def test_what_is_no_grid_is_said_once(trio, value):
    told = trio.translate("--match-size", value)
    assert told.code == 2 and told.err.count("--match-size") == 1
    assert not (trio.folder / "out").exists()
