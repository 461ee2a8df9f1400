"""Sources: hand-derived conditions, exact round trips, bytes that nobody should trust."""

from __future__ import annotations

import contextlib
import io
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from cocoscli.data.building import shows_nothing
from cocoscli.data.conditions import (
    CONDITIONS,
    FACE_PARTS,
    canny_edges,
    distance_map,
    edge_condition,
    face_edge_condition,
    has_clear_edge,
    is_empty,
    pose_condition,
)
from cocoscli.data.layouts import LAYOUTS
from cocoscli.data.polylines import FACE_LINES
from cocoscli.data.sources import (
    FORMS,
    Sources,
    build_condition,
    decode_sources,
    encode_sources,
    join_chains,
    pack_parts,
    unpack_parts,
)
from cocoscli.errors import BadInput

SIZE = (24, 16)  # width, height


def noise(*shape: int, most: int = 255) -> np.ndarray:
    return np.random.default_rng(0).integers(0, most, shape)


def photo() -> np.ndarray:
    """Flat but for a white square, so that Canny finds its border."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[4:12, 8:16] = 255
    return pixels


def points(count: int) -> np.ndarray:
    places = np.random.default_rng(1).uniform(0, 16, (count, 2)).astype(np.float32)
    places[1] = np.nan
    return places


def example(kind: str, form: frozenset[str]) -> Sources:
    arrays = {
        "ids": noise(16, 24, most=400).astype(np.uint16 if kind == "labels" else np.uint8),
        "glasses": noise(16, 24, most=2).astype(np.uint8),
        "parts": noise(16, 24, most=1 << 13).astype(np.uint16),
        "edges": noise(16, 24).astype(np.uint8),
        "joints": points(18),
        "landmarks": points(68),
        "chains": join_chains([[0, 2, 3], [4, 5]]),
    }
    return Sources(kind, {name: arrays[name] for name in form}, SIZE)


EXAMPLES = [
    pytest.param(kind, frozenset(form), id=f"{kind}-{'-'.join(sorted(form)) or 'none'}")
    for kind, forms in FORMS.items()
    for form in forms
]


def same(a: Sources, b: Sources) -> bool:
    return (a.kind, a.size, set(a.arrays)) == (b.kind, b.size, set(b.arrays)) and all(
        array.dtype == b.arrays[name].dtype and array.tobytes() == b.arrays[name].tobytes()
        for name, array in a.arrays.items()
    )


# Files


@pytest.mark.parametrize(("kind", "form"), EXAMPLES)
def test_round_trip_is_exact_and_deterministic(kind, form):
    sources = example(kind, form)
    suffix, data = encode_sources(sources)
    assert suffix == ("png" if form in ({"ids"}, {"parts"}, {"edges"}) else "npz")
    assert same(decode_sources(kind, suffix, data, SIZE), sources)
    assert encode_sources(example(kind, form)) == (suffix, data)
    with pytest.raises(BadInput, match="24x16 pixels, beside 16x24"):
        decode_sources(kind, suffix, data, (16, 24))


@pytest.mark.parametrize(("kind", "form"), EXAMPLES)
def test_conditions_have_the_planes_of_their_kind(kind, form):
    sources = example(kind, form)
    array = build_condition(sources, photo())
    assert array.shape == (CONDITIONS[kind].planes or 3, 16, 24)
    assert array.dtype == (np.uint16 if kind == "labels" else np.uint8)
    assert build_condition(sources, photo()[:8, :12], (12, 8)).shape[1:] == (8, 12)
    if sources.needs_photo:
        with pytest.raises(ValueError, match="photo of 24x16"):
            build_condition(sources)


def npz(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


SIZE_FILE = npy(np.array(SIZE, np.int32))
JOINTS_FILE = npy(np.zeros((18, 2), np.float32))


class Trap:
    """What a pickle would run."""

    def __reduce__(self):
        return (pytest.fail, ("the pickle was run",))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a zip"),
        (b"PK\x03\x04", "not a zip"),
        (npz(), "size"),
        (npz(size=SIZE_FILE), r"arrays \[\]"),
        (npz(joints=JOINTS_FILE), "size"),
        (npz(size=SIZE_FILE, other=JOINTS_FILE), "unexpected members"),
        (npz(size=npy(np.array([0, 16], np.int32)), joints=JOINTS_FILE), "0x16"),
        (npz(size=npy(np.array([1 << 20, 1 << 20], np.int32)), joints=JOINTS_FILE), "pixels"),
        (npz(size=npy(np.array([1, 2, 3], np.int32)), joints=JOINTS_FILE), "unpack"),
        (npz(size=SIZE_FILE, joints=npy(np.array([[Trap()]]))), "type object"),
        (npz(size=SIZE_FILE, joints=npy(np.zeros((18, 2)))), "type float64"),
        (npz(size=SIZE_FILE, joints=npy(np.zeros((17, 2), np.float32))), "shape"),
        (npz(size=SIZE_FILE, joints=npy(np.full((18, 2), np.inf, np.float32))), "values"),
        (npz(size=SIZE_FILE, joints=JOINTS_FILE[:-4]), "cut short"),
        (npz(size=SIZE_FILE, joints=JOINTS_FILE + b"x"), "cut short, or more"),
        (
            npz(
                size=SIZE_FILE,
                joints=header(
                    f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({9**17}, 2)}}\n"
                ),
            ),
            "shape",
        ),
        (
            npz(
                size=SIZE_FILE,
                joints=header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -1)}\n"),
            ),
            "shape",
        ),
        (npz(size=SIZE_FILE, joints=header("[" * 2000)), "no sources"),
        (npz(size=SIZE_FILE, joints=header("__import__('os').abort()\n")), "no sources"),
    ],
)  # fmt: skip
def test_hostile_npz(data, words):
    with pytest.raises(BadInput, match=words) as caught:
        decode_sources("deepfashion", "npz", data, source="shard.tar/x.condition")
    assert caught.value.message.startswith("shard.tar/x.condition.npz: no sources")


def test_a_zip_bomb_is_not_inflated():
    whole = {"size": SIZE_FILE, "joints": JOINTS_FILE + bytes(500_000_000)}
    with pytest.raises(BadInput, match="more than its shape"):
        decode_sources("deepfashion", "npz", npz(**whole))


def test_flipped_bytes_never_escape():
    for kind, form in (("celebahq-mask", {"ids", "glasses"}), ("labels", {"ids"})):
        suffix, data = encode_sources(example(kind, frozenset(form)))
        random = np.random.default_rng(2)
        for _ in range(200):
            broken = bytearray(data)
            broken[int(random.integers(len(data)))] ^= int(random.integers(1, 256))
            with contextlib.suppress(BadInput):
                assert decode_sources(kind, suffix, bytes(broken)).kind == kind


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    head = b"\x89PNG\r\n\x1a\n\0\0\0\r" + body + zlib.crc32(body).to_bytes(4, "big")
    return head + b"\0\0\0\x01IDAT\0" + zlib.crc32(b"IDAT\0").to_bytes(4, "big")


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("labels", b"", "no PNG"),
        ("labels", png(Image.new("RGB", (4, 4))), "no grey PNG"),
        ("labels", png(Image.new("P", (4, 4))), "no grey PNG"),
        ("labels", png(Image.new("1", (4, 4))), "no grey PNG"),
        ("labels", png(Image.effect_noise((40, 40), 90))[:600], "no sources"),
        ("labels", png_header(15_000, 15_000), "15000x15000 pixels|225000000"),
        ("celebahq-edge", png(Image.new("L", (4, 4))), "type uint8"),
        ("edges", png(Image.new("I;16", (4, 4))), "type uint16"),
        ("deepfashion", png(Image.new("L", (4, 4))), "expected npz"),
        ("nonsense", png(Image.new("L", (4, 4))), "unknown kind"),
    ],
)
def test_hostile_png(kind, data, words):
    with pytest.raises(BadInput, match=words):
        decode_sources(kind, "png", data)


@pytest.mark.parametrize("table", [[[0, 18]], [[0, -2]]])
def test_chains_of_joints_that_are_not_there(table):
    chains = npy(np.array(table, np.int16))
    with pytest.raises(BadInput, match="chains"):
        decode_sources("chains", "npz", npz(size=SIZE_FILE, joints=JOINTS_FILE, chains=chains))


# Resizing


def test_planes_are_resized_nearest_and_points_by_pixel_centres():
    ids = np.array([[1, 2, 300, 4]] * 2, np.uint16)
    half = Sources("labels", {"ids": ids}, (4, 2)).resized((2, 1))
    assert half.arrays["ids"].tolist() == [[2, 4]] and half.arrays["ids"].dtype == np.uint16
    assert half.size == (2, 1)
    joints = np.array([[0, 0], [3, 1], [np.nan, np.nan]], np.float32)
    chains = join_chains([[0, 1]])
    double = Sources("chains", {"joints": joints, "chains": chains}, (4, 2)).resized((8, 6))
    # the centre of the first of four pixels lies at 1 of 8, which is pixel 0.5
    assert double.arrays["joints"][:2].tolist() == [[0.5, 1.0], [6.5, 4.0]]
    assert np.isnan(double.arrays["joints"][2]).all()
    assert double.arrays["chains"].tolist() == [[0, 1]]
    assert double.resized((8, 6)) is double


# Conditions


def test_face_parts_overlap_and_come_back():
    parts = {name: noise(16, 24, most=2).astype(bool) for name in FACE_PARTS[::2]}
    back = unpack_parts(pack_parts({**parts, "hat": np.ones((16, 24), bool)}, SIZE))
    assert list(back) == list(FACE_PARTS)
    for name, mask in back.items():
        np.testing.assert_array_equal(mask, parts.get(name, np.zeros((16, 24), bool)))
    sources = Sources("celebahq-edge", {"parts": pack_parts(parts, SIZE)}, SIZE)
    np.testing.assert_array_equal(
        build_condition(sources, photo()), face_edge_condition(photo(), parts)
    )


def test_poses_are_drawn_at_the_size_of_their_sources():
    joints = np.full((18, 2), np.nan, np.float32)
    joints[1], joints[2] = (5, 8), (20, 8)
    array = build_condition(Sources("deepfashion", {"joints": joints}, SIZE), None, (12, 8))
    np.testing.assert_array_equal(array, pose_condition(joints, SIZE, (12, 8)))
    drawing = build_condition(Sources("pose", {"joints": joints}, SIZE), None, (12, 8))
    np.testing.assert_array_equal(drawing, array[:3])


def test_drawn_edges_are_taken_as_they_are():
    drawn = noise(16, 24).astype(np.uint8)
    sources = Sources("edges", {"edges": drawn}, SIZE)
    assert not sources.needs_photo
    assert build_condition(sources).tolist() == [drawn.tolist()]
    np.testing.assert_array_equal(
        build_condition(Sources("edges", {}, SIZE), photo()), edge_condition(photo())
    )


def test_landmarks_are_joined_and_canny_stays_outside_their_hull():
    assert sorted({point for line in FACE_LINES for point in line}) == list(range(68))
    places = np.full((68, 2), np.nan, np.float32)
    places[0], places[1], places[2], places[16] = (2, 2), (2, 13), (11.6, 13), (11.4, 2.4)
    sources = Sources("face-edges", {"landmarks": places}, SIZE)
    (edges,) = build_condition(sources, photo())
    lines = np.zeros((16, 24), bool)
    lines[2:14, 2] = True  # 0 to 1
    lines[13, 2:13] = True  # 1 to 2; 2 to 3 and 15 to 16 are not drawn
    (canny,) = edge_condition(photo()) > 0
    assert canny[4:12, 8].any() and canny[4:12, 15].any()
    inside = edges[4:12, 3:11]
    assert not inside.any()
    np.testing.assert_array_equal(edges[:, :9] > 0, lines[:, :9])
    np.testing.assert_array_equal(edges[:13, 13:] > 0, canny[:13, 13:])
    assert sources.lack is None


def test_closed_lines_return_to_their_start():
    eye = next(line for line in FACE_LINES if 36 in line)
    assert eye == (36, 37, 38, 39, 40, 41, 36)
    assert [len(line) for line in FACE_LINES] == [17, 5, 5, 4, 5, 7, 7, 13, 9]


def test_faces_without_landmarks_say_what_is_taken_instead():
    plain = Sources("face-edges", {}, SIZE)
    assert plain.lack == "no landmarks: Canny edges are taken alone"
    np.testing.assert_array_equal(build_condition(plain, photo()), edge_condition(photo()))
    parts = pack_parts({"skin": photo()[..., 0] > 0}, SIZE)
    bordered = Sources("face-edges", {"parts": parts}, SIZE)
    assert bordered.lack == "no landmarks: part borders and Canny edges are taken alone"
    released = Sources("celebahq-edge", {"parts": parts}, SIZE)
    np.testing.assert_array_equal(
        build_condition(bordered, photo()), build_condition(released, photo())[:1]
    )


def test_chains_are_drawn_with_a_distance_map_each():
    joints = np.array([[2, 3], [6, 3], [6, 9], [np.nan, np.nan]], np.float32)
    chains = join_chains([[0, 1, 2], [2, 3], [1, 0]])
    assert chains.tolist() == [[0, 1, 2], [2, 3, -1], [1, 0, -1]]
    array = build_condition(Sources("chains", {"joints": joints, "chains": chains}, SIZE))
    first = np.zeros((16, 24), bool)
    first[3, 2:7] = first[3:10, 6] = True
    third = np.zeros((16, 24), bool)
    third[3, 2:7] = True
    np.testing.assert_array_equal(array[0], first * 255)
    np.testing.assert_array_equal(array[1], distance_map(first))
    assert (array[2] == 255).all()
    np.testing.assert_array_equal(array[3], distance_map(third))


def test_empty_conditions_are_told():
    flat = np.full((16, 24, 3), 7, np.uint8)
    assert is_empty(build_condition(Sources("edges", {}, SIZE), flat))
    assert not is_empty(build_condition(Sources("edges", {}, SIZE), photo()))
    joints = np.full((18, 2), np.nan, np.float32)
    blank = build_condition(Sources("deepfashion", {"joints": joints}, SIZE))
    assert blank.any() and is_empty(blank, "deepfashion")
    assert not is_empty(np.zeros((1, 4, 4), np.uint8), "labels")


def test_emptiness_is_told_from_sources():
    flat = np.full((16, 24, 3), 7, np.uint8)
    faint = flat.copy()
    faint[:, 12:] += 3
    assert shows_nothing(Sources("edges", {}, SIZE), flat)
    assert shows_nothing(Sources("edges", {}, SIZE), faint)
    assert not shows_nothing(Sources("edges", {}, SIZE), photo())
    drawn = np.zeros((16, 24), np.uint8)
    assert shows_nothing(Sources("edges", {"edges": drawn}, SIZE), photo())
    assert not shows_nothing(Sources("labels", {"ids": drawn}, SIZE), flat)
    for kind in ("deepfashion", "pose"):
        joints = np.full((18, 2), -500, np.float32)
        assert shows_nothing(Sources(kind, {"joints": joints}, SIZE), photo())
        joints[0] = 5
        assert not shows_nothing(Sources(kind, {"joints": joints}, SIZE), flat)


@pytest.mark.parametrize("step", range(0, 40))
def test_a_clear_edge_is_one_of_canny(step):
    pixels = np.full((32, 32, 3), 100, np.uint8)
    pixels[8:24, 8:24] += np.uint8(step)
    assert canny_edges(pixels).any() or not has_clear_edge(pixels)
    assert has_clear_edge(pixels) or step < 25


# The released code's maps


@pytest.mark.shared
@pytest.mark.parametrize("task", ["ade20k", "celebahq-mask", "celebahq-edge", "deepfashion"])
def test_sources_that_went_through_a_file_give_what_the_layout_reads(shared, task):
    from cocoscli.data.images import read_photo

    layout = LAYOUTS[task]
    for item in layout.walk(shared / "released" / "conditions" / task):
        sources = layout.sources(item, None if task == "deepfashion" else (256, 256))
        back = decode_sources(task, *encode_sources(sources))
        pixels = read_photo(layout.photo(item), (256, 256), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(
            build_condition(back, pixels, (256, 256)), layout.read(item, (256, 256))
        )
