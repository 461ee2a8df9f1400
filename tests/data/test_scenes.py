"""Synthetic scenes: reproducible, aligned with their masks, and exact in their correspondence."""

import numpy as np
import pytest
from PIL import Image

from cocoscli.data.points import read_points
from cocoscli.data.scenes import (
    CLASSES,
    ELSEWHERE,
    PALETTE,
    Layout,
    Style,
    correspondence,
    open_points,
    render,
    sample_layout,
    trace,
    warp,
    write_scenes,
)
from cocoscli.data.scenes.items import UNMATCHED, Kind, Label

PAIRS = [(0, 1), (3, 8), (12, 5), (20, 21), (30, 31)]


def scene(layout: int, style: int, size=96):
    return render(Layout.sample(layout), Style.sample(style), size)


def test_classes_and_palette_belong_together():
    assert CLASSES[0] == "unknown" and {"sky", "mountain", "water", "roof"} <= set(CLASSES)
    assert PALETTE.shape == (len(CLASSES), 3) and PALETTE.dtype == np.uint8
    assert len({tuple(colour) for colour in PALETTE.tolist()}) == len(CLASSES)


def test_same_seeds_give_same_bytes():
    first, again = scene(4, 9), scene(4, 9)
    assert sample_layout(4) == Layout.sample(4) and Style.sample(9) == Style.sample(9)
    assert first.image.tobytes() == again.image.tobytes()
    for name in ("labels", "instance", "u", "v"):
        mine, other = getattr(first.coordinates, name), getattr(again.coordinates, name)
        assert mine.tobytes() == other.tobytes()


def test_other_seeds_give_other_layouts_and_looks():
    assert (scene(4, 9).labels != scene(5, 9).labels).mean() > 0.1
    assert (scene(4, 9).image != scene(4, 10).image).mean() > 0.5


def test_labels_depend_on_the_layout_alone():
    layout = Layout.sample(7)
    labels = trace(layout, 80).labels
    for style in range(3):
        assert np.array_equal(render(layout, Style.sample(style), 80).labels, labels)


def test_translation_truth_does_not_depend_on_what_was_drawn_before():
    layout, style = Layout.sample(2), Style.sample(5)
    truth = render(layout, style, 64).image
    scene(9, 5), scene(2, 11)
    assert np.array_equal(render(layout, style, 64).image, truth)


@pytest.mark.parametrize("size", [64, 97, (160, 64), (64, 112)])
def test_arrays_have_the_size_asked_for(size):
    width, height = (size, size) if isinstance(size, int) else size
    drawn = scene(1, 2, size)
    assert drawn.image.shape == (height, width, 3) and drawn.image.dtype == np.uint8
    assert drawn.labels.shape == (height, width) and drawn.labels.dtype == np.uint8
    assert drawn.coordinates.u.shape == drawn.coordinates.v.shape == (height, width)
    assert drawn.labels.min() >= 1 and drawn.labels.max() < len(CLASSES)


def test_every_class_occurs_and_every_layout_is_a_landscape():
    share = (
        np.array(
            [
                np.bincount(trace(Layout.sample(seed), 64).labels.ravel(), minlength=14)
                for seed in range(40)
            ]
        )
        / 64**2
    )
    assert share[:, Label.UNKNOWN].max() == 0
    assert (share.max(0)[1:] > 0.004).all()
    assert (share[:, [Label.SKY, Label.MOUNTAIN, Label.GRASS]].min(0) > 0.01).all()
    assert (share[:, Label.WATER] > 0).mean() > 0.9 and (share[:, Label.ROOF] > 0).mean() > 0.9


def test_image_edges_are_mask_edges():
    drawn = scene(0, 0, 128)
    step = np.abs(np.diff(drawn.image.astype(float), axis=1)).sum(-1)
    edge = drawn.labels[:, 1:] != drawn.labels[:, :-1]
    assert step[edge].mean() > 3 * step[~edge].mean()


def test_layout_does_not_depend_on_size():
    for seed in range(6):
        layout = Layout.sample(seed)
        small, large = trace(layout, 64).labels, trace(layout, 128).labels
        assert (large[::2, ::2] == small).mean() >= 0.93


def test_styles_differ_at_a_glance():
    layout = Layout.sample(3)
    means = np.array([render(layout, Style.sample(k), 64).image.mean((0, 1)) for k in range(8)])
    apart = np.linalg.norm(means[:, None] - means[None], axis=-1)
    assert apart[~np.eye(8, dtype=bool)].min() > 10 and np.median(apart) > 40


def test_frames_are_invertible():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1, (2, 500))
    for item in Layout.sample(11).items:
        u, v = item.local(x, y, 1.5)
        inside = (np.abs(u) <= 2) & (np.abs(v) <= 1)
        back = item.point(u[inside], v[inside], 1.5)
        assert np.allclose(back, (x[inside], y[inside]), atol=1e-9)


