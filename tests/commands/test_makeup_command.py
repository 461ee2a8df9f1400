"""`cocos makeup` as a user meets it: what is painted, what is kept, what is refused."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage import data

from cocoscli.data import faces, portraits
from cocoscli.engine.gallery import thumb_name

SIDE = 128
RED = (220, 40, 60)
STROKE = np.s_[70:80, 50:80]


def pixels(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture(scope="module")
def face() -> Image.Image:
    """The head of scikit-image's astronaut, who is in the public domain."""
    return Image.fromarray(data.astronaut()[0:220, 120:340]).resize((SIDE, SIDE))


@pytest.fixture
def studio(desk, face):
    """ref.png, a stroke for it, and the same face as the one target: there matches are sure."""
    desk.picture("ref.png", face)
    strokes = np.zeros((SIDE, SIDE, 4), np.uint8)
    strokes[STROKE] = (*RED, 255)
    desk.picture("strokes.png", Image.fromarray(strokes))
    desk.picture("faces/a.png", face)
    return desk


def makeup(desk, *more, source="ref.png", layer="strokes.png", targets="faces", **options):
    given = [str(each) for each in more]
    fixed = ["makeup", "--targets", targets, "--output", options.get("output", "out")]
    fixed += ["--source", source] if source else []
    fixed += ["--layer", layer] if layer else []
    fixed += [] if "--faces" in given else ["--faces", "centred"]
    fixed += ["--workers", 0, "--weights", desk.weights / "edges.safetensors"]
    return desk.run(*fixed, *given, stdin=options.get("stdin", b""))


# What is painted and what is kept.


def test_the_stroke_lies_on_the_same_place_and_nothing_else_changes(studio, face):
    assert makeup(studio).code == 0
    before, after = np.asarray(face).astype(int), pixels(studio.folder / "out/a.png.png")
    changed = (before != after).any(axis=-1)
    inside = np.zeros((SIDE, SIDE), bool)
    inside[STROKE] = True
    assert (changed & inside).sum() > 0.8 * inside.sum()
    assert (changed & ~inside).sum() < 0.3 * inside.sum()
    expected = before[73:77, 55:75] * np.array(RED) / 255
    assert np.abs(after[73:77, 55:75] - expected).mean() < 12
    row = studio.manifest()["a.png"]
    assert row["exemplar"] == "ref.png" and row["faces"] == 1 and row["match"] > 0.7
    shown = pixels(studio.folder / "out" / thumb_name("a.png", "before")).astype(int)
    assert np.abs(shown - before)[STROKE].mean() < 8  # without the paint


def test_nothing_but_the_three_options_is_needed(studio):
    told = studio.run("makeup", "--source", "ref.png", "--layer", "strokes.png", "--targets",
                      "faces", "--faces", "centred", "--workers", 0)  # fmt: skip
    assert told.code == 0 and (studio.folder / "out/makeup/a.png.png").exists()
    assert "faces.safetensors" in told.err and "out/makeup" in told.err


def test_strength_and_blend(studio):
    means = {}
    for name, options in {
        "half": ["--strength", 0.5], "whole": [], "alpha": ["--blend", "alpha"],
        "soft": ["--blend", "soft-light"],
    }.items():  # fmt: skip
        assert makeup(studio, *options, output=name).code == 0
        means[name] = pixels(studio.folder / name / "a.png.png")[73:77, 55:75].mean((0, 1))
    bare = pixels(studio.folder / "faces/a.png")[73:77, 55:75].mean((0, 1))
    assert np.abs(means["half"] - (bare + means["whole"]) / 2).max() < 6
    assert np.abs(means["alpha"] - RED).max() < 25
    assert np.ptp([means[n][1] for n in ("whole", "alpha", "soft")]) > 5


def test_a_jpeg_becomes_a_png_that_keeps_its_pixels(studio, face):
    studio.picture("faces/a.jpg", face, quality=90)
    (studio.folder / "faces/a.png").unlink()
    assert makeup(studio).code == 0
    before, after = pixels(studio.folder / "faces/a.jpg"), pixels(studio.folder / "out/a.jpg.png")
    assert np.array_equal(before[:50], after[:50]) and not np.array_equal(before, after)


def test_another_format_if_asked(studio):
    assert makeup(studio, "--format", "jpg").code == 0
    with Image.open(studio.folder / "out/a.png.jpg") as image:
        assert image.format == "JPEG"


