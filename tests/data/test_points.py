"""Files of points: what is understood, what is refused, how places scale."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from cocoscli.data.points import (
    Carried,
    Points,
    decode_known,
    encode_known,
    encode_points,
    read_points,
    scaled,
)
from cocoscli.errors import BadInput

BIG = (1000, 1000)


def given(tmp_path, text: str, name: str = "points.csv"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return read_points(path)


@pytest.mark.parametrize("head", ["", "key,name,x,y\n", "\ufeffkey,name,x,y\r\n"])
def test_rows_of_an_image(tmp_path, head):
    points = given(tmp_path, head + "a/b.jpg,nose,3,4.5\na/b.jpg,,5,6\n\nc,tip,1,2\n")
    found = points.of("a/b.jpg", BIG)
    assert found.names == ("nose", "1") and found.xy.tolist() == [[3, 4.5], [5, 6]]
    assert points.of("a/b.png", BIG).names == found.names  # the suffix does not matter
    assert points.of("c.png", BIG).xy.tolist() == [[1, 2]]
    assert len(points.of("other.png", BIG)) == 0


@pytest.mark.parametrize("head", ["", "x,y\n"])
def test_rows_of_every_image(tmp_path, head):
    points = given(tmp_path, head + "3,4\n 5 , 6\n")
    assert points.of("any", BIG).xy.tolist() == [[3, 4], [5, 6]]
    assert points.of("other", BIG).names == ("0", "1")


def test_json_of_an_image_and_of_every_image(tmp_path):
    points = given(tmp_path, json.dumps({"a.jpg": [[1, 2], None, [3, 4, 0.9]]}), "p.json")
    found = points.of("a.jpg", BIG)
    assert found.names == ("0", "2") and found.xy.tolist() == [[1, 2], [3, 4]]
    assert len(points.of("b.jpg", BIG)) == 0
    common = given(tmp_path, "[[1, 2], [3, 4]]", "p.json")
    assert common.of("b.jpg", BIG).xy.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,b,c\n", "line 1: 3 columns"),
        ("1,2\na,n,1,2\n", "line 2: 4 columns"),
        ("1,2\n3,four\n", "line 2: '3', 'four' are no numbers"),
        ("1,nan\n", "line 1: 1, nan is no place"),
        ("1,inf\n", "line 1: 1, inf is no place"),
        ("", "no points in it"),
        ("key,name,x,y\n", "no points in it"),
        ('"' + "x" * 200_000, "field larger"),
    ],
)
def test_csv_that_is_malformed(tmp_path, text, found):
    with pytest.raises(BadInput) as caught:
        given(tmp_path, text)
    assert "points.csv" in str(caught.value) and found in str(caught.value)
    assert "expected CSV rows key,name,x,y" in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", "[[1]]", '[["a", 2]]', "[[1, Infinity]]", "3", "{}"])
def test_json_that_is_malformed(tmp_path, text):
    with pytest.raises(BadInput, match=r"p\.json"):
        given(tmp_path, text, "p.json")


def test_a_faulty_entry_costs_its_image_alone(tmp_path):
    points = given(tmp_path, '{"a": [[1, 2]], "b": [[1]]}', "p.json")
    assert len(points.of("a", BIG)) == 1
    with pytest.raises(BadInput, match="'b' is not usable"):
        points.of("b", BIG)


@pytest.mark.parametrize(
    ("x", "y", "inside"),
    [(0, 0, True), (-0.5, 4.5, True), (9.5, 4.5, True), (-0.6, 0, False), (9.6, 0, False),
     (0, 4.6, False)],
)  # fmt: skip
def test_a_point_must_lie_in_the_image(tmp_path, x, y, inside):
    points = given(tmp_path, f"a,nose,{x},{y}\n")
    if inside:
        assert len(points.of("a", (10, 5))) == 1
        return
    with pytest.raises(BadInput, match=r"point 'nose' .* outside of a, which is 10x5"):
        points.of("a", (10, 5))


def test_corners_and_centres_scale_to_corners_and_centres():
    places = np.array([[-0.5, -0.5], [9.5, 4.5], [4.5, 2.0]])
    assert scaled(places, (10, 5), (40, 50)).tolist() == [[-0.5, -0.5], [39.5, 49.5], [19.5, 24.5]]
    assert np.allclose(scaled(scaled(places, (10, 5), (7, 3)), (7, 3), (10, 5)), places)


@pytest.mark.parametrize("format", ["csv", "json"])
def test_what_is_written_can_be_read(format):
    row = Carried("a,b.jpg", 'e "1".jpg', "nose", 1.0, 2.25, 3.12345, -4.0, 0.5, 0.0)
    text = encode_points([row, row], format).decode()
    found = json.loads(text) if format == "json" else list(csv.DictReader(text.splitlines()))
    assert len(found) == 2 and found[0]["key"] == "a,b.jpg" and found[0]["exemplar"] == 'e "1".jpg'
    assert float(found[0]["matched_x"]) == 3.123 and float(found[1]["matched_y"]) == -4


def test_points_of_a_shard_come_back_at_any_size():
    points = Points(("nose", "7"), np.array([[10.25, 20], [0, 99.5]]))
    data = encode_known(points, (100, 200))
    same = decode_known(data, (100, 200), "a: points")
    assert same.names == points.names and np.array_equal(same.xy, points.xy)
    assert np.allclose(
        decode_known(data, (50, 50), "a").xy, scaled(points.xy, (100, 200), (50, 50))
    )


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b"\xff", b'{"size": [0, 5], "points": {}}', b'{"size": 5, "points": {}}',
        b'{"size": [5, 5], "points": {"a": [1]}}', b'{"size": [5, 5], "points": {"a": [1, "x"]}}',
        b'{"size": [5, 5], "points": {"a": [1, 1e99]}}',
        b'{"size": [5, 5], "points": {"a": [NaN, 1]}}',
        b'{"size": [5, 5], "points": [[1, 2]]}', b"[" * 100_000, b" " * (2**20 + 1),
    ],
)  # fmt: skip
def test_what_is_no_points_of_a_shard_is_refused(data):
    with pytest.raises(BadInput, match=r"a: points: no points of an image"):
        decode_known(data, (5, 5), "a: points")
