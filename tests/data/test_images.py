"""Images in every form that users have, and files that only look like images."""

from __future__ import annotations

import os
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from cocoscli.data.images import (
    fitted,
    image_size,
    is_image,
    read_color_table,
    read_labels,
    read_photo,
)
from cocoscli.errors import BadInput

# 2 rows of 3 pixels: red, green, blue; white, grey, black
RGB = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 255], [128, 128, 128], [0, 0, 0]]],
    np.uint8,
)


def saved(path: Path, image: Image.Image | np.ndarray, **options: object) -> Path:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(path, **options)
    return path


def png(width: int, height: int, depth: int, color: int, rows: bytes) -> bytes:
    """A PNG written chunk by chunk, for what Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


# Photos


def test_rgb_is_read_as_it_is(tmp_path):
    np.testing.assert_array_equal(read_photo(saved(tmp_path / "a.png", RGB)), RGB)


def test_grey_and_one_bit_get_three_equal_channels(tmp_path):
    grey = np.array([[0, 255], [7, 200]], np.uint8)
    photo = read_photo(saved(tmp_path / "a.png", grey))
    np.testing.assert_array_equal(photo, np.repeat(grey[..., None], 3, axis=2))
    photo = read_photo(saved(tmp_path / "b.png", Image.fromarray(grey).convert("1", dither=0)))
    assert photo[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_16_bit_is_scaled_by_257_and_rounded(tmp_path):
    deep = np.array([[0, 128, 129], [257, 65535, 128 * 257]], np.uint16)
    for suffix in ("png", "tif"):
        photo = read_photo(saved(tmp_path / f"a.{suffix}", deep))
        assert photo[..., 0].tolist() == [[0, 0, 1], [1, 255, 128]]
        assert photo.dtype == np.uint8


def test_cmyk_is_converted(tmp_path):
    cmyk = np.zeros((16, 16, 4), np.uint8)
    cmyk[..., 1:3] = 255  # magenta and yellow make red
    path = saved(tmp_path / "a.jpg", Image.fromarray(cmyk, "CMYK"), quality=100)
    photo = read_photo(path)
    assert photo.shape == (16, 16, 3)
    assert np.abs(photo[8, 8].astype(int) - [255, 0, 0]).max() <= 3


def test_alpha_is_composited_onto_white(tmp_path):
    rgba = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    photo = read_photo(saved(tmp_path / "a.png", rgba))
    assert photo.tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 204]]]
    grey_alpha = Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8), "LA")
    photo = read_photo(saved(tmp_path / "b.png", grey_alpha))
    assert photo.tolist() == [[[10, 10, 10], [255, 255, 255]]]


def test_palette_gives_its_colours_and_its_transparency(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([200, 100, 50, 1, 2, 3])
    assert read_photo(saved(tmp_path / "a.png", image)).tolist() == [[[200, 100, 50], [1, 2, 3]]]
    path = saved(tmp_path / "b.png", image, transparency=1)
    assert read_photo(path).tolist() == [[[200, 100, 50], [255, 255, 255]]]


def test_gif_gives_its_first_frame(tmp_path):
    first, second = Image.new("L", (4, 4), 10), Image.new("L", (4, 4), 200)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert (read_photo(tmp_path / "a.gif") == 10).all()


def swapped_profile() -> bytes:
    """An RGB profile whose red and green primaries are exchanged."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {}
    count = struct.unpack_from(">I", data, 128)[0]
    for place in range(132, 132 + 12 * count, 12):
        tags[bytes(data[place : place + 4])] = place
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red : red + 4], data[green : green + 4] = data[green : green + 4], data[red : red + 4]
    return bytes(data)


def test_icc_profile_is_converted_to_srgb(tmp_path):
    path = saved(tmp_path / "a.png", RGB, icc_profile=swapped_profile())
    photo = read_photo(path).astype(int)
    assert np.abs(photo[0, 0] - [0, 255, 0]).max() <= 2  # tagged red is green
    assert np.abs(photo[1, 0] - [255, 255, 255]).max() <= 2


