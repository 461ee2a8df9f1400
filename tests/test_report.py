"""The gallery: every row on the page, odd names inert, any length, and a browser that agrees."""

from __future__ import annotations

import json
import os
import re
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from pages import HOSTILE, Page, check_looks, opened
from PIL import Image

from cocoscli.report import CHUNK, INDEX, ROWS, Picture, Row, write_gallery, write_matrix

COLUMNS = ["Input", "Exemplar", "Warp", "Result"]
ODD = [
    HOSTILE,
    '"onerror="document.title=1.png',
    "</script><!--<script>.png",
    "a b#c?d%41&amp;.png",
    "two\nlines\u2028three.png",
    "日本/Ünï\u202egnp.exe",
    "javascript:alert(1)",
    os.fsdecode(b"caf\xe9.png"),
]


def row(name: str, note: str = "", failed: bool = False) -> Row:
    picture = Picture(name, f"picture {name}")
    return Row(name, (picture, picture, None, picture), note, failed)


def gallery(folder: Path, rows: list[Row], **options: object) -> Path:
    return write_gallery(folder, "A run", COLUMNS, rows, {"Weights": "w"}, **options)


def chunks(folder: Path) -> list[list[list]]:
    """The rows as the page's script gets them, a list a chunk."""
    found = []
    for number, path in enumerate(sorted((folder / ROWS).iterdir())):
        text = path.read_text("ascii")
        call = re.fullmatch(r"cocosRows\((\d+), (\[.*\])\);\n", text, re.DOTALL)
        assert path.name == f"{number:04d}.js" and call and int(call[1]) == number
        found.append(json.loads(call[2]))
    return found


def test_rows_reach_the_chunks(tmp_path):
    path = gallery(tmp_path, [row("a/x.png"), row("b.png", "too small: 1 x 1", failed=True)])
    assert path == tmp_path / INDEX
    picture = ["a/x.png", "picture a/x.png"]
    first, second = chunks(tmp_path)[0]
    assert first == ["a/x.png", [picture, picture, None, picture], "", 0]
    assert second[2:] == ["too small: 1 x 1", 1]
    data = Page(path).data
    assert data["rows"] == 2 and data["failed"] == {"0": 1} and data["layout"] == "gallery"
    assert [head["name"] for head in data["heads"]] == COLUMNS


def test_a_caption_is_words_too(tmp_path):
    pictures = (Picture("a.png", "alt", HOSTILE), Picture("b.png", "alt"))
    write_gallery(tmp_path, "A run", ["a", "b"], [Row("x", pictures)], {})
    assert chunks(tmp_path)[0][0][1] == [["a.png", "alt", HOSTILE], ["b.png", "alt"]]
    assert "<" not in (tmp_path / ROWS / "0000.js").read_text("ascii")


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, []), (1, [1]), (CHUNK, [CHUNK]), (CHUNK + 1, [CHUNK, 1]), (2 * CHUNK, [CHUNK, CHUNK])],
)
def test_chunks_are_full(tmp_path, count, sizes):
    gallery(tmp_path, [row(f"{number}.png") for number in range(count)])
    assert [len(chunk) for chunk in chunks(tmp_path)] == sizes
    assert [each[0] for chunk in chunks(tmp_path) for each in chunk] == [
        f"{number}.png" for number in range(count)
    ]


def test_a_shorter_run_removes_stale_chunks_and_nothing_else(tmp_path):
    gallery(tmp_path, [row(f"{number}.png") for number in range(2 * CHUNK + 1)])
    kept = tmp_path / "_cocos" / "lock"
    kept.write_text("")
    (tmp_path / ROWS / ".cocos-killed").write_text("")
    gallery(tmp_path, [row("only.png")])
    assert [path.name for path in (tmp_path / ROWS).iterdir()] == ["0000.js"]
    assert kept.exists()


