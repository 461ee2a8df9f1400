"""Descriptors by hand, and the file that keeps them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from cocosnet.features import Vgg, random_features
from torch.nn import functional as F

from cocoscli.engine.descriptors import (
    DescriptorStore,
    layout_descriptor,
    layout_width,
    open_descriptors,
    photo_descriptors,
    pooled_features,
)
from cocoscli.errors import BadInput, CocosError

# Layouts


def test_a_layout_by_hand():
    labels = np.array([[0, 0, 1, 1], [0, 1, 1, 1]], np.uint8)
    vector = layout_descriptor(labels, 3, grid=2)
    areas = [[2, 0, 0], [0, 2, 0], [1, 1, 0], [0, 2, 0]]  # by cell and class, of 8 pixels
    np.testing.assert_allclose(vector, np.sqrt(np.ravel(areas) / 8), rtol=1e-6)
    assert vector.dtype == np.float32 and vector.shape == (layout_width(3, 2),)


def test_similarity_of_layouts_by_hand():
    left = np.repeat([[0, 1]], 4, 0).repeat(2, 1)
    half = np.where(np.arange(4)[:, None] < 2, left, 2)
    a, b, c = (layout_descriptor(x, 3) for x in (left, half, np.full((4, 4), 2)))
    assert a @ a == pytest.approx(1) and a @ b == pytest.approx(0.5)
    assert a @ c == 0


def test_ignored_pixels_have_no_say():
    labels = np.random.default_rng(0).integers(0, 5, (16, 16)).astype(np.uint8)
    labels[:, :4] = 255
    vector = layout_descriptor(labels, 5)
    counts = np.bincount(labels[:4, 4:8].ravel(), minlength=5)
    np.testing.assert_allclose(vector[5:10] ** 2, counts / (16 * 12), rtol=1e-5)
    assert (vector.reshape(4, 4, 5)[:, 0] == 0).all()
    assert np.linalg.norm(vector) == pytest.approx(1)
    assert (layout_descriptor(np.full((8, 8), 255), 5) == 0).all()
    assert layout_descriptor(np.full((8, 8), 9), 10, ignore=9).max() == 0


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (31, 64)])
def test_sizes_that_cells_do_not_divide(shape):
    assert np.linalg.norm(layout_descriptor(np.ones(shape, int), 2)) == pytest.approx(1)


def test_the_same_layout_at_another_size():
    labels = np.random.default_rng(0).integers(0, 150, (16, 24))
    for classes in (150, 30):
        small = layout_descriptor(labels % classes, classes)
        large = layout_descriptor((labels % classes).repeat(3, 0).repeat(3, 1), classes)
        np.testing.assert_allclose(small, large, atol=1e-6)


@pytest.mark.parametrize("classes", [32, 33, 151, 65536])
def test_width_is_bounded_and_equal_layouts_score_one(classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, (32, 32)).astype(np.uint16)
    vector = layout_descriptor(labels, classes, ignore=None)
    assert vector.shape == (512,) == (layout_width(classes),)
    np.testing.assert_array_equal(vector, layout_descriptor(labels.copy(), classes, ignore=None))
    assert vector @ vector == pytest.approx(1, abs=1e-6)


def test_projected_similarities_are_close():
    rng = np.random.default_rng(0)
    blocks = [rng.integers(0, 151, (4, 4)) for _ in range(40)]
    layouts = [
        np.where(rng.random((4, 4)) < 0.5, blocks[0], b).repeat(8, 0).repeat(8, 1) for b in blocks
    ]
    exact, projected = (
        np.array([layout_descriptor(x, 151, limit=limit) for x in layouts])
        for limit in (16 * 151, 512)
    )
    error = (projected @ projected.T - exact @ exact.T)[~np.eye(40, dtype=bool)]
    assert exact.shape[1] == 16 * 151 and np.abs(error).max() < 0.2
    assert error.std() < 0.06 and abs(error.mean()) < 0.02


def test_faults_of_layouts():
    with pytest.raises(BadInput, match="class id 7"):
        layout_descriptor(np.full((8, 8), 7), 5)
    with pytest.raises(ValueError, match="limit 15: expected at least 16"):
        layout_descriptor(np.zeros((8, 8), int), 5, limit=15)


# Photos


@pytest.fixture(scope="module")
def vgg() -> Iterator[Vgg]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield random_features(16)
    torch.set_num_threads(threads)


def test_pooled_features_by_hand(vgg):
    images = torch.rand(2, 3, 64, 96) * 2 - 1
    x = vgg(images, ("relu5_3",))["relu5_3"]
    assert x.shape == (2, 512, 4, 6)
    pooled = x.reshape(2, 512, 2, 2, 3, 2).amax((3, 5)).mean((2, 3))
    expected = pooled / pooled.norm(dim=1, keepdim=True)
    torch.testing.assert_close(pooled_features(vgg, images), expected)


def test_photos_of_any_sizes_stay_in_order(vgg):
    rng = np.random.default_rng(0)
    shapes = [(32, 32), (32, 32), (32, 32), (48, 32), (32, 32)]
    photos = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]
    taken: list[int] = []

    def stream():
        for i, photo in enumerate(photos):
            taken.append(i)
            yield photo

    vectors = photo_descriptors(stream(), vgg, batch_size=2)
    first = next(vectors)
    assert len(taken) <= 3  # a batch, and no more than one photo beyond it
    every = [first, *vectors]
    assert len(every) == 5
    for photo, vector in zip(photos, every, strict=True):
        image = torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1
        expected = F.normalize(F.max_pool2d(vgg(image, ("relu5_3",))["relu5_3"], 2).mean((2, 3)))
        np.testing.assert_allclose(vector, expected[0].numpy(), atol=1e-5)
        assert vector.dtype == np.float32 and vector @ vector == pytest.approx(1, abs=1e-5)
    assert list(photo_descriptors([], vgg)) == []


def test_photos_that_are_too_small(vgg):
    with pytest.raises(BadInput, match="40x31 px: expected at least 32"):
        next(photo_descriptors([np.zeros((31, 40, 3), np.uint8)], vgg))


def test_features_that_are_not_finite():
    broken = random_features(16)
    broken.conv5_3.bias[3] = torch.nan
    with pytest.raises(CocosError, match="random vgg16, seed 0: features that are not finite"):
        next(photo_descriptors([np.zeros((32, 32, 3), np.uint8)], broken))


# The store


def rows_of(count: int, width: int = 5) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, width)).astype(np.float32)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_come_back(tmp_path, dtype):
    rows = rows_of(11)
    with DescriptorStore(tmp_path / "a.npy", 5, dtype) as store:
        store.append(rows[0])
        store.append(rows[1:1])
        store.append(rows[1:])
        assert len(store) == 11
    found = open_descriptors(tmp_path / "a.npy")
    assert isinstance(found, np.memmap) and not found.flags.writeable
    np.testing.assert_array_equal(found, rows.astype(dtype))


def test_an_empty_store(tmp_path):
    DescriptorStore(tmp_path / "a.npy", 5).close()
    assert open_descriptors(tmp_path / "a.npy").shape == (0, 5)


@pytest.mark.parametrize("left", [0, 100, 128, 128 + 19, 128 + 20, 128 + 20 * 6 + 7])
def test_it_goes_on_after_the_last_whole_row(tmp_path, left):
    path, rows = tmp_path / "a.npy", rows_of(10)
    store = DescriptorStore(path, 5)
    store.append(rows[:8])
    store._file.flush()  # and then the process is killed, this much on the disk
    path.write_bytes(path.read_bytes()[:left])
    with DescriptorStore(path, 5) as store:
        assert len(store) == max(0, left - 128) // 20
        store.append(rows[len(store) :])
    np.testing.assert_array_equal(open_descriptors(path), rows)


def test_it_goes_on_after_so_many_rows(tmp_path):
    path, rows = tmp_path / "a.npy", rows_of(10)
    with DescriptorStore(path, 5) as store:
        store.append(rows_of(7))
    with DescriptorStore(path, 5, count=0) as store:
        store.append(rows[:6])
    with DescriptorStore(path, 5, count=4) as store:
        store.append(rows[4:])
    np.testing.assert_array_equal(open_descriptors(path), rows)
    with pytest.raises(CocosError, match="10 descriptors, expected at least 11"):
        DescriptorStore(path, 5, count=11)


def test_flushed_rows_can_be_read(tmp_path):
    store = DescriptorStore(tmp_path / "a.npy", 5)
    store.append(rows_of(3))
    store.flush()
    store.append(rows_of(4))
    np.testing.assert_array_equal(open_descriptors(tmp_path / "a.npy"), rows_of(3))
    store.close()
    store.close()
    assert len(open_descriptors(tmp_path / "a.npy")) == 7


@pytest.mark.parametrize("width", [1, 512, 16 * 65536])
def test_the_header_has_room_for_any_width(tmp_path, width):
    with DescriptorStore(tmp_path / "a.npy", width) as store:
        store.append(np.ones((2, width)))
    with DescriptorStore(tmp_path / "a.npy", width) as store:
        assert len(store) == 2


@pytest.mark.parametrize(
    "rows", [np.ones(4), np.ones((2, 6)), np.array([1, 2, np.nan, 4, 5]), np.full((1, 5), np.inf)]
)
def test_rows_that_do_not_fit(tmp_path, rows):
    with DescriptorStore(tmp_path / "a.npy", 5) as store:
        with pytest.raises(ValueError, match="expected 5 finite values"):
            store.append(rows)
        assert len(store) == 0


def test_a_value_beyond_float16(tmp_path):
    with (
        DescriptorStore(tmp_path / "a.npy", 5, "float16") as store,
        pytest.raises(ValueError, match="finite"),
    ):
        store.append(np.full(5, 1e6))


@pytest.mark.parametrize("content", [b"x" * 300, None])
def test_files_of_another_kind(tmp_path, content):
    path = tmp_path / "a.npy"
    if content:
        path.write_bytes(content)
        with pytest.raises(CocosError, match="not a file of descriptors"):
            open_descriptors(path)
    else:
        DescriptorStore(path, 6).close()
    kept = path.read_bytes()
    for width, dtype in ((5, "float32"), (6, "float16")):
        with pytest.raises(CocosError, match="not descriptors of"):
            DescriptorStore(path, width, dtype)
    assert path.read_bytes() == kept
    with pytest.raises(CocosError, match="No such file"):
        open_descriptors(tmp_path / "b.npy")