def test_srgb_profile_changes_nothing(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    path = saved(tmp_path / "a.png", noise, icc_profile=profile)
    np.testing.assert_array_equal(read_photo(path), noise)


@pytest.mark.parametrize("profile", [b"no profile", swapped_profile()[:200]])
def test_broken_profile_is_ignored(tmp_path, profile):
    path = saved(tmp_path / "a.png", RGB, icc_profile=profile)
    np.testing.assert_array_equal(read_photo(path), RGB)


def test_profile_of_another_kind_is_ignored(tmp_path):
    grey = np.array([[0, 90]], np.uint8)
    path = saved(tmp_path / "a.png", grey, icc_profile=swapped_profile())
    assert read_photo(path)[0, :, 1].tolist() == [0, 90]


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_exif_orientation_is_applied(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side: turn it clockwise
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"a.{suffix}", RGB, exif=exif, **options)
    np.testing.assert_array_equal(read_photo(path), np.rot90(RGB, -1))
    assert image_size(path) == (2, 3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, RGB),
        (2, RGB[:, ::-1]),
        (3, RGB[::-1, ::-1]),
        (4, RGB[::-1]),
        (5, RGB.transpose(1, 0, 2)),
        (7, RGB[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90(RGB)),
        (9, RGB),
    ],
)
def test_every_orientation(tmp_path, value, expected):
    exif = Image.Exif()
    exif[0x0112] = value
    path = saved(tmp_path / "a.png", RGB, exif=exif)
    np.testing.assert_array_equal(read_photo(path), expected)


def test_size_is_width_and_height(tmp_path):
    path = saved(tmp_path / "a.png", RGB)
    assert read_photo(path, (5, 4)).shape == (4, 5, 3)
    nearest = read_photo(path, (6, 4), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(nearest, RGB.repeat(2, axis=0).repeat(2, axis=1))


def test_other_filters_are_pillows_own():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 60, 3), np.uint8))
    for how in (Image.Resampling.BILINEAR, Image.Resampling.LANCZOS):
        assert fitted(photo, (50, 20), how).tobytes() == photo.resize((50, 20), how).tobytes()
    # bicubic: torch and Pillow differ by at most 2 levels, see test_resizing
    theirs = photo.resize((50, 20), Image.Resampling.BICUBIC)
    apart = np.array(fitted(photo, (50, 20))).astype(int) - np.array(theirs)
    assert np.abs(apart).max() <= 2


def test_floating_point_is_refused(tmp_path):
    path = saved(tmp_path / "a.tif", np.zeros((2, 2), np.float32))
    with pytest.raises(BadInput, match=r"a\.tif.*floating-point"):
        read_photo(path)


def test_a_palette_image_without_its_palette_is_refused_as_a_photo_and_has_ids(tmp_path):
    image = Image.fromarray(np.arange(4, dtype=np.uint8).reshape(2, 2)).convert("P")
    image.save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    at = data.index(b"PLTE") - 4
    (size,) = struct.unpack(">I", data[at : at + 4])
    (tmp_path / "a.png").write_bytes(data[:at] + data[at + 12 + size :])
    with pytest.raises(BadInput, match=r"a\.png.*palette is missing"):
        read_photo(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png").tolist() == [[0, 1], [2, 3]]


# Files that are no images


def test_header_bomb_is_refused_quickly_and_without_memory(tmp_path):
    path = tmp_path / "huge.png"
    path.write_bytes(png(50_000, 50_000, 8, 2, bytes(100)))
    for read in (read_photo, read_labels, image_size):
        tracemalloc.start()
        started = time.process_time()
        with pytest.raises(BadInput, match=r"huge\.png.*too large.*2500000000.*178,956,970"):
            read(path)
        assert time.process_time() - started < 1
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
        tracemalloc.stop()


@pytest.mark.parametrize("read", [read_photo, read_labels, image_size])
def test_empty_missing_folder_and_foreign_files(tmp_path, read):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("I am a text")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    for name, words in [
        ("empty.png", "0 bytes"),
        ("text.png", "not an image"),
        ("folder.png", "a folder"),
        ("none.png", "no such file"),
        ("pipe.png", "not a regular file"),
        ("loop.png", "cannot be read"),
        ("x" * 300 + ".png", "cannot be read"),
    ]:
        with pytest.raises(BadInput, match=words) as caught:
            read(tmp_path / name)
        assert name in caught.value.message
        assert caught.value.hint


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif", "ppm"])
def test_truncated_files_are_refused(tmp_path, suffix):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    path = saved(tmp_path / f"a.{suffix}", noise)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput, match=f"a.{suffix}"):
        read_photo(path)


