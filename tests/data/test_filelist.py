"""Names in a temporary file."""

from __future__ import annotations

import errno
import gc
import os
import pickle

import pytest

from cocoscli.data.filelist import FileList
from cocoscli.errors import CocosError

NAMES = ["a", "", "line\nbreak", "nul\0inside", os.fsdecode(b"caf\xe9"), "画", "a"]


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_names_come_back_as_they_were(temporary):
    names = FileList(iter(NAMES))
    assert len(names) == len(NAMES) and list(names) == NAMES
    assert [names[i] for i in range(len(names))] == NAMES


@pytest.mark.parametrize("i", [-1, len(NAMES)])
def test_beyond_the_ends(temporary, i):
    with pytest.raises(IndexError):
        FileList(NAMES)[i]


def test_an_empty_list(temporary):
    assert list(FileList([])) == []


def test_other_processes_read_it_too(temporary):
    names = FileList(NAMES)
    copy = pickle.loads(pickle.dumps(names))
    child = os.fork()
    if not child:
        same = list(names) == NAMES
        names.close()
        os._exit(not same)
    assert os.waitpid(child, 0)[1] == 0
    assert list(names) == NAMES
    names.close()
    assert list(copy) == NAMES


def test_nothing_is_left_however_the_process_ends(temporary):
    names = FileList(NAMES)
    assert os.listdir(temporary) == [] and list(names) == NAMES


def test_a_list_that_fails_leaves_no_file(temporary):
    def names():
        yield "a"
        raise ValueError

    with pytest.raises(ValueError):
        FileList(names())
    gc.collect()
    assert os.listdir(temporary) == []


def test_no_temporary_folder(temporary, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(temporary / "nowhere"))
    with pytest.raises(CocosError, match=r"nowhere cannot be written .*TMPDIR"):
        FileList(NAMES)


def test_no_room(small_disk, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    with pytest.raises(CocosError, match="No space left on device"):
        FileList("x" * 1000 for _ in range(1000))


def test_a_fault_of_the_source_is_its_own(temporary):
    def names():
        yield "a"
        raise OSError(errno.EIO, "the source")

    with pytest.raises(OSError, match="the source"):
        FileList(names())