def test_transparency_is_kept(studio, face):
    clear = face.convert("RGBA")
    alpha = np.full((SIDE, SIDE), 255, np.uint8)
    alpha[:20], alpha[20:30] = 0, 90
    clear.putalpha(Image.fromarray(alpha))
    studio.picture("faces/a.png", clear)
    assert makeup(studio).code == 0
    after = pixels(studio.folder / "out/a.png.png")
    assert after.shape[2] == 4 and np.array_equal(after[..., 3], alpha)
    assert np.array_equal(after[:50, :, :3], np.asarray(face)[:50])  # the clear ones' too


def test_an_icc_profile_is_kept_and_pixels_with_it(studio, face):
    display_p3 = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    display_p3 = display_p3[:24] + b"\x07\xe0" + display_p3[26:]  # another time of making
    studio.picture("faces/a.png", face, icc_profile=display_p3)
    assert makeup(studio).code == 0
    with Image.open(studio.folder / "out/a.png.png") as image:
        assert image.info["icc_profile"] == display_p3
    assert np.array_equal(pixels(studio.folder / "out/a.png.png")[:50], np.asarray(face)[:50])


@pytest.mark.parametrize(("mode", "suffix"), [("L", "png"), ("CMYK", "jpg"), ("P", "png")])
def test_other_modes_become_rgb(studio, face, mode, suffix):
    (studio.folder / "faces/a.png").unlink()
    studio.picture(f"faces/b.{suffix}", face.convert(mode))
    assert makeup(studio).code == 0
    after = pixels(studio.folder / f"out/b.{suffix}.png")
    assert after.shape == (SIDE, SIDE, 3) and np.ptp(after[75, 60].astype(int)) > 60


def test_targets_keep_their_own_size(studio, face):
    studio.picture("faces/a.png", face.resize((700, 700), Image.Resampling.BICUBIC))
    assert makeup(studio).code == 0
    after = pixels(studio.folder / "out/a.png.png")
    before = pixels(studio.folder / "faces/a.png")
    changed = (after != before).any(axis=-1)
    assert after.shape == before.shape
    assert changed[400:420, 300:400].mean() > 0.8 and not changed[:300].any()


def test_two_sources_each_with_a_region(studio, face):
    """Lips from one and eyes from the other, by parsing maps of both."""
    ids = np.ones((SIDE, SIDE), np.uint8)
    ids[70:75, 52:78], ids[75:80, 52:78] = 10, 12  # lips
    ids[44:48, 45:55], ids[44:48, 72:82] = 6, 5  # eyes
    studio.picture("parts.png", Image.fromarray(ids))
    for name, colour in (("one", (250, 20, 20)), ("two", (20, 20, 250))):
        strokes = np.zeros((SIDE, SIDE, 4), np.uint8)
        strokes[70:80, 52:78] = strokes[38:43, 45:82] = (*colour, 255)
        studio.picture(f"{name}.png", Image.fromarray(strokes))
    second = ("--source", "ref.png", "--layer", "two.png", "--parts", "parts.png")
    told = makeup(studio, *second, "--parts", "parts.png", "--regions", "lips",
                  "--regions", "eyes", "--blend", "alpha", layer="one.png")  # fmt: skip
    assert told.code == 0, told.err
    after = pixels(studio.folder / "out/a.png.png").astype(int)
    assert after[75, 65, 0] > after[75, 65, 2] + 100 and after[40, 50, 2] > after[40, 50, 0] + 100


def test_the_source_alone_gives_its_lips(studio, face):
    ids = np.ones((SIDE, SIDE), np.uint8)
    ids[70:75, 52:78], ids[75:80, 52:78] = 10, 12
    ids[44:48, 45:55], ids[44:48, 72:82] = 6, 5
    studio.picture("parts.png", Image.fromarray(ids))
    red = np.asarray(face).copy()
    red[70:80, 52:78] = red[70:80, 52:78] * np.array([0.9, 0.5, 0.6])
    studio.picture("red.png", Image.fromarray(red))
    options = ("--parts", "parts.png", "--regions", "lips")
    assert makeup(studio, *options, source="red.png", layer=None).code == 0
    before, after = pixels(studio.folder / "faces/a.png"), pixels(studio.folder / "out/a.png.png")
    assert after[75, 65, 1] < before[75, 65, 1] - 10
    assert np.array_equal(before[:60], after[:60])