def test_other_formats_are_refused(tmp_path):
    saved(tmp_path / "a.ico", Image.new("RGB", (16, 16)))
    (tmp_path / "a.ico").rename(tmp_path / "a.png")
    with pytest.raises(BadInput, match="not an image"):
        read_photo(tmp_path / "a.png")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif", "gif", "ppm"])
def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path, suffix):
    rng = np.random.default_rng(2)
    image = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = swapped_profile()
    options = {} if suffix in ("bmp", "gif", "ppm") else {"exif": exif, "icc_profile": profile}
    whole = saved(tmp_path / f"a.{suffix}", image, **options).read_bytes()
    path = tmp_path / f"b.{suffix}"
    for _ in range(60):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.integers(0, min(len(data), 700), 3)] = rng.integers(0, 256, 3)
        path.write_bytes(data.tobytes())
        for read in (read_photo, read_labels, image_size):
            try:
                read(path)
            except BadInput as error:
                assert path.name in error.message


def test_strange_names_are_shown_on_one_line(tmp_path):
    for name in ("a b.c.png", 'it\'s "q".png', "line\nbreak.png", "写真.png", "x\udcff.png"):
        path = tmp_path / name
        path.write_bytes(b"")
        with pytest.raises(BadInput) as caught:
            read_photo(path)
        assert "\n" not in caught.value.message
        caught.value.message.encode()
        saved(path, RGB)
        np.testing.assert_array_equal(read_photo(path), RGB)


def test_is_image_goes_by_the_name():
    assert is_image(Path("a.JPG")) and is_image(Path("b.c.webp"))
    assert not is_image(Path("a.txt")) and not is_image(Path("png"))


# Label maps


def test_grey_labels_of_8_and_16_bits(tmp_path):
    ids = np.array([[0, 18], [255, 3]], np.uint8)
    read = read_labels(saved(tmp_path / "a.png", ids))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, ids)
    deep = np.array([[0, 300], [65535, 3]], np.uint16)
    np.testing.assert_array_equal(read_labels(saved(tmp_path / "b.png", deep)), deep)


def test_low_depth_grey_gives_its_stored_values(tmp_path):
    for depth, row, expected in [
        (1, b"\x00\xa0", [1, 0, 1, 0]),
        (2, b"\x00\x1b", [0, 1, 2, 3]),
        (4, b"\x00\x0f\x5c", [0, 15, 5, 12]),
    ]:
        path = tmp_path / f"{depth}.png"
        path.write_bytes(png(4, 1, depth, 0, row))
        assert read_labels(path).tolist() == [expected]


