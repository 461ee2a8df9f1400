"""Where results go: files or shards, from the same members."""

from __future__ import annotations

import hashlib
import json

import pytest

from cocoscli.data.shards import Sample, ShardList
from cocoscli.engine.manifest import Finished
from cocoscli.engine.output import OutputFolder
from cocoscli.engine.results import Files, Packed, Shards
from cocoscli.engine.shardset import Limits

MEMBERS = {"image.png": b"picture", "flow.npz": b"numbers"}


@pytest.fixture
def output(tmp_path):
    folder = OutputFolder(tmp_path / "out")
    folder.open({"seed": 0}, {}, False)
    yield folder
    folder.close()


def packed(key: str) -> Packed:
    return Packed(Sample(key, dict(MEMBERS)), source=key, columns={"exemplar": "e"})


def put(results, name: str, key: str):
    row = {"key": name, "input": name, "exemplar": None}
    columns, sample = results.put(row, packed(key))
    return {**row, "status": "done", **columns}, sample


def test_files_are_named_by_item_and_member(output):
    results = Files(output)
    rows = list(results.record([put(results, "../a.jpg", "-")]))
    assert (output.path / "%2E%2E/a.jpg.png").read_bytes() == b"picture"
    assert (output.path / "%2E%2E/a.jpg.flow.npz").read_bytes() == b"numbers"
    [row] = rows
    assert row["output"] == "%2E%2E/a.jpg.png" and row["exemplar"] == "e"
    assert row["sha256"] == hashlib.sha256(b"picture").hexdigest()
    assert results.finish() == {}


def test_samples_have_all_members_and_a_meta(output):
    results = Shards(output, Limits(samples=2))
    items = [put(results, f"{n}.png", str(n)) for n in range(3)]
    rows = list(results.record(iter(items)))
    assert [row["output"] for row in rows] == [
        "results-000000.tar/0.image.png",
        "results-000000.tar/1.image.png",
        "results-000001.tar/2.image.png",
    ]
    assert results.finish() == {"shards": 2}
    sample = ShardList([output.path / "results-000001.tar"]).sample(0)
    meta = json.loads(sample.members.pop("meta.json"))
    assert sample == Sample("2", MEMBERS)
    assert meta["exemplar"] == "e" and meta["source"] == "2"
    assert meta["sha256"] == hashlib.sha256(b"picture").hexdigest()


def test_rows_are_passed_on_before_and_recorded_with_their_shard(output):
    results = Shards(output, Limits(samples=2))
    failed = {"key": "bad", "status": "failed", "output": None}
    rows = results.record(iter([put(results, "a", "a"), (failed, None), put(results, "b", "b")]))
    assert next(rows)["key"] == "a" and next(rows)["key"] == "bad"
    assert len(Finished(output.path, ("done", "failed"))) == 1
    assert not list(output.path.glob("*.tar"))
    assert next(rows)["key"] == "b" and next(rows, None) is None
    assert len(Finished(output.path, ("done", "failed"))) == 3
    assert list(output.path.glob("*.tar"))


def test_an_abandoned_shard_leaves_no_file(output):
    results = Shards(output, Limits())
    rows = results.record(iter([put(results, "a", "a"), put(results, "b", "b")]))
    next(rows)
    rows.close()
    assert not list(output.path.glob("*.tar")) and not list((output.path / "_cocos/tmp").iterdir())
    assert len(Finished(output.path, ("done",))) == 0
