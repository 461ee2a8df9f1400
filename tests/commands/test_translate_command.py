"""`cocos translate` as a user meets it: defaults, inputs, pairs, sizes, formats, summaries."""

from __future__ import annotations

import io
import json
import os
import random

import numpy as np
import pytest
from PIL import Image, ImageCms

ODD = [
    "with space.png",
    'quote\'s "double".png',
    "line\nbreak.png",
    "画像-öß.png",
    "many.dots.in.it.png",
    "<script>alert(1)</script>.png".replace("/", "\u2215"),
    os.fsdecode(b"caf\xe9.png"),
    "percent%41.png",
    "-dash.png",
    ":smile:.png",
    "[red]x.png",
]


def image(path) -> Image.Image:
    with Image.open(path) as opened:
        opened.load()
        return opened


# Defaults.


def test_only_an_exemplar_is_enough(desk):
    desk.photo()
    told = desk.run("translate", "--exemplar", "photos", "--workers", 0, "--limit", 2)
    assert told.code == 0 and not told.out
    assert told.said[0].startswith("weights: ")
    assert "scenes.safetensors" in told.said[0] and "--weights" in told.said[0]
    assert any(line.startswith("inputs: 8 generated scenes") for line in told.said)
    assert any("out/translate" in line and "--output" in line for line in told.said)
    assert set(desk.statuses("out/translate").values()) == {"done"}
    assert (desk.folder / "out/translate/index.html").is_file()


def test_photos_get_the_bundled_weights_for_edges(desk):
    desk.photo()
    told = desk.run("translate", "photos", "--exemplar", "photos", "--workers", 0, "--size", 64)
    assert told.code == 0
    assert "faces.safetensors" in told.said[0]


def test_weights_that_are_not_to_be_had_are_said_with_what_is(desk):
    desk.photo()
    told = desk.run("translate", "photos", "--exemplar", "photos", "--layout", "pose")
    assert told.code == 1
    assert told.said[-2].startswith("error: no weights for pose conditions: no run in ./runs fits")
    assert "edges of 1 planes, labels of 14 planes" in told.said[-2]
    assert "--weights FILE" in told.said[-1]


def test_defaults_are_not_said_where_they_are_given(desk):
    desk.fill()
    assert len(desk.translate().said) == 1


def test_dry_run_says_the_plan_and_writes_nothing(desk):
    desk.fill()
    before = sorted(desk.folder.rglob("*"))
    told = desk.translate("--dry-run", "--json", "--limit", 2)
    facts = json.loads(told.out)
    assert told.code == 0 and facts["inputs"] == 3 and facts["exemplars"] == 2
    assert facts["pairs"] == 2 and facts["memory_mb"] > 0
    assert facts["first"][0]["input"] == "m0.png"
    assert sorted(desk.folder.rglob("*")) == before


def test_dry_run_with_defaults_writes_nothing(desk):
    desk.photo()
    before = sorted(desk.folder.rglob("*"))
    assert desk.run("translate", "--exemplar", "photos", "--dry-run").code == 0
    assert sorted(desk.folder.rglob("*")) == before


@pytest.mark.parametrize("name", [*ODD, f"{'long' * 40}.png", r"\[b].png"])
def test_dry_run_shows_names_as_they_are(desk, name):
    desk.mask(f"masks/{name}")
    desk.photo()
    told = desk.translate("--dry-run")
    assert told.code == 0
    if name.isprintable():
        assert name in told.out


def test_generated_inputs_need_room(desk):
    desk.photo()
    desk.file("out", "in the way")
    told = desk.run("translate", "--exemplar", "photos", "--workers", 0)
    assert told.code == 1 and told.said[-2].startswith("error: out")


# Inputs.