def test_palette_labels_are_indices_and_not_colours(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    assert read_labels(saved(tmp_path / "a.png", image)).tolist() == [[0, 1, 2]]


def test_rgb_labels_with_equal_channels_are_grey(tmp_path):
    grey = np.repeat(np.array([[[0], [7]]], np.uint8), 3, axis=2)
    assert read_labels(saved(tmp_path / "a.png", grey)).tolist() == [[0, 7]]
    rgba = np.concatenate([grey, np.full((1, 2, 1), 99, np.uint8)], axis=2)
    assert read_labels(saved(tmp_path / "b.png", rgba)).tolist() == [[0, 7]]


def test_labels_are_resized_to_the_nearest_pixel(tmp_path):
    ids = np.array([[1, 300], [5, 9]], np.uint16)
    path = saved(tmp_path / "a.png", ids)
    np.testing.assert_array_equal(
        read_labels(path, (6, 4)), ids.repeat(2, axis=0).repeat(3, axis=1)
    )
    line = saved(tmp_path / "b.png", np.arange(5, dtype=np.uint8)[None])
    assert read_labels(line, (2, 1)).tolist() == [[1, 3]]  # pixel centres at 1.25 and 3.75


def test_jpeg_labels_are_refused(tmp_path):
    ids = Image.new("L", (8, 8), 3)
    for name, options in [("a.jpg", {}), ("a.webp", {}), ("a.tif", {"compression": "jpeg"})]:
        with pytest.raises(BadInput, match="lossless") as caught:
            read_labels(saved(tmp_path / name, ids, **options))
        assert "PNG" in caught.value.hint


def test_coloured_mask_without_a_table(tmp_path):
    with pytest.raises(BadInput, match=r"a\.png.*colour-coded") as caught:
        read_labels(saved(tmp_path / "a.png", RGB))
    assert "--colors FILE" in caught.value.hint


def test_coloured_mask_with_a_table(tmp_path):
    path = saved(tmp_path / "a.png", RGB)
    names = [tuple(color) for color in RGB.reshape(-1, 3).tolist()]
    assert read_labels(path, colors=np.array(names)).tolist() == [[0, 1, 2], [3, 4, 5]]
    table = dict(zip((40, 7, 300, 2, 1, 0), names, strict=True))
    assert read_labels(path, colors=table).tolist() == [[40, 7, 300], [2, 1, 0]]


def test_unknown_colours_are_named_with_counts(tmp_path):
    mask = np.zeros((2, 3, 3), np.uint8)
    mask[0, :2] = (1, 2, 3)
    mask[1, 0] = (4, 5, 6)
    with pytest.raises(BadInput) as caught:
        read_labels(saved(tmp_path / "a.png", mask), colors={0: (0, 0, 0)})
    assert "2 colours: (1, 2, 3) in 2 pixels, (4, 5, 6) in 1 pixels" in caught.value.message


def test_other_modes_are_no_labels(tmp_path):
    for name, image in [
        ("a.tif", Image.new("CMYK", (2, 2))),
        ("b.tif", Image.fromarray(np.array([[70_000]], np.int32))),
        ("c.tif", Image.fromarray(np.array([[1.5]], np.float32))),
    ]:
        with pytest.raises(BadInput, match="no class ids"):
            read_labels(saved(tmp_path / name, image))


# Colour tables


@pytest.mark.parametrize(
    "text",
    [
        "[[0, 0, 0], [255, 16, 1]]",
        '{"1": [255, 16, 1], "0": [0, 0, 0]}',
        '{"0": "#000000", "1": "#FF1001"}',
        "id,r,g,b\n0,0,0,0\n1,255,16,1\n",
        "\ufeff0, 0, 0, 0\r\n\r\n1,255, 16,1",
    ],
)
def test_color_tables(tmp_path, text):
    path = tmp_path / "colors"
    path.write_bytes(text.encode())
    assert read_color_table(path) == {0: (0, 0, 0), 1: (255, 16, 1)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no rows"),
        ("[]", "no rows"),
        ("[[0, 0]]", "three numbers"),
        ("[[0, 0, 256]]", "0..255"),
        ("[[0, 0, 1.5]]", "0..255"),
        ("[[0, 0, true]]", "0..255"),
        ("[[0, 0, 0], [0, 0, 0]]", "same colour"),
        ('{"1": "#000000", "1": "#000001"}', "appears twice"),
        ('{"-1": "#000000"}', "class id"),
        ('{"1": "red"}', "three numbers"),
        ("0,1,2\n", "three numbers"),
        ("a,1,2,3\n", "class id"),
        ("[" * 100_000, "colour table"),
        ("[[0,0,0]", "colour table"),
        ("\0\1\2", "colour table"),
    ],
)
def test_wrong_color_tables(tmp_path, text, words):
    path = tmp_path / "colors.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=words) as caught:
        read_color_table(path)
    assert "colors.json" in caught.value.message


def test_color_table_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(BadInput):
            read_color_table(path)
    (tmp_path / "big.csv").write_bytes(b"\n" * 1_000_001)
    with pytest.raises(BadInput, match="larger"):
        read_color_table(tmp_path / "big.csv")
    (tmp_path / "latin.csv").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(BadInput):
        read_color_table(tmp_path / "latin.csv")
