"""`cocos evaluate` as a user meets it: figures of an output folder, what lacks, what is wrong."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import cocosnet
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from cocoscli.engine.evaluation import evaluation as module
from cocoscli.engine.evaluation import sets
from cocoscli.errors import CocosError


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of seeded random VGG-16 weights."""
    path = tmp_path_factory.mktemp("features") / "vgg.safetensors"
    save_file(cocosnet.features.random_features(16).state_dict(), path)
    return path


@pytest.fixture
def ask(desk, vgg, monkeypatch):
    """Evaluate a folder of the desk, Inception's weights out of reach."""

    def unreachable(weights: Path | None, device: object) -> object:
        raise CocosError("no FID: Inception's weights cannot be downloaded (no answer).")

    def absent(device: object) -> object:
        raise CocosError("no LPIPS: its weights cannot be had (no answer).")

    monkeypatch.setattr(module, "load_inception", unreachable)
    monkeypatch.setattr(module, "load_lpips", absent)
    monkeypatch.setattr(sets, "VGG_LAYER", "relu1_2")  # the deep layers at 256 px take seconds
    monkeypatch.setattr(sets, "VGG_CHANNELS", 64)

    def run(*more: object, folder: str = "out"):
        given = () if "--features" in more else ("--features", vgg)
        return desk.run("evaluate", folder, *given, "--workers", 0, *more)

    return run


@pytest.fixture
def translated(desk):
    """Three masks with photos, two exemplars with masks, and their translations in out/."""
    for n in range(3):
        desk.mask(f"data/masks/m{n}.png", n)
        desk.photo(f"data/images/m{n}.png", 10 + n)
    for n in range(2):
        desk.photo(f"photos/e{n}.png", n)
        desk.mask(f"photo_masks/e{n}.png", 20 + n)
    assert desk.translate(inputs="data/masks").code == 0
    return desk


def report(desk, folder: str = "out") -> dict:
    return json.loads((desk.folder / folder / "evaluation.json").read_text())


def test_a_run_is_measured_with_its_own_maps_and_photos(translated, ask):
    told = ask()
    assert told.code == 0, told.err
    found = report(translated)
    row = found["rows"]["results"]
    assert set(row) == {
        *("semantic_consistency", "style_colour", "style_texture", "copy_score"),
        *("frechet_vgg", "swd", "swd_levels"),
    }
    assert all(row[name]["pairs"] == 3 for name in ("semantic_consistency", "style_colour"))
    assert found["images"] == found["real_images"] == 3
    lines = told.out.splitlines()
    assert "Consistency" in lines[0] and lines[1].startswith("results")
    assert "vgg.safetensors (sha256 " in told.out and "bicubic" in told.out and "png" in told.out
    assert "no FID" in told.err and "below 2048" in told.err
    assert found["features"]["sha256"] in found["set_features"]["sha256"]
    assert {c["id"] for c in found["classes"]} <= set(range(14))


def test_results_that_are_their_photos_are_fully_consistent(translated, ask):
    for n in range(3):
        photo = translated.folder / f"data/images/m{n}.png"
        shutil.copyfile(photo, translated.folder / f"out/m{n}.png.png")
    assert ask().code == 0
    row = report(translated)["rows"]["results"]
    assert row["semantic_consistency"]["mean"] == pytest.approx(1, abs=1e-5)
    assert row["frechet_vgg"] == pytest.approx(0, abs=1e-3)
    assert row["swd"] == pytest.approx(0, abs=1e-3)


def test_results_do_not_depend_on_batches(translated, ask):
    ask("--batch-size", 1)
    one = report(translated)
    ask("--batch-size", 3)
    three = report(translated)
    for name, figure in one["rows"]["results"].items():
        if name == "swd_levels":
            continue
        a, b = (x["mean"] if isinstance(x, dict) else x
                for x in (figure, three["rows"]["results"][name]))  # fmt: skip
        assert a == pytest.approx(b, rel=1e-5, abs=2e-6), name


def test_baselines_are_rows_of_the_same_table(translated, ask):
    told = ask("--baselines")
    assert told.code == 0, told.err
    rows = report(translated)["rows"]
    assert list(rows) == ["results", "class colours", "colour transfer", "the exemplar, unmoved"]
    assert all(set(row) == set(rows["results"]) for row in rows.values())
    assert all(name in told.out for name in rows)
    # The exemplar stays where it is, so its L1 to itself is 0.
    copied = rows["the exemplar, unmoved"]["copy_score"]["mean"]
    assert copied < min(rows["results"]["copy_score"]["mean"], -0.1)