def test_the_tree_is_mirrored_and_no_names_collide(desk):
    ids = Image.new("L", (64, 64), 3)
    for name in ("x.png", "x.bmp", "x.tif", "a/x.png", "b/x.png", "a/deep/er/x.png"):
        desk.picture(f"masks/{name}", ids)
    desk.photo()
    assert desk.translate().code == 0
    assert set(desk.results()) == {
        "x.png.png", "x.bmp.png", "x.tif.png", "a/x.png.png", "b/x.png.png", "a/deep/er/x.png.png",
    }  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_names_work_everywhere(desk, name):
    desk.mask(f"masks/{name}/{name}")
    desk.photo(f"photos/{name}")
    told = desk.translate("--pairs", "all")
    assert told.code == 0
    key = f"{name}/{name}/{name}"
    assert list(desk.results()) == [f"{key}.png"]
    assert desk.translate("--pairs", "all").said[-1].startswith("0 done")
    page = (desk.folder / "out/index.html").read_text("utf-8")
    assert "<script>alert" not in page


def test_names_cannot_steer_the_terminal(desk):
    desk.file("masks/\x1b[2J\nevil.png", b"not an image")
    desk.photo()
    told = desk.translate()
    assert told.code == 3 and "\x1b" not in told.err
    assert sum(line.startswith("warning") for line in told.said) == 1
    assert not any(line.startswith("evil") for line in told.said)


def test_one_file_is_an_input(desk):
    desk.fill()
    assert desk.translate(inputs="masks/m1.png").code == 0
    assert set(desk.results()) == {"m1.png.png"}


def test_lists_and_standard_input(desk):
    desk.fill()
    lines = b"masks/m1.png\r\n\nmasks/../masks/m0.png\nmasks/m1.png\n"
    desk.file("list.txt", lines)
    assert desk.translate(inputs="@list.txt").code == 0
    assert set(desk.results()) == {"m0.png.png", "m1.png.png"}
    assert desk.translate(inputs="-", stdin=lines, output="other").code == 0
    assert desk.results("other") == desk.results()


def test_lists_may_be_separated_by_nul(desk):
    desk.mask("masks/line\nbreak.png")
    desk.mask("masks/b.png")
    desk.photo()
    told = desk.translate("-0", inputs="-", stdin=b"masks/line\nbreak.png\0masks/b.png\0")
    assert told.code == 0 and len(desk.results()) == 2


def test_a_nul_list_read_by_lines_fails_that_item_alone(desk):
    desk.fill(2)
    told = desk.translate(inputs="-", stdin=b"masks/m0.png\0masks/m1.png\nmasks/m1.png\n")
    assert told.code in (1, 3)


def test_a_list_of_two_trees_keeps_them_apart(desk):
    desk.mask("one/x.png", 1)
    desk.mask("two/x.png", 2)
    desk.photo()
    assert desk.translate(inputs="-", stdin=b"one/x.png\ntwo/x.png\n").code == 0
    assert set(desk.results()) == {"one/x.png.png", "two/x.png.png"}


def test_listed_files_that_are_missing_fail_alone(desk):
    desk.fill(1)
    told = desk.translate(inputs="-", stdin=b"masks/m0.png\nmasks/gone.png\nmasks\n../../up.png\n")
    assert told.code == 3
    assert sorted(row["status"] for row in desk.manifest().values()) == ["done"] + ["failed"] * 3
    inside = {desk.folder / "masks", desk.folder / "photos", desk.folder / "out"}
    assert set(desk.folder.iterdir()) == inside


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\r\n"])
def test_an_empty_list_is_an_error(desk, data):
    desk.fill()
    told = desk.translate(inputs="-", stdin=data)
    assert told.code == 1 and told.said[0] == "error: standard input: the list is empty."


def test_results_below_the_inputs_are_no_inputs(desk):
    desk.mask("work/m.png")
    desk.photo()
    assert desk.translate(inputs="work", output="work/out").code == 0
    again = desk.translate(inputs="work", output="work/out")
    assert again.code == 0 and again.said[-1].startswith("0 done")


def test_an_empty_argument_is_not_the_current_folder(desk):
    desk.fill()
    desk.mask("stray.png")
    assert desk.translate(inputs="").code == 2
    assert desk.translate("--exemplar", "").code == 2


# Pairs.


def exemplars_of(desk, output: str = "out") -> dict[str, str]:
    return {row["input"]: row["exemplar"] for row in desk.manifest(output).values()}