def test_writing_twice_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        gallery(tmp_path / name, [row("a.png"), row("b.png", "bad", True)], total=9)
    for path in (INDEX, f"{ROWS}/0000.js"):
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_rows_that_fail_leave_the_old_page_and_no_temporary_file(tmp_path):
    before = gallery(tmp_path, [row("old.png")]).read_bytes()

    def broken() -> Iterator[Row]:
        yield row("new.png")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gallery(tmp_path, "A run", COLUMNS, broken(), {})
    assert (tmp_path / INDEX).read_bytes() == before
    assert [path.name for path in (tmp_path / ROWS).iterdir()] == ["0000.js"]


@pytest.mark.parametrize("name", ODD)
def test_addresses_mean_the_file_and_only_it(tmp_path, name):
    gallery(tmp_path, [row(name)])
    address, _ = chunks(tmp_path)[0][0][1][0]
    assert re.fullmatch(r"[\w./~%-]+", address, re.ASCII)
    assert unquote_to_bytes(address) == os.fsencode(name)


def test_paths_outside_the_folder(tmp_path):
    gallery(tmp_path, [row("../photos/a b.jpg"), row("/data/a b.jpg"), row("//host/share.jpg")])
    addresses = [each[1][0][0] for each in chunks(tmp_path)[0]]
    assert addresses[0] == "../photos/a%20b.jpg"
    assert addresses[1] == "file:///data/a%20b.jpg"
    assert addresses[2].startswith("file:////")  # a local path, not the host


def test_hostile_names_are_only_words(tmp_path):
    """Names in every place that takes one add no element to the page."""
    plain = write_gallery(tmp_path / "plain", "t", ["c"], [], {"f": "v"})
    pictures = [Picture(name, name) for name in ODD]
    for name in ODD:
        facts = {"f": name, name: "v"}
        path = write_gallery(tmp_path, name, [name], [Row(name, (pictures[0],), name, True)], facts)
        page, extra = Page(path), {"div", "dt", "dd"}
        elements = [tag for tag, _ in page.elements if tag not in extra]
        assert elements == [tag for tag, _ in Page(plain).elements if tag not in extra]
        if "<" in name:
            assert name not in path.read_text("utf-8")
            assert name not in (tmp_path / ROWS / "0000.js").read_text("ascii")
    write_matrix(tmp_path, "t", pictures, [(pictures[0], pictures)], {})
    assert HOSTILE not in (tmp_path / INDEX).read_text("utf-8")


def test_text_shows_what_cannot_be_printed(tmp_path):
    gallery(tmp_path, [row(name, "line 1\nline 2\x00") for name in ODD])
    titles = [each[0] for each in chunks(tmp_path)[0]]
    assert titles[4] == "two␊lines\u2028three.png"
    assert titles[7] == "caf\N{REPLACEMENT CHARACTER}.png"
    assert chunks(tmp_path)[0][0][2] == "line 1\nline 2␀"


def test_pages_ask_no_other_host(tmp_path):
    text = gallery(tmp_path, [row("a.png")]).read_text("utf-8")
    assert not re.findall(r"https?:|//\w+\.|@import|url\(", text)
    for tag, attributes in Page(tmp_path / INDEX).elements:
        assert "src" not in attributes, tag
        assert attributes.get("href", "data:,") == "data:,"


def test_total_says_that_more_exists(tmp_path):
    shown = "The first 2 of 1,000,000 items."
    rows = [row("a.png"), row("b.png")]
    assert shown in Page(gallery(tmp_path, rows, total=1_000_000)).words
    assert "The first 2" not in " ".join(Page(gallery(tmp_path, rows, total=2)).words)


def test_facts_are_read_after_the_rows(tmp_path):
    facts: dict[str, str] = {}

    def rows() -> Iterator[Row]:
        yield row("a.png")
        facts["Done"] = "one of one"

    path = write_gallery(tmp_path, "A run", COLUMNS, rows(), facts)
    assert "one of one" in Page(path).words