def test_the_truth_of_scenes(translated, ask):
    shutil.copytree(translated.folder / "out", translated.folder / "truth")
    for n in range(3):
        (translated.folder / f"truth/m{n}.png.png").rename(translated.folder / f"truth/m{n}.png")
    shifted = np.array(Image.open(translated.folder / "truth/m0.png")).astype(int)
    shifted = np.where(shifted > 127, shifted - 10, shifted + 10).astype(np.uint8)
    Image.fromarray(shifted).save(translated.folder / "truth/m0.png")
    assert ask("--truth", "truth").code == 0
    items = {item["key"]: item for item in report(translated)["items"]}
    assert items["m0.png"]["psnr"] == pytest.approx(20 * math.log10(25.5), abs=1e-4)
    assert items["m1.png"]["ssim"] == pytest.approx(1) and items["m1.png"]["truth_distance"] == 0


def test_several_exemplars_an_input_have_a_diversity(desk, ask):
    desk.fill(2, 2)
    desk.translate("--pairs", "all")
    told = ask()
    assert told.code == 0 and "not called LPIPS" in told.err
    row = report(desk)["rows"]["results"]
    assert row["diversity"]["pairs"] == 4 and row["diversity"]["mean"] > 0


def test_without_label_maps_there_are_figures_all_the_same(desk, ask):
    desk.fill()
    desk.translate()
    told = ask()
    assert told.code == 0 and set(report(desk)["rows"]["results"]) == {"copy_score"}
    assert "the exemplar's label map could not be read 3 times" in told.err
    assert "no real photos are known (--real DIR)" in told.err
    shutil.copytree(desk.folder / "photos", desk.folder / "maps")
    for n in range(2):
        desk.mask(f"maps/e{n}.png", n)
    assert ask("--exemplar-labels", "maps").code == 0
    assert "style_colour" in report(desk)["rows"]["results"]


def test_a_map_that_lacks_is_counted_and_the_rest_measured(translated, ask):
    (translated.folder / "data/masks/m1.png").unlink()
    told = ask()
    found = report(translated)["rows"]["results"]["semantic_consistency"]
    assert told.code == 0 and (found["pairs"], found["left_out"]) == (2, 1)
    assert "the input's label map could not be read 1 times" in told.err


def test_a_result_that_is_gone_is_left_out_and_named(translated, ask):
    (translated.folder / "out/m1.png.png").unlink()
    told = ask()
    assert told.code == 3 and report(translated)["images"] == 2
    assert "1 results left out; the first: m1.png" in told.err
    for name in ("m0", "m2"):
        (translated.folder / f"out/{name}.png.png").unlink()
    told = ask()
    assert told.code == 1 and "none of its 3 results can be compared" in told.err


def test_one_image_has_no_distance_of_sets_but_patches(translated, ask):
    assert ask("--limit", 1).code == 0
    row = report(translated)["rows"]["results"]
    assert "frechet_vgg" not in row and row["swd"] >= 0


def test_sets_of_unequal_counts(translated, ask):
    for n in range(5):
        translated.photo(f"real/r{n}.jpg", n)
    told = ask("--real", "real")
    found = report(translated)
    assert told.code == 0 and found["real_images"] == 5 and found["real_formats"] == "jpg 5"
    assert "swd" in found["rows"]["results"]
    assert "the input's real photo could not be read 3 times" in told.err


def test_results_in_shards(translated, ask):
    assert (
        translated.translate("--format", "shards", inputs="data/masks", output="shards").code == 0
    )
    assert ask(folder="shards").code == 0 and ask().code == 0
    one, two = (report(translated, name)["rows"]["results"] for name in ("shards", "out"))
    assert one["style_colour"] == two["style_colour"]


