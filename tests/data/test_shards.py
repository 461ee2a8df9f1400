"""Keys and shards: what is written, what plain readers see, what damaged files say."""

from __future__ import annotations

import io
import json
import os
import random
import re
import tarfile
from pathlib import Path

import pytest

from cocoscli.data.shards import (
    Sample,
    ShardList,
    ShardWriter,
    decode_key,
    encode_key,
    expand_braces,
    find_shards,
    is_shards,
    join_keys,
    read_index,
)
from cocoscli.errors import CocosError

PATHS = [
    "a.jpg",
    "a.v1.jpg",
    "a.v2.jpg",
    "a%2Ev1.jpg",
    "deep/er/a.jpg",
    "x.y/z.jpg",
    ".hidden/.a.png",
    "_a.png",
    "__a__.png",
    "d/__a__",
    "with space.png",
    "海/山 été.jpg",
    "line\nbreak.png",
    "tab\t\"quote'.png",
    "%.png",
    "A.JPG",
    os.fsdecode(b"bad\xff\xfe.png"),
]
MEMBERS = {
    "image.jpg": b"photo" * 200,
    "condition.png": b"map",
    "exemplar.0.jpg": b"",
    "exemplar_condition.0.png": b"x" * 512,
    "meta.json": b"{}",
}


def shard(path: Path, keys: list[str], members: dict[str, bytes] = MEMBERS) -> Path:
    with open(path, "wb") as file:
        writer = ShardWriter(file)
        for key in keys:
            writer.add(Sample(encode_key(key), {n: key.encode("utf-8", "surrogateescape") + d
                                                for n, d in members.items()}))  # fmt: skip
        writer.close()
    return path


def read_all(path: Path) -> dict[str, dict[str, bytes]]:
    samples = ShardList([path])
    return {samples.key(i): samples.sample(i).members for i in range(len(samples))}


@pytest.mark.parametrize("path", PATHS)
def test_a_key_comes_back_as_its_path(path):
    key = encode_key(path)
    assert decode_key(key) == path
    assert "." not in key and key.isascii() and key.isprintable() and " " not in key
    assert not any(part.startswith("_") for part in key.split("/"))


def test_a_key_that_others_wrote_may_hold_any_bytes():
    assert decode_key("caf\udce9/%2E") == "caf\udce9/."


def test_keys_are_distinct():
    assert len({encode_key(path) for path in PATHS}) == len(PATHS)


def test_joined_keys_are_distinct_and_come_back():
    pairs = [("a", "b/c.png"), ("a/b", "c.png"), ("a/b", "_c.png"), ("a", "b%2Fc.png")]
    joined = [join_keys(key, name) for key, name in pairs]
    assert len(set(joined)) == len(pairs)
    assert [key.rpartition("/")[0] for key in joined] == [key for key, _ in pairs]
    assert [decode_key(key) for key in joined] == [f"{key}/{name}" for key, name in pairs]


def test_any_sample_is_read_at_random(tmp_path):
    samples = ShardList(
        [shard(tmp_path / "a.tar", PATHS[:9]), shard(tmp_path / "b.tar", PATHS[9:])]
    )
    assert len(samples) == len(PATHS)
    for i in random.Random(0).sample(range(len(PATHS)), len(PATHS)):
        assert samples.key(i) == PATHS[i]
        sample, prefix = samples.sample(i), PATHS[i].encode("utf-8", "surrogateescape")
        assert sample.key == encode_key(PATHS[i])
        assert sample.members == {name: prefix + data for name, data in MEMBERS.items()}


def test_only_the_members_that_are_asked_for(tmp_path):
    samples = ShardList([shard(tmp_path / "a.tar", ["a.png"])])
    assert set(samples.sample(0, ("exemplar.", "meta")).members) == {"exemplar.0.jpg", "meta.json"}


