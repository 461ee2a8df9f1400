"""Flow files, read back by readers that are written from the formats' definitions."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest

from cocoscli.data.flow_files import encode_flo, encode_kitti, encode_npz


def read_flo(data: bytes) -> np.ndarray:
    """Middlebury: the float 202021.25, width and height as int32, then u, v, u, v, ... by rows."""
    magic, width, height = struct.unpack_from("<fii", data)
    assert magic == 202021.25 and data[:4] == b"PIEH"
    assert len(data) == 12 + 8 * width * height
    values = [
        [struct.unpack_from("<ff", data, 12 + 8 * (y * width + x)) for x in range(width)]
        for y in range(height)
    ]
    return np.array(values)


def read_png16(data: bytes) -> np.ndarray:
    """A PNG of 16-bit RGB without interlacing, by its chunks -> (H,W,3)."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed = 8, b""
    width = height = 0
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack_from(">I", data, at + 8 + length)[0]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            assert (depth, colour, interlaced) == (16, 2, 0)
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    lines = zlib.decompress(packed)
    before, rows = bytes(6 * width), []
    for y in range(height):
        method, *line = lines[y * (6 * width + 1) : (y + 1) * (6 * width + 1)]
        before = unfiltered(method, bytes(line), before)
        rows.append(np.frombuffer(before, ">u2").reshape(width, 3))
    return np.stack(rows).astype(int)


def unfiltered(method: int, line: bytes, above: bytes) -> bytes:
    """One line of a PNG whose pixels have six bytes, its filter undone."""
    out = bytearray(len(line))
    for n, value in enumerate(line):
        left, up = (out[n - 6] if n >= 6 else 0), above[n]
        corner = above[n - 6] if n >= 6 else 0
        guess = left + up - corner
        paeth = min((left, up, corner), key=lambda each: abs(guess - each))
        out[n] = (value + (0, left, up, (left + up) // 2, paeth)[method]) % 256
    return bytes(out)


@pytest.fixture
def moves() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 90, (5, 7, 2)).astype(np.float32)


def test_flo_is_middleburys(moves):
    assert np.array_equal(read_flo(encode_flo(moves)), moves)


def test_flo_as_opencv_reads_it(moves, tmp_path):
    path = tmp_path / "x.flo"
    path.write_bytes(encode_flo(moves))
    assert np.array_equal(cv2.readOpticalFlow(str(path)), moves)


def test_kitti_is_kittis(moves):
    data, invalid = encode_kitti(moves)
    u, v, valid = np.moveaxis(read_png16(data), -1, 0)
    assert invalid == 0 and (valid == 1).all()
    found = (np.stack([u, v], axis=-1) - 2**15) / 64
    assert np.abs(found - moves).max() <= 0.5 / 64


def test_kitti_leaves_out_what_is_too_far():
    moves = np.zeros((1, 6, 2), np.float32)
    moves[0, :, 0] = [0, 511, 511.01, -511, -511.01, 0]
    moves[0, 5, 1] = 4000
    data, invalid = encode_kitti(moves)
    found = read_png16(data)[0]
    assert invalid == 3 and found[:, 2].tolist() == [1, 1, 0, 1, 0, 0]
    assert (found[found[:, 2] == 0] == 0).all()
    assert found[1, 0] == 2**15 + 511 * 64 and found[3, 0] == 2**15 - 511 * 64


def test_npz_holds_what_it_was_given_and_needs_no_pickle(moves):
    values = {"flow": moves, "size": (7, 5), "subpixel": True}
    data = encode_npz(values)
    assert data == encode_npz(values)
    with np.load(io.BytesIO(data), allow_pickle=False) as found:
        assert np.array_equal(found["flow"], moves)
        assert found["size"].tolist() == [7, 5] and bool(found["subpixel"])