def test_cycle_takes_turns(desk):
    desk.fill(5, 2)
    assert desk.translate().code == 0
    names = [exemplars_of(desk)[f"m{n}.png"] for n in range(5)]
    assert names == ["e0.png", "e1.png", "e0.png", "e1.png", "e0.png"]


def test_random_depends_on_seed_and_key_alone(desk):
    desk.fill(12, 5)
    names = [f"masks/m{n}.png" for n in range(12)]
    assert desk.translate("--pairs", "random").code == 0
    random.Random(0).shuffle(names)
    some = "\n".join(names).encode()
    desk.translate("--pairs", "random", inputs="-", stdin=some, output="shuffled")
    desk.translate("--pairs", "random", "--seed", 1, output="seeded")
    assert exemplars_of(desk) == exemplars_of(desk, "shuffled") != exemplars_of(desk, "seeded")
    assert len(set(exemplars_of(desk).values())) > 2


def test_all_names_results_by_both_and_makes_a_matrix(desk):
    desk.fill(2, 3)
    assert desk.translate("--pairs", "all").code == 0
    assert set(desk.results()) == {f"m{i}.png/e{j}.png.png" for i in range(2) for j in range(3)}
    assert '"layout":"matrix"' in (desk.folder / "out/index.html").read_text("utf-8")


def test_nearest_takes_the_exemplar_of_like_labels(desk):
    for n in range(4):
        desk.mask(f"masks/m{n}.png", seed=n)
        desk.photo(f"photos/e{3 - n}.png")
        desk.mask(f"photos_masks/e{3 - n}.png", seed=n, size=(96, 128))
    assert desk.translate("--pairs", "nearest").code == 0
    assert exemplars_of(desk) == {f"m{n}.png": f"e{3 - n}.png" for n in range(4)}
    assert all(row["exemplar"] for row in desk.manifest().values())


def test_nearest_needs_label_maps(desk):
    desk.fill()
    told = desk.translate("--pairs", "nearest")
    assert told.code == 1 and "condition was not found" in told.said[0] and "e0.png" in told.said[0]
    edges = desk.weights / "edges.safetensors"
    told = desk.translate("--pairs", "nearest", "--weights", edges, inputs="photos")
    assert told.code == 2 and "'edges' has none" in told.said[0]


@pytest.mark.parametrize(
    "start", [b"", b"input,exemplar\n", b"\xef\xbb\xbf", b"\xef\xbb\xbfinput,exemplar\r\n"]
)
def test_pairs_from_a_file(desk, start):
    desk.fill(2, 2)
    desk.file("pairs.csv", start + b"m1.png,e0.png\r\nm1.png,e1.png\n\nmasks/m0.png,./e0.png\n")
    assert desk.translate("--pairs", "pairs.csv").code == 0
    pairs = {(row["input"], row["exemplar"]) for row in desk.manifest().values()}
    assert pairs == {("m1.png", "e0.png"), ("m1.png", "e1.png"), ("m0.png", "e0.png")}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (b"m0.png\n", "line 1: 1 columns, expected 2"),
        (b"m0.png,e0.png\nm1.png,e0.png,3\n", "line 2: 3 columns, expected 2"),
        (b"m9.png,e0.png\n", "line 1: 'm9.png' is not among INPUTS"),
        (b"m0.png,e9.png\n", "line 1: 'e9.png' is not among the exemplars"),
        (b"m0.png,e0.png\n./m0.png,e0.png\n", "line 2: this pair is listed twice"),
        (b"", "no pairs in it"),
        (b"input,exemplar\n", "no pairs in it"),
        (b"\x89PNG\r\n\x1a\n\0\xff\xfe,,\n", "line 1: 1 columns, expected 2"),
        (b'"' + b"x" * 200_000, "field"),
    ],
)  # fmt: skip
def test_pairs_that_cannot_be_used(desk, rows, found):
    desk.fill(2, 2)
    desk.file("pairs.csv", rows)
    told = desk.translate("--pairs", "pairs.csv")
    assert told.code == 1 and not told.out
    assert told.said[0].startswith("error: pairs.csv") and found in told.said[0]
    assert not (desk.folder / "out").exists()