def test_makeup_from_the_same_portrait_without_it(studio, face):
    made = np.asarray(face).copy()
    made[STROKE] = made[STROKE] * np.array([0.9, 0.3, 0.4])
    studio.picture("made.png", Image.fromarray(made))
    studio.picture("bare.jpg", face, quality=92)
    assert makeup(studio, "--bare", "bare.jpg", source="made.png", layer=None).code == 0
    after = pixels(studio.folder / "out/a.png.png").astype(int)
    assert np.abs(after[73:77, 55:75] - made[73:77, 55:75]).mean() < 25


def test_the_generator_draws_too(studio):
    assert makeup(studio, "--render", "network").code == 0
    row = studio.manifest()["a.png"]
    assert row["also"] == ["a.png.network.png"]
    assert pixels(studio.folder / "out/a.png.network.png").shape == (64, 64, 3)


# Faces in the wild.


class FakeFaces:
    """A detector that finds faces where it is told, as (left, top, side)."""

    def __init__(self, patch, *boxes):
        self.boxes = boxes
        patch.setattr(portraits, "find_faces", self.find)

    def find(self, photo: np.ndarray, smallest: float) -> list[faces.Face]:
        found = []
        for left, top, side in self.boxes:
            mesh = np.full((478, 2), (left + side / 2, top + side / 2), np.float32)
            mesh[0], mesh[1] = (left, top), (left + side, top + side)
            for index, x in ((36, 0.3), (42, 0.7)):
                eye = faces.LANDMARKS[index : index + 6]
                mesh[eye] = (left + x * side, top + 0.4 * side)
            found.append(faces.Face(mesh))
        return found


@pytest.fixture
def group(studio, face):
    """Two of the face side by side, and the portrait found as one."""
    both = Image.new("RGB", (2 * SIDE, SIDE))
    both.paste(face, (0, 0))
    both.paste(face, (SIDE, 0))
    studio.picture("faces/a.png", both)
    return studio