def test_the_bytes_are_those_of_tarfile(tmp_path):
    keys = ["a.png", "x" * 300 + ".png", "folder/" * 30 + "b.png"]
    with tarfile.open(tmp_path / "theirs.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for key in keys:
            for name, data in MEMBERS.items():
                info = tarfile.TarInfo(f"{encode_key(key)}.{name}")
                info.size, info.mode = len(key) + len(data), 0o644
                tar.addfile(info, io.BytesIO(key.encode() + data))
    ours = shard(tmp_path / "ours.tar", keys)
    assert ours.read_bytes() == (tmp_path / "theirs.tar").read_bytes()


def test_the_same_samples_give_the_same_bytes(tmp_path):
    first, second = (shard(tmp_path / name, PATHS) for name in ("a.tar", "b.tar"))
    os.utime(first, (0, 0))
    assert first.read_bytes() == second.read_bytes()


def test_plain_webdataset_reads_the_same(tmp_path):
    wds = pytest.importorskip("webdataset")
    path = shard(tmp_path / "a.tar", PATHS)
    found = {}
    for sample in wds.WebDataset(str(path), shardshuffle=False):
        members = {name: data for name, data in sample.items() if not name.startswith("__")}
        found[decode_key(sample["__key__"])] = members
    assert found == read_all(path)
    assert list(found) == PATHS


# ------------------------------------------------------------------------------- damaged files


def refused(path: Path) -> str:
    with pytest.raises(CocosError) as error:
        ShardList([path])
    assert path.name in error.value.message
    return error.value.message


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 10240, random.Random(0).randbytes(5000), b"not a tar" * 100]
)
def test_what_is_no_tar_is_refused(tmp_path, data):
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    refused(path)


def test_a_missing_shard_is_refused(tmp_path):
    assert "No such file" in refused(tmp_path / "none.tar")


def second_header(data: bytes) -> int:
    """Where the first member of the second sample starts."""
    return data.index(encode_key("b.png").encode())


@pytest.mark.parametrize("beyond", [1, 100, 511, 513])
def test_a_cut_off_shard_is_refused(tmp_path, beyond):
    path = shard(tmp_path / "a.tar", ["a.png", "b.png", "c.png"])
    data = path.read_bytes()
    path.write_bytes(data[: second_header(data) + beyond])
    refused(path)


def test_a_damaged_header_does_not_end_the_shard_silently(tmp_path):
    path = shard(tmp_path / "a.tar", ["a.png", "b.png", "c.png"])
    data = bytearray(path.read_bytes())
    start = second_header(bytes(data))
    data[start : start + 512] = b"\xaa" * 512
    path.write_bytes(data)
    refused(path)


def header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("size", [10_000, 2**31, 2**40, 2**62])
def test_a_member_beyond_the_end_is_refused(tmp_path, size):
    path = tmp_path / "a.tar"
    path.write_bytes(
        header("a.image.jpg", 5) + b"x" * 512 + header("b.image.jpg", size) + b"x" * 512
    )
    refused(path)