def test_a_row_of_the_wrong_width_is_refused(tmp_path):
    with pytest.raises(ValueError, match="1 pictures for 4 columns"):
        gallery(tmp_path, [Row("a.png", (None,))])


def test_matrix(tmp_path):
    exemplars = [Picture(f"e {number}.jpg", f"e {number}") for number in range(3)]
    made = Picture("m.png", "made")
    rows = ((Picture(f"{n}.png", f"input {n}"), [made, None, made]) for n in range(CHUNK + 1))
    data = Page(write_matrix(tmp_path, "All", exemplars, rows, {})).data
    assert data["layout"] == "matrix" and data["rows"] == CHUNK + 1
    assert data["heads"][1] == {"name": "e 1", "src": "e%201.jpg"}
    last = chunks(tmp_path)[1][0]
    source, result = [f"{CHUNK}.png", f"input {CHUNK}"], ["m.png", "made"]
    assert last == [f"input {CHUNK}", [source, result, None, result], "", 0]


def test_a_row_may_lead_to_a_page_of_its_own(tmp_path):
    plain = Row("x", (None,) * len(COLUMNS))
    led = Row("y", (None,) * len(COLUMNS), link=("match.html#item=1", "More"))
    gallery(tmp_path, [plain, led])
    [[first, second]] = chunks(tmp_path)
    assert len(first) == 4 and second[4] == ["match.html#item=1", "More"]


def test_a_long_run_is_not_held(tmp_path):
    """What is held does not grow with the run: 5,000 rows or 20,000."""

    def peak(count: int) -> int:
        tracemalloc.start()
        rows = (row(f"folder/{number:08d}.png") for number in range(count))
        write_gallery(tmp_path, "A run", COLUMNS, rows, {})
        return (tracemalloc.get_traced_memory()[1], tracemalloc.stop())[0]

    peak(CHUNK)  # templates
    small, large = peak(5_000), peak(20_000)
    assert len(list((tmp_path / ROWS).iterdir())) == 100
    assert large < small + 100_000 and large < 3_000_000