@pytest.mark.parametrize(("asked", "count"), [("largest", 1), ("all", 2)])
def test_one_face_or_all_of_them(group, monkeypatch, asked, count):
    detector = FakeFaces(monkeypatch)

    def find(photo: np.ndarray, smallest: float) -> list[faces.Face]:
        detector.boxes = [(32 + n * SIDE, 24, 64) for n in range(photo.shape[1] // SIDE)]
        return FakeFaces.find(detector, photo, smallest)

    monkeypatch.setattr(portraits, "find_faces", find)
    told = makeup(group, "--faces", asked)
    assert told.code == 0, told.err
    assert group.manifest()["a.png"]["faces"] == count
    before, after = pixels(group.folder / "faces/a.png"), pixels(group.folder / "out/a.png.png")
    changed = (before != after).any(axis=-1)
    assert changed[73:77, 55:75].mean() > 0.8
    assert (changed[73:77, SIDE + 55 : SIDE + 75].mean() > 0.8) == (count == 2)


def test_a_target_without_a_face_costs_its_own_item(studio, monkeypatch):
    def find(photo: np.ndarray, smallest: float) -> list[faces.Face]:
        bright = photo.mean() > 5
        detector = FakeFaces(monkeypatch, *([(32, 24, 64)] if bright else []))
        monkeypatch.setattr(portraits, "find_faces", find)
        return detector.find(photo, smallest)

    monkeypatch.setattr(portraits, "find_faces", find)
    studio.picture("faces/dark.png", Image.new("RGB", (SIDE, SIDE)))
    told = makeup(studio, "--faces", "largest")
    assert told.code == 3 and "no face was found" in studio.manifest()["dark.png"]["error"]
    assert studio.statuses()["a.png"] == "done"


def test_without_the_extra_that_is_said(studio, monkeypatch):
    monkeypatch.setattr("cocoscli.engine.makeup_plan.available", lambda: False)
    told = makeup(studio, "--faces", "auto")
    assert told.code == 0 and "centred portraits" in told.err


# Many of them.


def test_a_second_run_does_nothing_and_another_layer_is_refused(studio):
    assert makeup(studio).code == 0
    again = makeup(studio, "--json")
    assert json.loads(again.out)["done"] == 0 and json.loads(again.out)["skipped"] == 1
    strokes = np.zeros((SIDE, SIDE, 4), np.uint8)
    strokes[20:30, 20:30] = 200
    studio.picture("strokes.png", Image.fromarray(strokes))
    refused = makeup(studio)
    assert refused.code == 1 and "other settings" in refused.err


def test_targets_on_standard_input_into_shards(studio):
    paths = "\n".join(os.path.join(studio.folder, "faces", n) for n in ("a.png",)).encode()
    assert makeup(studio, "--format", "shards", targets="-", stdin=paths).code == 0
    assert (studio.folder / "out/results-000000.tar").exists()
    assert (studio.folder / "out" / thumb_name("a.png", "result")).exists()


def test_the_page_shows_before_makeup_and_after(studio):
    assert makeup(studio).code == 0
    page = (studio.folder / "out/index.html").read_text()
    assert "before" in page and "makeup" in page
    for what in ("before", "layer"):
        assert (studio.folder / "out" / thumb_name("a.png", what)).exists()
    layer = pixels(studio.folder / "out" / thumb_name("a.png", "layer")).astype(int)
    assert layer[75, 65, 0] > layer[75, 65, 1] + 80 and (layer[5, 5] > 245).all()


def test_the_source_among_the_targets_is_left_out(studio, face):
    studio.picture("faces/ref.png", face)
    told = makeup(studio, source="faces/ref.png")
    assert told.code == 0 and "left out" in told.err and list(studio.manifest()) == ["a.png"]
    alone = makeup(studio, source="faces/a.png", targets="faces/a.png", output="alone")
    assert alone.code == 1 and "nothing in it but the source's own" in alone.err


def test_a_dry_run_writes_nothing(studio):
    told = makeup(studio, "--dry-run", "--json")
    assert told.code == 0 and json.loads(told.out)["targets"] == 1
    assert not (studio.folder / "out").exists()


# What is refused.


def test_layers_that_do_not_fit(studio, face):
    studio.picture("small.png", Image.new("RGBA", (64, 64), (255, 0, 0, 255)))
    studio.picture("empty.png", Image.new("RGBA", (SIDE, SIDE)))
    studio.picture("white.png", Image.new("RGB", (SIDE, SIDE), "white"))
    for layer, said in (
        ("small.png", "64x64, but its source ref.png is 128x128"),
        ("empty.png", "nothing is painted"),
        ("white.png", "nothing is painted"),
        ("none.png", "no such file"),
    ):
        told = makeup(studio, layer=layer)
        assert told.code == 1 and said in told.err, told.err
    studio.picture("opaque.png", face)
    told = makeup(studio, "--blend", "alpha", layer="opaque.png")
    assert told.code == 2 and "no transparency" in told.err


def test_bare_portraits_that_do_not_fit(studio, face):
    studio.picture("other.png", Image.fromarray(data.cat()[40:260, 120:340]).resize((SIDE, SIDE)))
    studio.picture("mirrored.png", face.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    studio.picture("large.png", face.resize((200, 200)))
    studio.picture("same.png", face)
    for bare, said in (
        ("other.png", "agrees to"), ("mirrored.png", "agrees to"),
        ("large.png", "200x200"), ("same.png", "there is no makeup"),
    ):  # fmt: skip
        told = makeup(studio, "--bare", bare, layer=None)
        assert told.code == 1 and said in told.err, told.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--blend", "screen"], "--blend screen: expected"),
        (["--faces", "two"], "--faces two: expected"),
        (["--via", "smell"], "--via smell: expected"),
        (["--render", "film"], "--render film: expected"),
        (["--regions", "nose"], "--regions nose: expected"),
        (["--regions", "lips", "--regions", "eyes"], "given 2 times, --source 1 times"),
        (["--bare", "ref.png"], "given twice"),
    ],
)
def test_options_that_do_not_go_together(studio, options, said):
    told = makeup(studio, *options)
    assert told.code == 2 and said in told.err, told.err


def test_weights_that_need_more_than_photos(studio):
    told = makeup(studio, "--weights", studio.weights / "ade20k.safetensors")
    assert told.code == 2 and "mix conditions into photos" in told.err


def test_a_target_that_is_no_photo(studio):
    studio.file("faces/b.png", b"nothing")
    told = makeup(studio)
    assert told.code == 3 and "not an image" in studio.manifest()["b.png"]["error"]