@pytest.mark.parametrize("size", [96, (128, 72)])
def test_correspondence_with_itself_is_the_identity(size):
    drawn = scene(6, 6, size)
    field = correspondence(drawn, drawn)
    known = ~np.isnan(field[..., 0])
    own = np.stack(np.meshgrid(*map(np.arange, field.shape[1::-1])), axis=-1)
    assert np.abs(field - own)[known].max() <= 0.01
    assert np.array_equal(~known, np.isin(drawn.labels, (Label.SKY, Label.WATER)))
    assert np.array_equal(known, ~np.isnan(field[..., 1])) and field.dtype == np.float32


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_correspondence_leads_to_the_same_point_of_the_same_object(first, second):
    a, b = scene(first, 0, 128), scene(second, 1, (160, 120))
    field = correspondence(a, b)
    rows, columns = np.nonzero(~np.isnan(field[..., 0]))
    assert len(rows) > 0.1 * a.labels.size
    column, row = np.rint(field[rows, columns]).astype(int).T
    assert (a.labels[rows, columns] == b.labels[row, column]).mean() >= 0.95
    mine, other = a.coordinates, b.coordinates
    assert np.array_equal(mine.instance[rows, columns], other.instance[row, column])
    items = {item.slot: item for item in b.layout.items}
    for slot in np.unique(mine.instance[rows, columns]):
        of = mine.instance[rows, columns] == slot
        x, y = (field[rows[of], columns[of]].T.astype(float) + 0.5) / [[160], [120]]
        u, v = items[slot].local(x, y, 160 / 120)
        assert np.allclose(u, mine.u[rows[of], columns[of]], atol=1e-3)
        assert np.allclose(v, mine.v[rows[of], columns[of]], atol=1e-3)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_correspondence_carries_texture(first, second):
    a, b = scene(first, 4, 192), scene(second, 4, 192)
    field = correspondence(a, b)
    shadowed = np.isin(a.labels, (Label.GRASS, Label.PATH))
    known = ~np.isnan(field[..., 0]) & ~shadowed
    error = np.abs(warp(b.image, field).astype(int) - a.image).mean(-1)
    assert np.median(error[known]) <= 4 and error[known].mean() <= 12


def test_no_counterpart_for_sky_water_and_missing_objects():
    for first, second in PAIRS:
        a, b = scene(first, 0), scene(second, 0)
        known = ~np.isnan(correspondence(a, b)[..., 0])
        present = [item.slot for item in b.layout.items if item.kind not in UNMATCHED]
        assert not known[np.isin(a.labels, (Label.SKY, Label.WATER))].any()
        assert np.isin(a.coordinates.instance[known], present).all()


def test_instances_are_numbered_from_left_to_right():
    for seed in range(10):
        items = Layout.sample(seed).items
        for kind in (Kind.HOUSE, Kind.CONIFER, Kind.BROADLEAF):
            of_kind = sorted((item for item in items if item.kind is kind), key=lambda i: i.index)
            assert [item.index for item in of_kind] == list(range(len(of_kind)))
            assert sorted(item.x for item in of_kind) == [item.x for item in of_kind]
        assert len({item.slot for item in items}) == len(items)


def test_write_scenes_writes_what_it_says(tmp_path):
    files = write_scenes(tmp_path / "demo", 3, 2, size=(80, 64), seed=5)
    assert [path.name for path in files.masks] == [f"scene-000{k}.png" for k in range(3)]
    assert [path.name for path in files.truth] == [path.name for path in files.masks]
    assert [path.name for path in files.exemplars] == [path.name for path in files.exemplar_masks]
    assert {path.parent.name for path in (tmp_path / "demo").rglob("*.png")} == {
        "masks",
        "exemplars",
        "exemplar_masks",
        "truth",
    }
    for k, (mask, truth) in enumerate(zip(files.masks, files.truth, strict=True)):
        picture = Image.open(mask)
        expected = scene(5 + k, 5 + k % 2, (80, 64))
        assert picture.mode == "P" and np.array_equal(np.asarray(picture), expected.labels)
        assert np.array_equal(np.asarray(picture.convert("RGB")), PALETTE[expected.labels])
        assert np.array_equal(np.asarray(Image.open(truth)), expected.image)
    assert Image.open(files.exemplars[1]).size == Image.open(files.exemplar_masks[1]).size


def test_points_that_two_scenes_share_show_the_same(tmp_path):
    files = write_scenes(tmp_path, 2, 2, size=128, seed=3)
    known = read_points(files.points)
    first, second = scene(3, 3, 128), scene(ELSEWHERE + 3, 3, 128)
    ours, theirs = (known.of(p.name, (128, 128)) for p in (files.masks[0], files.exemplars[0]))
    shared = set(ours.names) & set(theirs.names)
    assert len(shared) > 20 and len(set(ours.names)) == len(ours.names)
    there = dict(zip(theirs.names, theirs.xy, strict=True))
    exact = correspondence(first, second)
    apart = [
        np.abs(exact[round(y), round(x)] - there[name]).max()
        for name, (x, y) in zip(ours.names, ours.xy, strict=True)
        if name in shared
    ]
    # Points lie between pixels, and an object may be drawn twice as large in the other scene.
    assert np.nanmedian(apart) < 1 and np.isfinite(apart).mean() > 0.9


def test_a_place_of_the_sky_shows_the_same_in_every_scene_of_a_style():
    style = Style.sample(3)
    first, second = (render(sample_layout(seed), style, 96) for seed in (1, 2))
    ours, theirs = open_points(first.coordinates), open_points(second.coordinates)
    shared = [name for name in ours if name in theirs and name.startswith(f"{Label.SKY}.")]
    assert len(shared) > 40
    apart = []
    for name in shared:
        assert ours[name] == theirs[name]
        x, y = (int(value + 0.5) for value in ours[name])
        assert first.labels[y, x] == Label.SKY
        apart.append(np.abs(first.image[y, x].astype(int) - second.image[y, x]).mean())
    assert np.median(apart) < 2
    assert {int(name.split(".")[0]) for name in ours} == {Label.SKY, Label.WATER}


def test_write_scenes_without_truth(tmp_path):
    files = write_scenes(tmp_path, 1, 1, size=64, truth=False)
    assert files.truth == () and not (tmp_path / "truth").exists()
    assert write_scenes(tmp_path / "bare", 1, 0, size=64).truth == ()
