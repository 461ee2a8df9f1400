"""Reference lists and identities as files, good and bad."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from cocoscli.data.references import (
    Reference,
    identity_pattern,
    named,
    read_identities,
    read_references,
    renewed,
    write_references,
)
from cocoscli.errors import CocosError, UsageError


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "a_ref.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_the_released_form_is_read(tmp_path, start, end):
    text = start + end.join(["1.jpg,7.jpg,8.jpg,9.jpg", "", "2.jpg,1.jpg"])  # no last line end
    first, second = read_references(written(tmp_path, text))
    assert first == Reference("1.jpg", ("7.jpg", "8.jpg", "9.jpg"))
    assert first.training == ("7.jpg", "9.jpg")
    assert second.training == ("1.jpg", "1.jpg")


def test_backslashes_of_a_known_or_an_unknown_dataset(tmp_path):
    path = written(tmp_path, "img\\a\\1.jpg,img\\b\\2.jpg\n")
    slashed = [Reference("img/a/1.jpg", ("img/b/2.jpg",))]
    assert list(read_references(path)) == slashed
    there = {"img/a/1.jpg", "img/b/2.jpg"}
    assert list(read_references(path, there.__contains__, there.__contains__)) == slashed
    odd = {"img\\a\\1.jpg", "img\\b\\2.jpg"}
    [reference] = read_references(path, odd.__contains__, odd.__contains__)
    assert {reference.query, *reference.exemplars} == odd


def test_reading_streams(tmp_path):
    references = read_references(written(tmp_path, "1,2\n" * 2))
    assert next(references).query == "1"  # before the fault in line 2
    with pytest.raises(CocosError, match="line 2: '1' is listed twice"):
        next(references)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no references in it"),
        ("\n \n", "no references in it"),
        ("1,2\n3\n", "line 2: no exemplar in '3'"),
        ("1,2\n\n3,4,\n", "line 3: an empty name in '3,4,'"),
        (",4\n", "line 1: an empty name in ',4'"),
        ("1,2,1\n", "line 1: '1' is its own exemplar"),
        ('1,"2\n', "line 1: unexpected end of data"),
        ("1,2\n2,1\n1,3\n", "line 3: '1' is listed twice"),
        ("1,2\n5,1\n", "line 2: query '5' is not in the dataset"),
        ("1,2\n3,1,9\n", "line 2: exemplar '9' is not in the dataset"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path, text, message):
    there = {"1", "2", "3", "4"}.__contains__
    with pytest.raises(CocosError, match=re.escape(message)):
        list(read_references(written(tmp_path, text), there, there))


def test_a_missing_file(tmp_path):
    with pytest.raises(CocosError, match=r"none\.txt: cannot be read \(No such file"):
        list(read_references(tmp_path / "none.txt"))


def test_written_lists_are_read_again(tmp_path):
    path = tmp_path / "list_ref.txt"
    references = [
        Reference("a/1.jpg", ("b/2.jpg", "b/3.jpg")),
        Reference('with, comma "and" quotes.jpg', ("日本.png",)),
        Reference("\udcff.jpg", ("a/1.jpg",)),
    ]
    write_references(path, [*references, Reference("alone.jpg", ())])
    assert path.read_bytes().startswith(b"a/1.jpg,b/2.jpg,b/3.jpg\n")
    assert list(read_references(path)) == references
    assert list(tmp_path.iterdir()) == [path]


def test_lines_of_before_stay_unless_changed():
    before = [Reference("a", ("1",)), Reference("c", ("1",)), Reference("d", ("1",))]
    now = [Reference(name, ("2",)) for name in "abcde"]
    found = list(renewed(before, now, {"c"}))
    assert [r.exemplars[0] for r in found] == ["1", "2", "2", "1", "2"]
    assert [r.query for r in found] == list("abcde")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = written(tmp_path, "1,2\n")

    def broken():
        yield Reference("3", ("4",))
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write_references(path, broken())
    assert path.read_text() == "1,2\n" and list(tmp_path.iterdir()) == [path]


def test_found_rows_become_names():
    names = ["a", "b", "c"]
    rows = np.array([[2, 1], [0, -1], [-1, -1]], np.int32)
    assert list(named(names, rows, names.__getitem__)) == [
        Reference("a", ("c", "b")),
        Reference("b", ("a",)),
        Reference("c", ()),
    ]


# Identities


@pytest.mark.parametrize("header", ["", "name,identity\n", "Name, Identity\n"])
def test_identities_from_a_file(tmp_path, header):
    path = written(tmp_path, header + "a/1.jpg,ann\na/2.jpg,bob\n")
    assert read_identities(path) == {"a/1.jpg": "ann", "a/2.jpg": "bob"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,identity\n", "no identities in it"),
        ("1,ann\n2\n", "line 2: '2'; expected two fields"),
        ("1,ann\n2,\n", "line 2: '2,'; expected two fields"),
        ("1,ann\n1,bob\n", "line 2: '1' is listed twice"),
    ],
)
def test_faults_of_an_identity_file(tmp_path, text, message):
    with pytest.raises(CocosError, match=re.escape(message)):
        read_identities(written(tmp_path, text))


def test_identities_from_names():
    identity = identity_pattern(r"(id_\d+)")
    assert identity("img/WOMEN/Dresses/id_00000244/02_1_front.jpg") == "id_00000244"
    assert identity("other.jpg") is None
    assert identity_pattern("(x*)")("abc") is None  # an empty identity is none


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(id", "not a regular expression"),
        (r"id_\d+", "0 groups, expected one"),
        ("(a)(b)", "2 groups"),
    ],
)
def test_patterns_that_do_not_fit(pattern, message):
    with pytest.raises(UsageError, match=message):
        identity_pattern(pattern)
