"""Training samples: what is drawn for them, and that photo and condition move together."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from cocoscli.data.points import Points, encode_known
from cocoscli.data.shards import Sample
from cocoscli.data.training import SampleReader, TrainingItem
from cocoscli.errors import BadInput
from cocoscli.recipe import read_recipe

STEP = 15
"""A photo's value a class id: what photo and map agree by."""
BLOCKS = np.kron(
    np.random.default_rng(0).integers(0, 14, (6, 6)), np.ones((16, 16), np.uint8)
).astype(np.uint8)
"""(96,96) ids."""


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def photo_of(ids: np.ndarray) -> np.ndarray:
    return np.repeat(ids[..., None] * STEP, 3, axis=2).astype(np.uint8)


def flat(value: int) -> np.ndarray:
    return np.full((96, 96), value, np.uint8)


def named(**points: tuple[float, float]) -> bytes:
    xy = np.array(list(points.values()))
    return encode_known(Points(tuple(points), xy), (96, 96))


def sample(exemplars: int = 0, ids: np.ndarray = BLOCKS) -> Sample:
    """Exemplar n shows class n + 1 everywhere."""
    members = {"image.png": png(photo_of(ids)), "condition.png": png(ids)}
    for n in range(exemplars):
        members[f"exemplar.{n}.png"] = png(photo_of(flat(n + 1)))
        members[f"exemplar_condition.{n}.png"] = png(flat(n + 1))
    return Sample("a%2Epng", members)


def reader(*changes: str) -> SampleReader:
    fixed = (
        "condition.size=64", "data.load=96", "model.mask_mix=true", "losses.points=0",
        "data.exemplars={ first = 0.5, last = 0.2, any = 0.0, pseudo = 0.3 }",
        "data.same_style=false", 'data.pseudo=["warp", "flip"]',
    )  # fmt: skip
    return SampleReader(read_recipe("scenes", (*fixed, *changes)))


def disagreement(photo: np.ndarray, condition: np.ndarray) -> float:
    """The share of pixels in which photo and ids differ; interpolation blurs borders."""
    return float((np.rint(photo[..., 0] / STEP) != condition[0]).mean())


def same(a: TrainingItem, b: TrainingItem) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