def test_inputs_from_shards(desk, scene_shards, ask):
    desk.photo()
    desk.mask("photo_masks/e.png")
    assert desk.translate(inputs=scene_shards).code == 0
    assert ask().code == 0
    assert report(desk)["rows"]["results"]["semantic_consistency"]["left_out"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["empty"], "empty: neither a run.toml nor images in it"),
        (["masks", "--weights", "labels.safetensors"], "no exemplar"),
        (["out", "--points", "p.csv"], "--points needs --weights"),
        (["matches"], "made by `cocos correspond`; expected translations"),
        (["out", "--real", "nowhere"], "--real nowhere: no such folder"),
        (["out", "--truth", "nowhere"], "--truth nowhere: no such folder"),
        (["out", "--features", "nowhere"], "no VGG features: nowhere: no such weights file"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_line(desk, arguments, words):
    desk.fill(1, 1)
    desk.translate()
    desk.correspond(output="matches")
    (desk.folder / "empty").mkdir()
    told = desk.run("evaluate", *arguments)
    assert told.code in (1, 2) and not told.out
    assert words in told.err and told.said[0].startswith("error: ")


def test_json_is_the_report_without_its_items(translated, ask):
    found = json.loads(ask("--json").out)
    assert found["rows"] == report(translated)["rows"] and "items" not in found


def test_another_place_for_the_report(translated, ask):
    assert ask("--output", "elsewhere/report").code == 0
    assert (translated.folder / "elsewhere/report/evaluation.json").is_file()
    assert not (translated.folder / "out/evaluation.json").exists()


def test_two_runs_are_compared_pair_by_pair(translated, ask):
    shutil.copytree(translated.folder / "out", translated.folder / "photos_themselves")
    for n in range(3):
        photo = translated.folder / f"data/images/m{n}.png"
        shutil.copyfile(photo, translated.folder / f"photos_themselves/m{n}.png.png")
    told = ask("--against", "photos_themselves")
    assert told.code == 1 and "cocos evaluate" in told.err
    assert ask(folder="photos_themselves").code == 0
    told = ask("--against", "photos_themselves")
    assert told.code == 0
    found = report(translated)["against"]["differences"]["semantic_consistency"]
    assert found["low"] <= found["mean"] <= found["high"] < 0 and found["pairs"] == 3
    (line,) = (x for x in told.out.splitlines() if x.startswith("Consistency  "))
    assert line.endswith("worse")


def test_other_features_do_not_compare(translated, ask, tmp_path):
    assert ask("--output", "other").code == 0
    other = tmp_path / "vgg2.safetensors"
    save_file(cocosnet.features.random_features(16, seed=1).state_dict(), other)
    told = ask("--features", other, "--against", "other")
    assert told.code == 1 and "measured with other features" in told.err


def test_without_features_there_is_what_pixels_tell(desk, translated, ask):
    shutil.copytree(desk.folder / "data/images", desk.folder / "truth")
    told = ask("--features", "none", "--baselines", "--truth", "truth")
    assert told.code == 0 and "FID" not in told.err and "RANDOM" not in told.err
    found = report(translated)
    assert set(found["rows"]["results"]) == {"copy_score", "psnr", "ssim", "swd", "swd_levels"}
    assert set(found["rows"]["class colours"]) >= {"psnr", "swd"}
    assert found["features"] == found["set_features"] == {"name": "none", "sha256": ""}
    assert found["real_images"] == 3 and found["classes"] == []


def test_the_papers_figures_beside_ours(translated, ask):
    told = ask("--table", "paper")
    lines = told.out.splitlines()
    assert told.code == 0
    (faces,) = (x for x in lines if x.startswith("CelebA-HQ") and "the paper's" in x)
    assert faces.split()[-3:] == ["0.949", "0.977", "0.958"]
    assert any(x.startswith("features") and "VGG-19" in x for x in lines)
    assert ask("--table", "theirs").code == 2


def test_the_weights_that_translated_tell_of_their_correspondence(translated, ask):
    weights = translated.weights / "labels.safetensors"
    assert ask("--weights", weights, "--baselines").code == 0
    rows = report(translated)["rows"]
    assert "no correspondence" in rows
    row = rows["results"]
    assert all(0 <= row[n]["mean"] <= 1 for n in ("label_accuracy", "label_miou"))
    assert rows["the exemplar, unmoved"]["label_miou"]["mean"] < 0.5  # blocks drawn by chance
    assert row["cycle_l1"]["pairs"] == 3 and 0 < row["cycle_l1"]["mean"] < 2
    told = ask("--weights", translated.weights / "edges.safetensors")
    assert told.code == 1 and "other weights than the results are of" in told.err


def test_a_dry_run_says_the_plan_and_writes_nothing(translated, ask):
    before = sorted(translated.folder.rglob("*"))
    facts = json.loads(ask("--dry-run", "--json").out)
    assert (facts["results"], facts["real_photos"], facts["layout"]) == (3, 3, "labels")
    assert sorted(translated.folder.rglob("*")) == before


def test_pairs_that_weights_draw_have_the_figures_of_written_ones(translated, ask):
    given = ("--weights", translated.weights / "labels.safetensors", "--baselines")
    more = ("--size", 128, "--match-size", 16)
    assert translated.translate(*more, inputs="data/masks", output="small").code == 0
    assert ask(*given, folder="small").code == 0
    told = ask(*given, *more, "--exemplar", "photos", folder="data/masks")
    assert told.code == 0, told.err
    written, drawn = report(translated, "small"), report(translated, "out/evaluate")
    assert drawn["rows"] == written["rows"] and "no correspondence" in drawn["rows"]
    assert drawn["format"] == "not stored" and drawn["images"] == 3
    assert (translated.folder / "out/evaluate/evaluation.html").is_file()


def test_inputs_are_read_as_translate_reads_them(translated, ask):
    """Masks in colours, the exemplars' masks elsewhere, another number for no class."""
    colours = np.random.default_rng(0).integers(0, 256, (14, 3), np.uint8)
    translated.file("colours.json", json.dumps(colours.tolist()))
    for n in range(3):
        path = translated.folder / f"data/masks/m{n}.png"
        drawn = Image.fromarray(colours[np.asarray(Image.open(path))])
        translated.picture(f"drawn/m{n}.png", drawn)
    shutil.move(translated.folder / "photo_masks", translated.folder / "elsewhere")
    given = ("--weights", translated.weights / "labels.safetensors", "--exemplar", "photos",
             "--exemplar-condition", "elsewhere", "--ignore-label", 3)  # fmt: skip
    for output, more, folder in (
        ("plain", (), "data/masks"),
        ("coloured", ("--colors", "colours.json"), "drawn"),
    ):
        told = ask(*given, *more, "--output", output, folder=folder)
        assert told.code == 0, told.err
    plain, coloured = report(translated, "plain"), report(translated, "coloured")
    names = ("label_accuracy", "copy_score", "cycle_l1")
    assert all(name in plain["rows"]["results"] for name in names)
    assert [coloured["rows"]["results"][n] for n in names] == [
        plain["rows"]["results"][n] for n in names
    ]
    told = ask(*given, "--ignore-label", -1, "--output", "all", folder="data/masks")
    assert told.code == 0
    assert report(translated, "all")["rows"]["results"] != plain["rows"]["results"]


def test_samples_bring_their_own_exemplars(desk, scene_shards, ask):
    weights = desk.weights / "labels.safetensors"
    told = ask("--weights", weights, "--output", "told", folder=str(scene_shards))
    assert told.code == 0, told.err
    found = report(desk, "told")
    row = found["rows"]["results"]
    assert found["images"] == found["real_images"] > 0
    wanted = ("semantic_consistency", "style_colour", "copy_score", "label_miou", "cycle_l1")
    assert all(row[name]["pairs"] == found["images"] for name in wanted)
    assert {item["exemplar"] for item in found["items"]} == {
        f"{item['input']}#exemplar" for item in found["items"]
    }


def test_images_that_something_else_made(translated, ask):
    for n, row in translated.manifest().items():
        place = translated.folder / "theirs" / n
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(translated.folder / "out" / row["output"], place)
        for of, kept in (("photos", "style"), ("photo_masks", "style_masks")):
            (translated.folder / kept).mkdir(exist_ok=True)
            shutil.copyfile(translated.folder / of / row["exemplar"], translated.folder / kept / n)
    named = {"--real": "data/images", "--labels": "data/masks", "--exemplar": "style",
             "--exemplar-labels": "style_masks"}  # fmt: skip
    assert ask().code == 0
    told = ask(*(x for pair in named.items() for x in pair), folder="theirs")
    assert told.code == 0, told.err
    ours, theirs = (report(translated, name)["rows"]["results"] for name in ("out", "theirs"))
    assert set(theirs) == set(ours)
    for name in ("semantic_consistency", "style_colour", "style_texture", "frechet_vgg", "swd"):
        assert theirs[name] == pytest.approx(ours[name]), name


def test_images_alone_are_a_set_against_real_photos(translated, ask):
    assert ask("--real", "photos", folder="data/images").code == 0
    row = report(translated, "data/images")["rows"]["results"]
    assert set(row) == {"frechet_vgg", "swd", "swd_levels"}


def test_points_that_stay_are_found_by_what_stays(translated, ask):
    corners = [(f"{side}{n}.png", n) for side, many in (("m", 3), ("e", 2)) for n in range(many)]
    rows = [f"{key},{name},{x},{y}" for key, _ in corners
            for name, x, y in (("a", 5, 9), ("b", 40, 33))]  # fmt: skip
    rows += ["m0.png,alone,50,50"]
    rows[3] = "m1.png,b,60,60"
    translated.file("points.csv", "\n".join(["key,name,x,y", *rows]))
    weights = translated.weights / "labels.safetensors"
    told = ask("--weights", weights, "--points", "points.csv", "--baselines")
    assert told.code == 0, told.err
    found = report(translated)["rows"]
    stayed = found["the exemplar, unmoved"]
    # One of two points of one of three pairs lies 33.6 px from where the exemplar has it.
    assert stayed["pck_05"]["mean"] == pytest.approx((1 + 0.5 + 1) / 3, abs=1e-5)
    assert stayed["pck_05"]["pooled"] == pytest.approx(5 / 6, abs=1e-5)
    assert 0 <= found["results"]["pck_05"]["mean"] <= found["results"]["pck_10"]["mean"] <= 1
    assert "points, pooled" in told.out and "PCK@0.05" in told.out
    translated.file("points.csv", "m0.png,a,5,900")
    told = ask("--weights", weights, "--points", "points.csv")
    assert "what the pair is matched by could not be read" in told.err