@pytest.mark.slow
def test_a_hundred_thousand_rows(tmp_path):
    tracemalloc.start()
    rows = (row(f"folder/{number:08d}.png", failed=number % 7 == 0) for number in range(100_000))
    write_gallery(tmp_path, "A run", COLUMNS, rows, {}, total=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(list((tmp_path / ROWS).iterdir())) == 500
    assert peak < 3_000_000


# In a browser.


def shown_titles(document: str) -> list[str]:
    names = re.findall(r'<span class="name"[^>]*>(.*?)</span>', document)
    return [name.replace("<wbr>", "") for name in names]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 450 rows; number 7 has failed, number 300 has every name of a trap."""
    folder = tmp_path_factory.mktemp("run")
    Image.new("RGB", (64, 64), "teal").save(folder / "a #1.png")
    shutil.copy(folder / "a #1.png", folder / ODD[1])
    names = [f"item_{number:04d}" for number in range(450)]
    names[300] = HOSTILE
    image, trap = Picture("a #1.png", "teal"), Picture(ODD[1], ODD[1])
    rows = [Row(name, (image, trap, None, image)) for name in names]
    rows[7] = Row(names[7], (image, trap, None, None), "too small", failed=True)
    return write_gallery(folder, "A run", COLUMNS, rows, {"Weights": "w"})


@pytest.mark.browser
@pytest.mark.parametrize(
    ("place", "titles"),
    [
        ("", [f"item_{number:04d}" for number in range(CHUNK)]),
        ("#page=3", [f"item_{number:04d}" for number in range(400, 450)]),
        ("#page=99", [f"item_{number:04d}" for number in range(400, 450)]),
        ("#find=ITEM+_044", [f"item_{number:04d}" for number in range(440, 450)]),
        ("#failed", ["item_0007"]),
        ("#find=nowhere", []),
    ],
)
def test_browser_pages_and_searches(run, profile, place, titles):
    document = opened(run, profile, place)
    assert shown_titles(document) == titles
    assert document.count(">too small</div>") == ("item_0007" in titles)


@pytest.mark.browser
def test_browser_holds_a_page_of_many_rows(profile, tmp_path):
    page = gallery(tmp_path, [Row(f"item_{n:05d}", (None,) * 4) for n in range(10_000)])
    assert page.stat().st_size < 60_000
    titles = shown_titles(opened(page, profile, "#page=50"))
    assert titles == [f"item_{n:05d}" for n in range(9_800, 10_000)]


@pytest.mark.browser
def test_browser_shows_it_readably_on_phones_and_at_night(run, profile):
    check_looks(run, profile)


@pytest.mark.browser
def test_browser_leaves_hostile_names_inert(run, profile):
    document = opened(run, profile, "#page=2")
    assert "<title>A run</title>" in document
    assert "&lt;script&gt;document.title='owned'&lt;/script&gt;.png" in shown_titles(document)
    assert ">file not found<" not in document  # so each odd address has led to its file
    assert not re.search(r"<\w+[^>]* onerror=", document)


@pytest.mark.browser
def test_browser_shows_captions_as_words(profile, tmp_path):
    picture = Picture(HOSTILE, "alt", HOSTILE)
    document = opened(gallery(tmp_path, [Row("x", (picture, None, None, None))]), profile)
    [caption] = re.findall(r'<span class="caption"[^>]*>(.*?)</span>', document)
    assert caption.replace("<wbr>", "") == HOSTILE.replace("<", "&lt;").replace(">", "&gt;")


@pytest.mark.browser
def test_browser_shows_links_of_rows(profile, tmp_path):
    led = Row("y", (None,) * len(COLUMNS), link=("match.html#item=1", HOSTILE))
    document = opened(gallery(tmp_path, [led]), profile)
    [(address, words)] = re.findall(r'<a class="more" href="(.*?)">(.*?)</a>', document)
    assert address == "match.html#item=1"
    assert words == HOSTILE.replace("<", "&lt;").replace(">", "&gt;")


@pytest.mark.browser
def test_browser_keys_lead_through_the_viewer(run, profile):
    script = """<script>setTimeout(() => {
        document.querySelectorAll("a.tile")[2].click();
        for (const key of ["ArrowDown", "ArrowLeft"]) {
            document.getElementById("viewer").dispatchEvent(new KeyboardEvent("keydown", { key }));
        }
    }, 500)</script>"""
    page = run.with_name("pressed.html")
    page.write_text(run.read_text("utf-8").replace("</body>", script + "</body>"), "utf-8")
    document = opened(page, profile)
    assert re.search(r"<dialog[^>]* open", document)
    assert '<strong id="viewer-column">Exemplar</strong>' in document
    assert re.search(r'<span id="viewer-title"[^>]*>item_0001</span>', document)


@pytest.mark.browser
def test_browser_says_which_part_is_missing(run, profile, tmp_path):
    alone = tmp_path / INDEX
    shutil.copy(run, alone)
    assert "_cocos/rows/0000.js is missing or damaged" in opened(alone, profile, quiet=False)


@pytest.mark.browser
def test_browser_shows_a_matrix(run, profile, tmp_path):
    image = Picture("a #1.png", "teal")
    shutil.copy(run.with_name(image.src), tmp_path)
    exemplars = [Picture(image.src, name) for name in ("first", "second")]
    rows = [(Picture(image.src, f"input {n}"), [image, None]) for n in range(3)]
    document = opened(write_matrix(tmp_path, "All", exemplars, rows, {}), profile)
    assert shown_titles(document) == ["first", "second", "input 0", "input 1", "input 2"]
    assert document.count(">not made<") == 3
    assert document.count("<a class=") == 2 + 3 * 2
    check_looks(tmp_path / INDEX, profile, sideways=True)