@pytest.mark.parametrize("pairs", ["pairs.csv", "Cycle", "masks", ""])
def test_pairs_that_are_neither_a_way_nor_a_file(desk, pairs):
    desk.fill()
    told = desk.translate("--pairs", pairs)
    assert told.code == 2 and told.said[0].startswith(f"error: --pairs {pairs}: neither one of")


def test_a_file_of_all_pairs_in_any_order_shows_each_where_it_belongs(desk):
    desk.fill(2, 2)
    desk.file("pairs.csv", "m1.png,e1.png\nm0.png,e1.png\nm0.png,e0.png\nm1.png,e0.png\n")
    assert desk.translate("--pairs", "pairs.csv").code == 0
    page = (desk.folder / "out/index.html").read_text("utf-8")
    rows = (desk.folder / "out/_cocos/rows/0000.js").read_text("utf-8")
    table = json.loads(rows[rows.index("[") : rows.rindex("]") + 1])
    if '"layout":"matrix"' not in page:
        return
    for title, pictures, *_ in table:
        for j, picture in enumerate(pictures[1:]):
            assert picture[0] == f"{title}/e{j}.png.png"


# Sizes and formats.


@pytest.mark.parametrize(
    ("size", "found"),
    [("64", (64, 64)), ("96x64", (96, 64)), ("65x97", (65, 97)), ("original", (70, 45))],
)
def test_results_have_exactly_the_size(desk, size, found):
    desk.mask(size=(70, 45))
    desk.photo(size=(50, 90))
    assert desk.translate("--size", size).code == 0
    assert image(desk.folder / "out/a.png.png").size == found


def test_original_sizes_may_all_differ(desk):
    sizes = [(65, 97), (1, 1), (33, 200), (64, 64), (97, 65), (65, 97)]
    for n, size in enumerate(sizes):
        desk.mask(f"masks/{n}.png", n, size)
        desk.photo(f"photos/{n}.png", n, size[::-1])
    assert desk.translate("--size", "original", "--batch-size", 4).code == 0
    for n, size in enumerate(sizes):
        assert image(desk.folder / f"out/{n}.png.png").size == size


@pytest.mark.parametrize("size", ["", "0", "63", "16385", "64x", "64x64x64", "-64", "1e3", "big"])
def test_sizes_that_are_none(desk, size):
    desk.fill()
    told = desk.translate("--size", size)
    assert told.code == 2 and told.said[0].startswith(f"error: --size {size}: expected a side")


@pytest.mark.parametrize(("format", "name"), [("png", "PNG"), ("jpg", "JPEG"), ("webp", "WEBP")])
def test_results_are_tagged_srgb(desk, format, name):
    desk.fill(1, 1)
    assert desk.translate("--format", format).code == 0
    result = image(desk.folder / f"out/m0.png.{format}")
    assert result.format == name and result.mode == "RGB"
    profile = ImageCms.ImageCmsProfile(io.BytesIO(result.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)


def test_webp_of_quality_100_is_the_png(desk):
    desk.fill(1, 1)
    desk.translate()
    desk.translate("--format", "webp", "--quality", 100, output="webp")
    png, webp = image(desk.folder / "out/m0.png.png"), image(desk.folder / "webp/m0.png.webp")
    assert np.array_equal(np.asarray(png), np.asarray(webp))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("format", "JPG"), ("device", "gpu"), ("device", "meta"), ("device", "cuda:99"),
        ("device", "cpu:x"), ("device", ""), ("precision", "fp64"), ("precision", "fp16"),
        ("layout", "ade"),
        ("ignore-label", "70000"), ("ignore-label", "99999999999999999999"),
    ],
)  # fmt: skip
def test_values_that_are_none_of_the_choices(desk, option, value):
    desk.fill()
    told = desk.translate(f"--{option}", value)
    assert told.code == 2 and f"--{option}" in told.said[0]
    assert not (desk.folder / "out").exists()


def test_bf16_is_near_fp32(desk):
    desk.fill(2, 1)
    desk.translate()
    assert desk.translate("--precision", "bf16", output="bf16").code == 0
    one, other = (np.asarray(image(desk.folder / f"{d}/m0.png.png"), int) for d in ("out", "bf16"))
    assert np.abs(one - other).mean() < 4


