"""The folder of results."""

from __future__ import annotations

import errno
import json
import os

import pytest

from cocoscli.engine.files import safe_name
from cocoscli.engine.manifest import MANIFEST, Finished, latest_rows, merge, read_manifest
from cocoscli.engine.output import OutputFolder
from cocoscli.errors import CocosError

SETTINGS = {"size": "64", "seed": 0, "exemplar": "/a\nb/caf\udce9"}


@pytest.fixture
def folder(tmp_path):
    output = OutputFolder(tmp_path / "out")
    output.open(SETTINGS, {"cocos": "1"}, False)
    yield output
    output.close()


def rows(*given: dict) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in given)


@pytest.mark.parametrize(
    ("key", "name"),
    [("a/x.png", "a/x.png"), ("..", "%2E%2E"), ("a/../../b", "a/%2E%2E/%2E%2E/b"),
     ("./x", "%2E/x"), ("...", "..."), ("..x", "..x")],
)  # fmt: skip
def test_names_stay_below_the_folder(key, name):
    assert safe_name(key) == name


@pytest.mark.parametrize("key", ["/etc/x", "a//b", "", "a/"])
def test_no_part_of_a_name_is_empty(key):
    assert all(safe_name(key).split("/"))


def test_files_appear_whole(folder, monkeypatch):
    folder.write("a/x.png", b"old")

    def failing(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(OSError):
            folder.write("a/x.png", b"new")
    assert (folder.path / "a/x.png").read_bytes() == b"old"
    assert os.listdir(folder.path / "a") == ["x.png"]
    folder.write("a/x.png", b"new")
    assert (folder.path / "a/x.png").read_bytes() == b"new"
    assert (folder.path / "a/x.png").stat().st_mode & 0o777 == 0o644


def test_settings_come_back(folder):
    assert folder.settings() == SETTINGS


@pytest.mark.parametrize("text", ["", "settings = 1", "[" * 9999, "\xff"])
def test_a_damaged_record_is_refused(folder, text):
    (folder.path / "run.toml").write_text(text, encoding="latin-1")
    with pytest.raises(CocosError, match="not a run record"):
        folder.settings()


def test_one_run_at_a_time(folder):
    other = OutputFolder(folder.path)
    with pytest.raises(CocosError, match="another process"):
        other.open(SETTINGS, {}, False)
    folder.close()
    other.open(SETTINGS, {}, False)
    other.close()


def test_other_settings_are_refused_with_the_difference(folder):
    folder.close()
    other = OutputFolder(folder.path)
    now = {"size": "96", "seed": 0, "colors": "c.json"}
    with pytest.raises(CocosError) as refused:
        other.open(now, {}, False)
    other.close()
    for words in ("size was '64', is '96'", "colors was 'not set', is 'c.json'", "exemplar was"):
        assert words in refused.value.message
    assert "seed" not in refused.value.message
    other.open(now, {}, True)
    other.close()


def test_overwrite_removes_results_and_nothing_else(folder, tmp_path):
    mine = tmp_path / "mine.png"
    for path in (folder.path / "a.png", folder.path / "notes.txt", mine):
        path.write_bytes(b"x")
    for output in ("a.png", "../mine.png", str(mine)):
        folder.append({"key": output, "status": "done", "output": output})
    folder.close()
    folder.open({}, {}, True)
    assert mine.exists() and (folder.path / "notes.txt").exists()
    assert not (folder.path / "a.png").exists() and not list(read_manifest(folder.path))


@pytest.mark.parametrize(
    ("left", "kept"),
    [(b"", 0), (b"{", 0), (b'{"key": "a"}\n', 1), (b'{"key": "a"}\n{"key"', 1),
     (b'{"key": "a"}\n' + b"x" * 9000, 1), (b"x" * 4096, 0), (b"\n" + b"x" * 4095, 0)],
)  # fmt: skip
def test_a_cut_last_line_is_removed(folder, left, kept):
    folder.close()
    (folder.path / MANIFEST).write_bytes(left)
    folder.open(SETTINGS, {}, False)
    folder.append({"key": "new"})
    folder.flush()
    assert len(list(read_manifest(folder.path))) == kept + 1


def test_the_latest_row_of_a_key_counts(folder):
    (folder.path / "a.png").touch()
    a, b = ({"key": key, "status": "done", "output": "a.png"} for key in "ab")
    failed = {"key": "a", "status": "failed"}
    (folder.path / MANIFEST).write_bytes(rows(failed, a, b) + b"junk\n" + rows(b, failed))
    assert list(latest_rows(folder.path)) == [b, failed]
    assert "a" not in Finished(folder.path, ("done",))
    assert "a" in Finished(folder.path, ("done", "failed"))
    merge(folder.path)
    assert (folder.path / MANIFEST).read_bytes() == rows(b, failed)


def test_a_row_without_its_file_is_not_finished(folder):
    (folder.path / MANIFEST).write_bytes(rows({"key": "a", "status": "done", "output": "a.png"}))
    assert "a" not in Finished(folder.path, ("done", "failed"))
    (folder.path / "a.png").touch()
    assert "a" in Finished(folder.path, ("done",))


def test_an_empty_manifest(folder):
    assert len(Finished(folder.path, ("done",))) == 0 and "a" not in Finished(
        folder.path, ("done",)
    )
    merge(folder.path)
    assert list(latest_rows(folder.path)) == []


def test_results_do_not_pass_through_links(folder, tmp_path):
    (tmp_path / "outside").mkdir()
    (folder.path / "a").symlink_to(tmp_path / "outside")
    with pytest.raises(CocosError, match="a link leads out"):
        folder.write("a/b/x.png", b"")
    assert os.listdir(tmp_path / "outside") == []
    (tmp_path / "file").write_bytes(b"mine")
    (folder.path / "x.png").symlink_to(tmp_path / "file")
    folder.write("x.png", b"new")
    assert (tmp_path / "file").read_bytes() == b"mine"
