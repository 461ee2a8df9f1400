"""Places of a store as paths: against moto's server, by the real client."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import pytest

from cocoscli.data import storage, stores
from cocoscli.data.storage import Remote, local_copy, open_large, place, read_parts
from cocoscli.data.walking import find_stem, twin_folders, walk_files
from cocoscli.errors import BadInput, CocosError, UsageError


@pytest.fixture
def folder(bucket) -> Path:
    for key in ("in/a/x.txt", "in/a-b/y.txt", "in/z.txt", "in/.hidden", "in/odd é%20?#.txt"):
        bucket.put(key, key.encode())
    bucket.put("in/empty", b"")
    return place(bucket.url("in"))


def test_a_local_name_is_a_path_as_ever():
    assert place("a/b") == Path("a/b") and type(place("a:b/c")) is type(Path())
    assert place(Path("x")) == Path("x")


def test_a_url_keeps_its_form_through_what_paths_do(folder):
    file = folder / "a" / "x.txt"
    assert str(file) == f"{folder}/a/x.txt" and (file.stem, file.suffix) == ("x", ".txt")
    assert str(file.parent.parent) == str(folder) and str(file.relative_to(folder)) == "a/x.txt"
    assert pickle.loads(pickle.dumps(file)) == file and file.absolute() == file
    assert [p.name for p in file.parents] == ["a", "in", folder.parent.name]


def test_the_walk_is_that_of_a_folder(folder, tmp_path):
    for path in walk_files(folder):
        copy = tmp_path / path.relative_to(folder)
        copy.parent.mkdir(exist_ok=True, parents=True)
        copy.write_bytes(path.read_bytes())
    there = [str(path.relative_to(folder)) for path in walk_files(folder)]
    assert there == [str(path.relative_to(tmp_path)) for path in walk_files(tmp_path)]
    assert there == ["a/x.txt", "a-b/y.txt", "empty", "odd é%20?#.txt", "z.txt"]


def test_what_is_there(folder):
    assert storage.is_file(folder / "z.txt") and not storage.is_file(folder / "a")
    assert storage.is_folder(folder / "a") and not storage.is_folder(folder / "z.txt")
    assert storage.exists(folder) and not storage.exists(folder / "b")
    assert not storage.exists(Remote("s3://no-such-bucket/x"))
    assert storage.absent([folder / "z.txt", folder / "q.txt"]) == [folder / "q.txt"]
    assert find_stem(folder, "z", (".png", ".txt")) == folder / "z.txt"
    assert list(twin_folders(folder / "a/x.txt", lambda name: ("a-b",))) == [folder / "a-b"]
    assert [path.name for path in folder.glob("*.txt")] == ["odd é%20?#.txt", "z.txt"]
    assert sorted(path.name for path in folder.glob("*/")) == ["a", "a-b"]


def test_reading(folder, monkeypatch):
    file = folder / "z.txt"
    assert file.read_bytes() == b"in/z.txt" and (folder / "empty").read_bytes() == b""
    assert file.read_range(3, 5) == b"z." and file.read_range(3, 99) == b"z.txt"
    assert file.stat().st_size == 8 and file.read_text() == "in/z.txt"
    assert read_parts(file, {"b": (3, 1), "a": (0, 2)}) == {"b": b"z", "a": b"in"}
    monkeypatch.setattr(storage, "BLOCK", 3)
    with open_large(file) as stream:
        assert stream.read(4) == b"in/z" and stream.seek(-3, 2) == 5 and stream.read() == b"txt"
    with pytest.raises(FileNotFoundError) as caught:
        (folder / "q").read_bytes()
    assert caught.value.strerror == "no such object or bucket"


def test_writing_and_removing(folder):
    file = folder / "new/file.bin"
    file.parent.mkdir(parents=True)
    assert file.write_bytes(b"12") == 2 and file.read_bytes() == b"12"
    file.unlink()
    file.unlink(missing_ok=True)
    assert not file.exists()


def test_what_takes_local_files_alone_says_so(folder):
    with pytest.raises(BadInput, match="from local files alone"):
        open(folder / "z.txt").close()


@pytest.mark.parametrize(
    "url",
    ["ftp://a/b", "file:///etc/passwd", "simplecache::s3://a/b", "s3://a/zip::s3://b/c",
     "pipe:cat x", "pipe::cat", "github://a", "s3://", "s3://a/\nb"],
)  # fmt: skip
def test_other_urls_are_refused(url):
    with pytest.raises(UsageError):
        place(url)


@pytest.mark.parametrize("url", ["gs://bucket/x", "hdfs://node:9000/x", "az://box/x"])
def test_a_missing_package_is_named(url, monkeypatch):
    for name in ("gcsfs", "pyarrow", "pyarrow.fs", "adlfs"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(CocosError, match=r"pip install '(gcsfs|pyarrow|adlfs)'"):
        place(url)


def test_refused_credentials_are_said(bucket, folder):
    bucket.server.ask_for_credentials("0")
    try:
        start = time.monotonic()
        with pytest.raises(BadInput, match="refuses these credentials"):
            storage.is_file(folder / "z.txt")
        assert time.monotonic() - start < stores.PATIENCE / 2  # nothing is gained by trying again
    finally:
        bucket.server.ask_for_credentials("inf")


def test_no_credentials_are_said(bucket, folder, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    stores.forget()
    with pytest.raises(BadInput, match=r"refuses these credentials: .*credentials"):
        storage.is_file(folder / "z.txt")


def test_a_dead_store_is_given_a_bounded_time(folder, monkeypatch):
    monkeypatch.setattr(stores, "PATIENCE", 1.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    stores.forget()
    start = time.monotonic()
    with pytest.raises(OSError) as caught:
        (folder / "z.txt").read_bytes()
    assert "does not work, after 1 s" in caught.value.strerror
    assert 0.5 < time.monotonic() - start < 20
    start = time.monotonic()
    with pytest.raises(OSError):  # known to be dead: one attempt
        (folder / "z.txt").read_bytes()
    assert time.monotonic() - start < 10


def test_a_name_that_no_bucket_has_is_refused_at_once():
    start = time.monotonic()
    with pytest.raises(OSError):
        Remote("s3://No such bucket!/x").read_bytes()
    assert time.monotonic() - start < stores.PATIENCE / 2


def test_the_environment_says_how_long(folder, monkeypatch):
    monkeypatch.setenv("COCOS_STORE_PATIENCE", "soon")
    with pytest.raises(UsageError, match="COCOS_STORE_PATIENCE=soon"):
        folder.exists()


def test_a_store_that_comes_back_is_waited_for(folder, monkeypatch):
    monkeypatch.setattr(stores, "PATIENCE", 30.0)
    calls = iter([ConnectionError("reset"), TimeoutError(), None])

    def read(store, path):
        if (fault := next(calls)) is not None:
            raise fault
        return "read"

    monkeypatch.setattr(stores, "PAUSES", (0.01, 0.01))
    assert stores.call(str(folder), read) == "read"


def test_copies_are_kept_and_few(bucket, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(storage, "KEPT", 2)
    files = [place(bucket.put(f"w{n}.safetensors", bytes([n]))) for n in range(3)]
    copies = [local_copy(file) for file in files]
    assert all(copy.exists() for copy in copies), "others may be at work on the youngest"
    for n, copy in enumerate(copies):
        os.utime(copy, (n, n))
    local_copy(files[2])
    assert [copy.exists() for copy in copies] == [False, True, True]
    assert copies[2].read_bytes() == b"\2" and local_copy(files[2]) == copies[2]
    bucket.put("w2.safetensors", b"new")
    assert local_copy(files[2]).read_bytes() == b"new"
    with pytest.raises(CocosError, match="only safetensors"):
        local_copy(place(bucket.put("w.pth", b"")))