WAYS = {
    "crop": ('data.pseudo=["crop"]',),
    "flip": ('data.pseudo=["flip"]',),
    "warp": ('data.pseudo=["warp"]',),
    "all": ('data.pseudo=["crop", "flip", "warp"]',),
    "augmented": (
        "data.rotate=15", "data.scale=0.2", "data.shift=0.1", "data.bend=0.05",
        'data.pseudo=["crop", "flip", "warp"]',
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_photo_and_condition_move_together(way):
    reads = reader(*WAYS[way])
    moved = 0
    for seed in range(6):
        item = reads.training(sample(), (0, seed))
        assert item.pseudo and item.key == "a.png"
        assert item.photo.shape == item.exemplar.shape == (64, 64, 3)
        assert disagreement(item.photo, item.condition) < (0.12 if way == "augmented" else 1e-9)
        blurred = "warp" in str(WAYS[way])
        assert disagreement(item.exemplar, item.exemplar_condition) < (0.2 if blurred else 1e-9)
        moved += disagreement(item.exemplar, item.condition) > 0.2
    assert moved >= 2


def test_crops_of_a_pseudo_pair_are_drawn_apart_and_flips_too():
    reads = reader('data.pseudo=["crop"]', "data.flip=false")
    ids = (np.arange(96)[:, None] // 8 + np.zeros((1, 96))).astype(np.uint8)  # rows tell the top
    tops = [
        tuple(int(x[0, 0, 0]) for x in (item.photo, item.exemplar))
        for item in (reads.training(sample(ids=ids), (seed,)) for seed in range(30))
    ]
    assert len(set(tops)) > 10 and any(a != b for a, b in tops)


def test_a_pseudo_exemplar_of_a_flip_is_the_photo_or_its_mirror():
    reads = reader('data.pseudo=["flip"]')
    kinds = Counter()
    for seed in range(40):
        item = reads.training(sample(), (seed,))
        kinds["same"] += np.array_equal(item.exemplar, item.photo)
        kinds["mirrored"] += np.array_equal(item.exemplar, item.photo[:, ::-1])
    assert kinds.total() == 40 and 10 < kinds["mirrored"] < 30


def test_exemplars_are_drawn_by_their_shares():
    reads = reader("data.exemplars={ first = 0.5, last = 0.2, pseudo = 0.3 }", "data.flip=false")
    drawn: Counter[str] = Counter()
    for seed in range(400):
        item = reads.training(sample(3), (7, seed))
        drawn["pseudo" if item.pseudo else str(item.exemplar_condition[0, 0, 0])] += 1
    assert set(drawn) == {"pseudo", "1", "3"}  # the second of three is neither first nor last
    for name, share in (("1", 0.5), ("3", 0.2), ("pseudo", 0.3)):
        assert drawn[name] / 400 == pytest.approx(share, abs=0.07)


def test_without_a_stored_exemplar_all_are_pseudo_ones():
    reads = reader("data.exemplars={ first = 1.0, last = 0.0, pseudo = 0.0 }")
    assert all(reads.training(sample(), (seed,)).pseudo for seed in range(5))
    assert not any(reads.training(sample(1), (seed,)).pseudo for seed in range(5))


def test_a_zoomed_pair_shows_the_middle_of_both():
    """At a zoom of z a pixel of the photo's ramp is 1/z of a level further than the last."""
    ramp = np.repeat(np.arange(96, dtype=np.uint8)[None], 96, axis=0)
    given = sample(1)
    given.members["image.png"] = given.members["exemplar.0.png"] = png(
        np.repeat(2 * ramp[..., None], 3, axis=2)
    )
    reads = reader(
        "data.zoom=2.0", "data.load=64", "data.exemplars={ first=1.0, last=0.0, pseudo=0.0 }",
        "data.flip=false",
    )  # fmt: skip
    zooms = []
    for seed in range(12):
        item = reads.training(given, (seed,))
        rows = [photo[32, :, 0].astype(float) for photo in (item.photo, item.exemplar)]
        slopes = [(row[55] - row[8]) / 47 for row in rows]
        assert slopes[0] == pytest.approx(slopes[1], abs=0.05)
        assert rows[0][31:33].mean() == pytest.approx(95, abs=2)
        assert item.condition.shape[1:] == (64, 64)
        zooms.append(3 / slopes[0])  # 96 pixels of 2 levels on 64
    assert 0.98 < min(zooms) < 1.3 and 1.7 < max(zooms) < 2.02


def test_everything_follows_from_the_seed():
    reads = reader(*WAYS["augmented"], "data.colour=0.3")
    first = reads.training(sample(2), (1, 5))
    assert same(first, reads.training(sample(2), (1, 5)))
    assert not same(first, reads.training(sample(2), (1, 6)))
    assert not same(first, reads.training(sample(2), (2, 5)))


def test_colours_change_the_photo_and_not_its_map():
    plain, strong = (reader(f"data.colour={c}", "data.flip=false") for c in (0.0, 0.5))
    a, b = (r.held_out(sample()) for r in (plain, strong))
    assert same(a, b)  # held-out samples stay as they are
    changed = strong.training(sample(), (0,))
    assert len(np.unique(changed.condition)) > 4
    assert disagreement(changed.photo, changed.condition) > 0.5


def test_held_out_samples_are_always_the_same():
    reads = reader("data.flip=true", "data.rotate=20")
    item = reads.held_out(sample(3))
    assert same(item, reads.held_out(sample(3)))
    assert not item.pseudo and (item.exemplar_condition == 1).all()  # the best one
    assert np.array_equal(item.condition[0], BLOCKS[16:80, 16:80])  # the middle
    bent = reads.held_out(sample(3), pseudo=True)
    assert same(bent, reads.held_out(sample(3), pseudo=True))
    assert bent.pseudo and np.array_equal(bent.photo, item.photo)
    assert 0.01 < disagreement(bent.exemplar, bent.condition) < 0.6


def test_photos_are_brought_to_the_size_that_crops_are_taken_from():
    item = reader("data.load=128").training(sample(), (0,))
    assert item.photo.shape == (64, 64, 3) and item.condition.shape == (1, 64, 64)


def test_maps_of_exemplars_are_read_where_they_are_of_use():
    assert reader().training(sample(), (0,)).exemplar_condition is not None
    without = reader("model.mask_mix=false", "losses.mask=0.0")
    assert without.training(sample(), (0,)).exemplar_condition is None


def test_faults_name_the_sample():
    broken = sample()
    broken.members["image.png"] = broken.members["image.png"][:60]
    with pytest.raises(BadInput, match=r"a\.png"):
        reader().training(broken, (0,))
    missing = sample()
    del missing.members["condition.png"]
    with pytest.raises(BadInput, match=r"a\.png: a sample without condition"):
        reader().training(missing, (0,))
    with pytest.raises(BadInput, match="class id 14"):
        reader().training(sample(ids=flat(14)), (0,))


def test_a_wrong_number_of_planes(monkeypatch):
    from cocoscli.data import training

    monkeypatch.setattr(training, "build_condition", lambda *_: np.zeros((3, 64, 64), np.uint8))
    with pytest.raises(BadInput, match=r"a\.png: its condition has 3 planes, expected 1"):
        reader().training(sample(), (0,))


MOVED = ("data.rotate=15", "data.scale=0.2", "data.shift=0.1", "data.bend=0.05", "data.flip=true")


def at(photo: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Red and green of the pixels nearest to places (N,2)."""
    x, y = np.rint(places).astype(int).T
    return photo[y, x, :2].astype(int)


@pytest.mark.parametrize("way", ["move", "crop", "flip", "warp"])
def test_points_of_a_pseudo_pair_show_the_same(way):
    ys, xs = np.mgrid[:96, :96]
    dots = 255 * ((ys % 12 < 4) & (xs % 12 < 4))  # whose corners are found
    given = sample()
    given.members["image.png"] = png(np.stack([2 * xs, 2 * ys, dots], axis=2).astype(np.uint8))
    given.members["points.json"] = named(a=(40, 40), b=(50.5, 30))
    reads = reader(*MOVED, f'data.pseudo=["{way}"]', "losses.points=1")
    for seed in range(8):
        item = reads.training(given, (seed,))
        assert 20 < len(item.points) <= 256 and item.points.shape[1] == 4
        assert item.points.min() >= 0 and item.points.max() <= 63
        ours, theirs = at(item.photo, item.points[:, :2]), at(item.exemplar, item.points[:, 2:])
        assert np.abs(ours - theirs).max() <= 6  # two levels a pixel


def test_real_exemplars_share_the_points_of_the_same_name():
    given = sample(1)
    given.members["points.json"] = named(left=(40, 50), right=(60, 50), lost=(0, 0), nose=(50, 40))
    given.members["exemplar_points.0.json"] = named(right=(62, 52), left=(38, 52), other=(50, 50))
    reads = reader(
        "data.flip=true", "losses.points=1", "data.exemplars={ first=1.0, last=0.0, pseudo=0.0 }"
    )
    mirrored = 0
    for seed in range(12):
        item = reads.training(given, (seed,))
        (a, b), (c, d) = item.points[:, :2], item.points[:, 2:]
        assert {abs(a[0] - b[0]), abs(c[0] - d[0])} == {20, 24}
        assert (a[0] < b[0]) == (c[0] < d[0])  # both are mirrored, or none
        first = 20 if abs(a[0] - b[0]) == 20 else 24
        assert first == 20
        mirrored += a[0] > b[0]
    assert mirrored > 0  # the order of points is drawn too


def test_between_named_points_further_ones_are_drawn():
    given = sample(exemplars=1)
    points = {"a": (10, 10), "b": (86, 10), "c": (48, 80), "lost": (0, 0)}
    given.members["points.json"] = named(**points)
    moved = {name: (x + 3, y + 2) for name, (x, y) in points.items() if name != "lost"}
    given.members["exemplar_points.0.json"] = named(**moved)
    real = "data.exemplars={ first=1.0, last=0.0, pseudo=0.0 }"
    plain = reader("losses.points=1", "data.load=64", real).training(given, (0,))
    item = reader("losses.points=1", "data.load=64", "data.between=true", real)
    found = item.training(given, (0,)).points
    assert len(plain.points) == 3 and len(found) == 256
    assert np.array_equal(found[:3], plain.points)
    apart = found[:, 2:] - found[:, :2]
    assert apart == pytest.approx(np.broadcast_to(np.array([3, 2]) * 64 / 96, (256, 2)), abs=1e-4)
    pair = reader("losses.points=1", "data.between=true", real).training(sample(1), (0,))
    assert pair.points.shape == (0, 4)


def test_pairs_without_points_are_mirrored_together_too():
    given = sample(1)
    sided = np.repeat([0, 13], 48)[None].repeat(96, axis=0).astype(np.uint8)
    for name in ("image", "exemplar.0"):
        given.members[f"{name}.png"] = png(photo_of(sided))
    real = "data.exemplars={ first=1.0, last=0.0, pseudo=0.0 }"
    for points, expected in (("losses.points=1", {True}), ("losses.points=0", {True, False})):
        reads = reader("data.flip=true", points, real)
        items = [reads.training(given, (seed,)) for seed in range(12)]
        ways = [(i.photo[0, 0, 0] < 99, i.exemplar[0, 0, 0] < 99) for i in items]
        assert len(set(ways)) > 1 and {ours == theirs for ours, theirs in ways} == expected


def test_points_are_read_where_a_loss_asks_for_them():
    given = sample()
    given.members["points.json"] = b"broken"
    assert reader().training(given, (0,)).points is None
    with pytest.raises(BadInput, match=r"a\.png: points: no points of an image"):
        reader("losses.points=1").training(given, (0,))


def test_any_of_the_stored_exemplars_may_be_drawn():
    reads = reader("data.exemplars={ first = 0, last = 0, any = 1, pseudo = 0 }")
    drawn = {
        int(reads.training(sample(4), (seed,)).exemplar_condition[0, 0, 0]) for seed in range(60)
    }
    assert drawn == {1, 2, 3, 4}


def test_exemplars_of_the_same_style_count_as_pseudo_ones():
    share = "data.exemplars={ first=1.0, last=0.0, pseudo=0.0 }"
    for same in (True, False):
        item = reader(share, f"data.same_style={str(same).lower()}").training(sample(2), (0,))
        assert item.pseudo is same and (item.exemplar_condition == 1).all()