def test_links_and_folders_in_a_shard_are_passed_over(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (("a.link", tarfile.SYMTYPE), ("a.hard", tarfile.LNKTYPE), ("a.d", b"5")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        info = tarfile.TarInfo("a.image.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    assert read_all(tmp_path / "a.tar") == {"a": {"image.jpg": b"abc"}}


def test_any_damage_is_read_or_refused(tmp_path):
    path = shard(tmp_path / "a.tar", ["a.png", "b.png"], {"image.jpg": b"x" * 20, "meta.json": b""})
    data, chance = path.read_bytes(), random.Random(1)
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(3):
            damaged[chance.randrange(4096)] = chance.choice((0, 0x2D, 0x37, 0x67, 0x78, 0xFF))
        path.write_bytes(damaged)
        try:
            samples = ShardList([path])
        except CocosError:
            continue
        for i in range(len(samples)):
            samples.sample(i)


# -------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("a.tar", ["a.tar"]),
        ("a-{000009..000011}.tar", ["a-000009.tar", "a-000010.tar", "a-000011.tar"]),
        ("a-{9..11}.tar", ["a-9.tar", "a-10.tar", "a-11.tar"]),
        ("{000000000007..000000000008}", ["000000000007", "000000000008"]),
        ("{x,y}-{0..1}.tar", ["x-0.tar", "x-1.tar", "y-0.tar", "y-1.tar"]),
    ],
)
def test_braces(spec, names):
    assert expand_braces(spec) == names


def test_a_million_shards_are_refused():
    with pytest.raises(CocosError, match="million"):
        expand_braces("a-{0..1000000}.tar")


def test_a_missing_shard_of_a_range_is_named_with_what_is_there(tmp_path):
    shard(tmp_path / "val-000000.tar", ["a"])
    with pytest.raises(CocosError, match=r"val-000001\.tar: no such shard.*holds val-000000\.tar"):
        find_shards(f"{tmp_path}/val-{{000000..000001}}.tar")


def test_a_range_that_runs_backwards_names_no_shards(tmp_path):
    with pytest.raises(CocosError):
        ShardList(find_shards(f"{tmp_path}/val-{{000003..000001}}.tar"))


def test_wildcards_name_the_shards_that_are_there(tmp_path):
    odd = tmp_path / "a[1]"
    odd.mkdir()
    for name in ("train-000001.tar", "train-000000.tar", "val-000000.tar"):
        (odd / name).write_bytes(b"")
    names = [path.name for path in find_shards(f"{odd}/train-*.tar")]
    assert names == ["train-000000.tar", "train-000001.tar"]
    assert [p.name for p in find_shards(f"{odd}/{{train,val}}-*0.tar")] == [
        "train-000000.tar",
        "val-000000.tar",
    ]
    assert [p.name for p in find_shards(f"{tmp_path}/*/train-*.tar")] == names
    assert find_shards(f"{tmp_path}/*]/val-*.tar") == [odd / "val-000000.tar"]
    with pytest.raises(CocosError, match=r"test-\*\.tar: no such shard.*holds train-000000"):
        find_shards(f"{odd}/test-*.tar")
    with pytest.raises(CocosError, match=r"b\*/train-\*\.tar: no such shard; no \.tar is in"):
        find_shards(f"{tmp_path}/b*/train-*.tar")


# ---------------------------------------------------------------------------------- index.json

ROW = {"name": "val-000000.tar", "split": "val", "samples": 1, "bytes": 1, "sha256": ""}


def write_index(folder: Path, values: object) -> None:
    text = values if isinstance(values, str) else json.dumps(values)
    (folder / "index.json").write_text(text)


def test_the_shards_of_a_split_or_else_all(tmp_path):
    train = {**ROW, "name": "train-000000.tar", "split": "train"}
    write_index(tmp_path, {"schema": 1, "shards": [train, ROW]})
    assert is_shards(str(tmp_path))
    assert find_shards(str(tmp_path)) == [tmp_path / "val-000000.tar"]
    assert len(find_shards(str(tmp_path), "test")) == 2


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"schema": 2, "shards": [ROW]}, "schema 2, expected 1"),
        ({"schema": 1}, "shards"),
        ({"shards": []}, "schema"),
        ([], "TypeError"),
        ({"schema": 1, "shards": [{**ROW, "name": "../up.tar"}]}, "no plain name"),
        ({"schema": 1, "shards": [{**ROW, "name": "/etc/a.tar"}]}, "no plain name"),
        ({"schema": 1, "shards": [{**ROW, "name": 5}]}, "TypeError"),
        ({"schema": 1, "shards": [{"name": "a.tar"}]}, "split"),
        ("{", "JSONDecodeError"),
    ],
)
def test_an_odd_index_is_refused(tmp_path, values, reason):
    write_index(tmp_path, values)
    with pytest.raises(CocosError, match=re.escape(reason)) as error:
        read_index(tmp_path)
    assert "index.json: not an index of shards" in error.value.message


def test_an_index_without_shards_is_refused(tmp_path):
    write_index(tmp_path, {"schema": 1, "shards": []})
    with pytest.raises(CocosError):
        ShardList(find_shards(str(tmp_path)))


def test_a_deep_index_is_refused(tmp_path):
    write_index(tmp_path, "[" * 100_000)
    fault = None
    try:
        read_index(tmp_path)
    except (CocosError, RecursionError) as error:
        fault = type(error)
    assert fault is CocosError
