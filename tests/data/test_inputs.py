"""What INPUTS may be."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from cocoscli.data.inputs import Inputs, list_inputs
from cocoscli.data.layouts import LAYOUTS
from cocoscli.errors import CocosError, UsageError

LABELS = LAYOUTS["labels"]


def listed(text: bytes, null: bool = False) -> Inputs:
    return list_inputs("-", LABELS, io.BytesIO(text), null=null)


@pytest.mark.parametrize(
    ("text", "root", "names"),
    [
        (b"/d/a/x.png\n/d/a/y.png\n", "/d/a", ["x.png", "y.png"]),
        (b"/d/a/x.png\n/d/b/x.png", "/d", ["a/x.png", "b/x.png"]),
        (b"/d/a/x.png\n/d/ab/x.png", "/d", ["a/x.png", "ab/x.png"]),
        (b"/a.png\n/b/c.png", "/", ["a.png", "b/c.png"]),
        (b"/d/x.png\n/d/./x.png\n/d/e/../x.png\n", "/d", ["x.png"]),
        (b"\r\n/d/x.png\r\n\r\n", "/d", ["x.png"]),
        (b"/d/ x .png\n", "/d", [" x .png"]),
        (b"/d/caf\xe9.png\n", "/d", [os.fsdecode(b"caf\xe9.png")]),
    ],
)
def test_lists(text, root, names):
    found = listed(text)
    assert found.root == Path(root) and list(found.names) == names
    assert found.path(0) == Path(root) / names[0]


def test_names_never_leave_the_root():
    found = listed(b"/a/b/../../c.png\n../x.png\n/../../d.png\n")
    assert not any(".." in name.split("/") for name in found.names)


def test_nul_separates_names_with_line_breaks():
    assert list(listed(b"/d/a\nb.png\0/d/c\r.png\0", null=True).names) == ["a\nb.png", "c\r.png"]


def test_lists_longer_than_a_chunk():
    names = [f"{'long' * 20}{n}.png" for n in range(2000)]
    text = "\n".join(f"/d/{name}" for name in names).encode()
    assert list(listed(text).names) == names


def test_a_byte_order_mark_is_no_part_of_a_name():
    found = listed(b"\xef\xbb\xbf/d/x.png\n")
    assert found.root == Path("/d") and list(found.names) == ["x.png"]


@pytest.mark.parametrize("text", [b"", b"\n", b"\r\n\r\n"])
def test_empty_lists(text):
    with pytest.raises(CocosError, match="standard input: the list is empty"):
        listed(text)


def test_a_folder_is_walked_in_order(tmp_path):
    for name in ("b/x.png", "a.png", "c.PNG", "b/.hidden.png", "note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list_inputs(str(tmp_path), LABELS, io.BytesIO())
    assert list(found.names) == ["a.png", "b/x.png", "c.PNG"] and found.root == tmp_path


def test_what_is_not_there(tmp_path):
    for spec in (str(tmp_path / "none"), f"@{tmp_path / 'none'}", f"@{tmp_path}"):
        with pytest.raises(CocosError, match=str(tmp_path)):
            list_inputs(spec, LABELS, io.BytesIO())
    for spec in ("", "@"):
        with pytest.raises(UsageError, match="names nothing"):
            list_inputs(spec, LABELS, io.BytesIO())
