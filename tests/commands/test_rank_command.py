"""`cocos rank` as a user meets it: a page that names no run, and answers counted by its key."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from pages import HOSTILE, Page, check_looks, opened
from PIL import Image

NAMES = ("ours", "theirs")
COLOURS = {"ours": (200, 30, 30), "theirs": (30, 30, 200)}


@pytest.fixture
def ranked(desk):
    """Three masks translated into out/ours (all red) and out/theirs (all blue)."""
    desk.fill()
    for name in NAMES:
        assert desk.translate("--batch-size", 3, output=f"out/{name}").code == 0
        for row in desk.manifest(f"out/{name}").values():
            desk.picture(f"out/{name}/{row['output']}", Image.new("RGB", (64, 64), COLOURS[name]))
    return desk


def rank(desk, *more: object):
    return desk.run("rank", "out/ours", "out/theirs", "--name", "masks", *more)


def key(desk, folder: str = "out/rank") -> dict:
    return json.loads((desk.folder / folder / "key.json").read_text())


def answer(desk, name: str, prefer: dict[str, str], folder: str = "out/rank", **changes: object):
    """A file of answers in which a run comes first for each question."""
    found = key(desk, folder)
    answers = []
    for number, task in enumerate(found["tasks"]):
        for question, run in prefer.items():
            first = task["slots"].index(found["runs"].index(run))
            answers.append({"task": number, "question": question, "order": [first, 1 - first]})
    values = {"page": found["page"], "person": name, "answers": answers} | changes
    return desk.file(f"{name}.json", json.dumps(values))


def colour(address: str) -> tuple[int, ...]:
    """The mean colour of an inlined picture."""
    data = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
    return tuple(np.asarray(Image.open(io.BytesIO(data))).mean(axis=(0, 1)).round().astype(int))


def test_the_key_tells_which_run_is_behind_each_letter(ranked):
    told = rank(ranked)
    assert told.code == 0, told.err
    assert "3 pairs to be shown, 10 asked for" in told.err
    found = key(ranked)
    assert found["runs"] == list(NAMES) and found["dataset"] == "masks"
    tasks = Page(ranked.folder / "out/rank/index.html").data["tasks"]
    assert len(tasks) == len(found["tasks"]) == 3
    for task, hidden in zip(tasks, found["tasks"], strict=True):
        for address, run in zip(task["results"], hidden["slots"], strict=True):
            assert np.abs(np.subtract(colour(address), COLOURS[NAMES[run]])).max() <= 2
    inputs = {task["input"] for task in found["tasks"]}
    assert inputs == {"m0.png", "m1.png", "m2.png"}


def test_the_page_names_neither_runs_nor_files_and_asks_no_host(ranked):
    assert rank(ranked).code == 0
    text = (ranked.folder / "out/rank/index.html").read_text("utf-8")
    page = Page(ranked.folder / "out/rank/index.html")
    for name in (*NAMES, "m0.png", "e0.png", "slots"):
        assert not re.search(rf"[\"'/>]{re.escape(name)}", text), name
    assert not re.search(r"https?://", text)
    assert not any(attributes.get("src") for _, attributes in page.elements)


def test_letters_are_shuffled_and_follow_from_the_seed(desk):
    desk.fill(masks=12)
    for name in NAMES:
        assert desk.translate(output=f"out/{name}").code == 0
    for seed, folder in ((0, "a"), (0, "b"), (1, "c")):
        assert rank(desk, "--seed", seed, "--output", folder).code == 0
    first, same, other = (key(desk, folder) for folder in "abc")
    assert first == same
    assert len({tuple(task["slots"]) for task in first["tasks"]}) == 2
    assert [t["input"] for t in first["tasks"]] != [t["input"] for t in other["tasks"]]
    assert len(first["tasks"]) == 10


def test_first_places_are_shares_by_question(ranked):
    assert rank(ranked).code == 0
    answer(ranked, "ann", {"quality": "ours", "style": "theirs"})
    answer(ranked, "bob", {"quality": "theirs"})
    told = ranked.run("rank", "--tally", "ann.json", "bob.json", "--json")
    assert told.code == 0, told.err
    found = json.loads(told.out)
    assert found["people"] == 2
    quality, style = found["rows"]
    assert quality == {
        "question": "quality", "dataset": "masks", "sorted": 6,
        "firsts": {"ours": 3, "theirs": 3}, "share": {"ours": 0.5, "theirs": 0.5},
    }  # fmt: skip
    assert style["share"] == {"ours": 0.0, "theirs": 1.0} and style["sorted"] == 3
    lines = ranked.run("rank", "--tally", "ann.json", "bob.json").out.splitlines()
    assert lines[0].split() == ["first", "places", "images", "sorted", *NAMES]
    assert lines[1].split() == ["quality", "masks", "6", "0.500", "0.500"]


def test_datasets_are_pooled_too(ranked):
    assert rank(ranked).code == 0
    (ranked.folder / "masks").rename(ranked.folder / "other")
    for name in NAMES:
        assert ranked.translate(inputs="other", output=f"new/{name}").code == 0
    assert ranked.run("rank", "new/ours", "new/theirs", "--output", "new/rank").code == 0
    other = str(ranked.folder / "other")  # the inputs' own path
    answer(ranked, "ann", {"quality": "ours"})
    answer(ranked, "bob", {"quality": "theirs"}, folder="new/rank")
    told = ranked.run("rank", "--tally", "out/rank", "new/rank", "ann.json", "bob.json", "--json")
    rows = {row["dataset"]: row["share"] for row in json.loads(told.out)["rows"]}
    assert rows == {
        "masks": {"ours": 1.0, "theirs": 0.0},
        other: {"ours": 0.0, "theirs": 1.0},
        "all": {"ours": 0.5, "theirs": 0.5},
    }


def test_a_person_counts_once_with_the_fullest_answers(ranked):
    assert rank(ranked).code == 0
    answer(ranked, "ann", {"quality": "ours"})
    answer(ranked, "later", {"quality": "ours", "style": "ours"}, person="ann")
    told = ranked.run("rank", "--tally", "ann.json", "later.json", "--json")
    assert "counted already" in told.err
    found = json.loads(told.out)
    assert found["people"] == 1
    assert [row["sorted"] for row in found["rows"]] == [3, 3]


@pytest.mark.parametrize(
    ("folders", "code", "words"),
    [
        (["out/ours"], 2, "1 output folder; expected 2 to 26"),
        (["out/ours", "out/../out/ours"], 2, "the same folder twice"),
        (["out/ours", "masks"], 1, "masks: no run.toml in it"),
        (["out/ours", "gone"], 1, "gone: no run.toml in it"),
    ],
)
def test_folders_that_cannot_be_ranked(ranked, folders, code, words):
    told = ranked.run("rank", *folders)
    assert told.code == code
    assert words in told.err
    assert not (ranked.folder / "out/rank").exists()


def test_runs_without_a_pair_in_common(ranked):
    ranked.mask("else/x.png", 9)
    assert ranked.translate(inputs="else", output="out/else").code == 0
    told = ranked.run("rank", "out/ours", "out/else")
    assert told.code == 1 and "no input in common (ours: 3, else: 1)" in told.err
    ranked.photo("more/z.png", 7)
    assert ranked.translate("--exemplar", "more", output="out/styled").code == 0
    told = ranked.run("rank", "out/ours", "out/styled")
    assert told.code == 1 and "none of them with the same exemplar" in told.err


def test_a_result_that_is_gone_costs_its_pair(ranked):
    (ranked.folder / "out/theirs/m1.png.png").unlink()
    told = rank(ranked)
    assert told.code == 3
    assert "1 pairs left out; the first:" in told.err and "m1.png.png" in told.err
    assert {task["input"] for task in key(ranked)["tasks"]} == {"m0.png", "m2.png"}
    for result in (ranked.folder / "out/ours").glob("*.png"):
        result.unlink()
    told = rank(ranked, "--output", "none")
    assert told.code == 1 and "none of the 3 pairs can be shown" in told.err


def test_another_page_is_not_written_over(ranked):
    assert rank(ranked).code == 0
    before = key(ranked)
    assert rank(ranked).code == 0  # the same page
    told = rank(ranked, "--seed", 1)
    assert told.code == 1 and "not this page" in told.err
    assert key(ranked) == before
    assert rank(ranked, "--seed", 1, "--overwrite").code == 0
    assert key(ranked) != before
    told = rank(ranked, "--output", "out/ours")
    assert told.code == 1 and "out/ours: not empty" in told.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no answers of a page"),
        ("[]", "no answers of a page"),
        ("[" * 9999, "no answers of a page"),
        ('{"page": "0", "person": "x", "answers": [{"task": 1e999}]}', "no answers of a page"),
        ('{"page": "0", "person": "x", "answers": []}', "answers to another page (0; here "),
    ],
)
def test_files_that_are_no_answers_of_the_page(ranked, text, words):
    assert rank(ranked).code == 0
    ranked.file("bad.json", text)
    told = ranked.run("rank", "--tally", "bad.json")
    assert told.code == 1
    assert words in told.err and "bad.json" in told.err


@pytest.mark.parametrize(
    "answers",
    [
        [{"task": 3, "question": "quality", "order": [0, 1]}],
        [{"task": 0, "question": "taste", "order": [0, 1]}],
        [{"task": 0, "question": "quality", "order": [0, 0]}],
        [{"task": 0, "question": "quality", "order": [[0], [1]]}],
        [{"task": 0, "question": "quality", "order": [0, 1]}] * 2,
    ],
)
def test_answers_that_are_no_order_of_the_results(ranked, answers):
    assert rank(ranked).code == 0
    answer(ranked, "odd", {}, answers=answers)
    told = ranked.run("rank", "--tally", "odd.json")
    assert told.code == 1
    assert "odd.json: " in told.err


def test_a_tally_needs_answers_and_a_key(ranked):
    ranked.file("a.json", "{}")
    told = ranked.run("rank", "--tally", "a.json")
    assert told.code == 1 and "out/rank/key.json: no key of a page" in told.err
    assert rank(ranked).code == 0
    told = ranked.run("rank", "--tally", "out/rank")
    assert told.code == 2 and "no answers" in told.err


def test_a_dry_run_writes_nothing(ranked):
    told = rank(ranked, "--dry-run", "--json")
    assert json.loads(told.out) == {
        "runs": "ours, theirs", "common pairs": 3, "tasks": 3, "output": "out/rank",
    }  # fmt: skip
    assert not (ranked.folder / "out/rank").exists()


# In a browser.


def played(page: Path, profile: Path, script: str) -> str:
    """The document after a script has used the page."""
    copy = page.with_name("played.html")
    text = page.read_text("utf-8")
    copy.write_text(text.replace("</body>", f"<script>{script}</script></body>"), "utf-8")
    return opened(copy, profile)


@pytest.mark.browser
def test_browser_sorts_by_keys_and_clicks_and_keeps_the_answers(ranked, profile):
    assert rank(ranked, "--tasks", 1).code == 0
    page = ranked.folder / "out/rank/index.html"
    script = """
        const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key }));
        press("ArrowRight");  // nothing: not sorted yet
        press("b");  // the last one sorts itself
        document.getElementById("next").click();
        document.querySelectorAll("#results button")[0].click();
        press("Backspace");
        press("A");
        press("ArrowRight");
        document.title = JSON.stringify({ ...localStorage });
    """
    document = played(page, profile, script)
    assert re.search(r'<section id="end">', document)
    assert "2 of 2 sorted" in document and "All is sorted" in document
    check_looks(page, profile)
    [title] = re.findall(r"<title>(.*?)</title>", document)
    kept = json.loads(json.loads(title.replace("&quot;", '"'))[f"cocos-rank-{key(ranked)['page']}"])
    assert kept["orders"] == {"0/quality": [1, 0], "0/style": [0, 1]}
    assert re.fullmatch("[0-9a-f]{16}", kept["person"])
    again = opened(page, profile)
    assert "2 of 2 sorted" in again


@pytest.mark.browser
def test_browser_saves_what_the_tally_reads(ranked, profile):
    assert rank(ranked, "--tasks", 2).code == 0
    script = """
        const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key }));
        for (let i = 0; i < 3; i += 1) { press("a"); press("ArrowRight"); }
        URL.createObjectURL = (blob) => {
            blob.text().then((text) => { document.title = text; });
            return "data:,";
        };
        document.getElementById("save").click();
    """
    document = played(ranked.folder / "out/rank/index.html", profile, script)
    assert "Image 2 of 2, question 2 of 2" in document
    [text] = re.findall(r"<title>(.*?)</title>", document, re.DOTALL)
    ranked.file("saved.json", text.replace("&quot;", '"'))
    told = ranked.run("rank", "--tally", "saved.json", "--json")
    assert told.code == 0, told.err
    found = key(ranked)
    firsts = [found["runs"][task["slots"][0]] for task in found["tasks"]]
    quality, style = json.loads(told.out)["rows"]
    assert quality["firsts"] == {name: firsts.count(name) for name in NAMES}
    assert style["firsts"] == {name: firsts[:1].count(name) for name in NAMES}


@pytest.mark.browser
def test_browser_is_not_led_astray_by_names(desk, profile):
    desk.mask(f"masks/{HOSTILE.replace('/', '')}")
    desk.photo("photos/e.png")
    for name in NAMES:
        assert desk.translate(output=f"out/{name}").code == 0
    assert rank(desk).code == 0
    document = opened(desk.folder / "out/rank/index.html", profile)
    assert "<title>Which is better?</title>" in document
    assert "owned" not in document