def test_ignore_label_is_not_a_class(desk):
    desk.picture("masks/a.png", Image.new("L", (64, 64), 255))
    desk.photo()
    assert desk.translate().code == 0
    told = desk.translate("--ignore-label", -1, output="none")
    assert told.code == 3 and "255" in told.err
    assert desk.translate("--ignore-label", 300, inputs="masks", output="above").code in (2, 3)


def test_colour_coded_masks(desk):
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, 32:] = (200, 10, 10)
    desk.picture("masks/a.png", Image.fromarray(pixels))
    desk.photo()
    told = desk.translate()
    assert told.code == 3 and "--colors" in told.err
    desk.file("colors.json", "[[0,0,0],[200,10,10]]")
    assert desk.translate("--colors", "colors.json", output="colours").code == 0
    told = desk.translate("--colors", "none.json", output="missing")
    assert told.code == 1 and "none.json" in told.said[0]


# Summaries.


def test_summary_as_json(desk):
    desk.fill(3, 2)
    desk.file("masks/bad.png", b"text")
    told = desk.translate("--json")
    summary = json.loads(told.out)
    assert told.code == 3 and told.out.count("\n") == 1
    assert summary.pop("seconds") >= 0
    page = "out/index.html"
    assert summary == {"output": "out", "page": page, "done": 3, "failed": 1, "skipped": 0}
    again = json.loads(desk.translate("--json").out)
    assert again["done"] == 0 and again["failed"] == 1


def test_counts_add_up_in_a_second_run(desk):
    desk.fill(3, 2)
    desk.file("masks/bad.png", b"text")
    desk.translate()
    again = json.loads(desk.translate("--json").out)
    assert again["done"] + again["failed"] + again["skipped"] == 4


def test_gallery_0_makes_no_page(desk):
    desk.fill()
    told = desk.translate("--gallery", 0, "--json")
    assert json.loads(told.out)["page"] is None
    assert not (desk.folder / "out/index.html").exists()
    assert not (desk.folder / "out/_cocos/thumbs").exists()


def test_the_page_shows_every_item(desk):
    desk.fill(3, 2)
    desk.file("masks/bad.png", b"text")
    desk.translate()
    rows = (desk.folder / "out/_cocos/rows/0000.js").read_text("utf-8")
    table = json.loads(rows[rows.index("[") : rows.rindex("]") + 1])
    assert {row[0] for row in table} == {"bad.png", "m0.png", "m1.png", "m2.png"}
    for title, pictures, note, failed in table:
        assert failed == (title == "bad.png") and note
        assert failed or all((desk.folder / "out" / src).is_file() for src, _ in pictures)


def test_all_pairs_encode_every_input_and_every_exemplar_once(desk, monkeypatch):
    """Features of an input serve all its exemplars, and those of an exemplar all inputs."""
    from cocosnet.correspondence import Correspondence

    desk.fill()
    seen = {"encode_input": 0, "encode_exemplar": 0}

    def count(name):
        encode = getattr(Correspondence, name)

        def counted(self, images, *rest):
            seen[name] += len(images)
            return encode(self, images, *rest)

        monkeypatch.setattr(Correspondence, name, counted)

    for name in seen:
        count(name)
    assert desk.translate("--pairs", "all", "--workers", 0).code == 0
    assert len(desk.results()) == 6
    assert seen == {"encode_input": 3, "encode_exemplar": 2}


def test_many_exemplars_are_read_with_their_items(desk, monkeypatch):
    from cocoscli.engine import items

    desk.fill(4, 3)
    desk.translate()
    monkeypatch.setattr(items, "RESIDENT", 1)
    assert desk.translate("--batch-size", 3, output="other").code == 0
    assert desk.results("other") == desk.results()


def test_a_dataset_as_exemplars_means_its_photos(desk):
    desk.mask("data/masks/a.png")
    desk.photo("data/images/a.jpg")
    told = desk.translate("--exemplar", "data", "--dry-run", "--json", inputs="data")
    assert told.code == 0 and json.loads(told.out)["exemplars"] == 1
