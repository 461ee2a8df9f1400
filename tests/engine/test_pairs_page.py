"""The page of prepared shards shows what is in them, and nothing from elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from cocoscli.data.scenes import write_dataset
from cocoscli.engine.preparation import PrepareOptions, plan_preparation
from cocoscli.engine.prepare import prepare_shards
from cocoscli.report import INDEX, ROWS

HOSTILE = "<script>alert(1)<script>.png"


@pytest.fixture
def source(tmp_path) -> Path:
    return write_dataset(tmp_path / "d", 8, size=64)


def run(source: Path, folder: Path, gallery: int = 200, **options) -> dict:
    options = {"size": "64", "shard_samples": 3, "val": 0, **options}
    plan = plan_preparation(PrepareOptions(source=str(source), **options))
    work = prepare_shards(plan, folder, 0, gallery=gallery, overwrite=True)
    list(work.rows)
    return work.finish()


def rows(folder: Path) -> list[list]:
    text = (folder / ROWS / "0000.js").read_text("ascii")
    return list(json.loads(text[text.index("[") : text.rindex("]") + 1]))


def data(folder: Path) -> dict:
    text = re.search(r'id="page-data">(.*?)</script>', (folder / INDEX).read_text("utf-8"))
    assert text
    return dict(json.loads(text[1]))


def heads(folder: Path) -> list[str]:
    return [head["name"] for head in data(folder)["heads"]]


def references(folder: Path) -> dict[str, list[str]]:
    lines = (folder / "references.txt").read_text().splitlines()
    return {line.split(",")[0]: line.split(",")[1:] for line in lines}


def test_rows_show_samples_with_their_exemplars_and_scores(source, tmp_path):
    folder = tmp_path / "s"
    assert run(source, folder)["page"] == str(folder / INDEX)
    assert heads(folder) == ["Photo", "Condition", "First exemplar", "Last exemplar"]
    chosen = references(folder)
    assert {row[0] for row in rows(folder)} == set(chosen)
    for title, pictures, note, failed in rows(folder):
        photo, condition, first, last = pictures
        assert note == "train" and not failed and len(photo) == len(condition) == 2
        for picture, name in ((first, chosen[title][0]), (last, chosen[title][-1])):
            assert re.fullmatch(rf"[01]\.\d{{3}} · {re.escape(name)}", picture[2])
        scores = [float(picture[2].split()[0]) for picture in (first, last)]
        assert scores[0] >= scores[1]
        shown = np.asarray(Image.open(folder / photo[0]).convert("RGB")).astype(int)
        there = np.asarray(Image.open(source / title).convert("RGB").resize((64, 64))).astype(int)
        assert abs(shown - there).mean() < 8
    addresses = {picture[0] for row in rows(folder) for picture in row[1]}
    for address in addresses:
        assert not address.startswith(("/", "file:")) and ".." not in address
        assert (folder / unquote(address)).is_file()


def test_the_page_is_bounded(source, tmp_path):
    folder = tmp_path / "s"
    run(source, folder, gallery=4, size="600x300", keep_all=True)
    assert len(rows(folder)) == 4 == data(folder)["rows"]
    assert "The first 4 of 8 items." in (folder / INDEX).read_text("utf-8")
    assert heads(folder)[2:] == [f"Exemplar {n}" for n in range(1, 7)]
    pictures = list((folder / "_cocos/thumbs").rglob("*.jpg"))
    assert {Image.open(path).size for path in pictures} == {(256, 128)}
    assert len(pictures) == 4 + len(
        {p[0] for row in rows(folder) for p in row[1] if "photo" in p[0]}
    )


def test_the_longest_list_makes_the_columns(source, tmp_path):
    (tmp_path / "ref.txt").write_text(
        "scene-0000.png,scene-0001.png\nscene-0005.png,scene-0002.png,scene-0003.png\n"
    )
    run(source, tmp_path / "s", exemplars=str(tmp_path / "ref.txt"))
    names = {row[0]: [each and each[2] for each in row[1][2:]] for row in rows(tmp_path / "s")}
    assert names.pop("images/scene-0000.png") == ["images/scene-0001.png", None]
    assert names.pop("images/scene-0005.png") == ["images/scene-0002.png", "images/scene-0003.png"]
    assert set(map(tuple, names.values())) == {(None, None)}


def test_an_earlier_page_leaves_nothing(source, tmp_path):
    folder = tmp_path / "s"
    run(source, folder)
    before = len(list((folder / "_cocos/thumbs").rglob("*.jpg")))
    run(source, folder, gallery=1)
    assert 0 < len(list((folder / "_cocos/thumbs").rglob("*.jpg"))) < before


def test_no_page_when_none_is_asked_for(source, tmp_path):
    assert run(source, tmp_path / "s", gallery=0)["page"] is None
    assert not (tmp_path / "s" / INDEX).exists()


def test_no_samples(source, tmp_path):
    for mask in (source / "masks").iterdir():
        mask.write_bytes(b"")
    run(source, tmp_path / "s", classes=14)
    assert data(tmp_path / "s")["rows"] == 0 and heads(tmp_path / "s") == ["Photo", "Condition"]


@pytest.mark.parametrize("strategy", ["random", "none"])
def test_scores_are_shown_where_they_mean_something(source, tmp_path, strategy):
    run(source, tmp_path / "s", exemplars=strategy)
    for row in rows(tmp_path / "s"):
        assert len(row[1]) == (4 if strategy == "random" else 2)
        assert all(picture[2].startswith("images/") for picture in row[1][2:])


def test_conditions_of_joints_are_drawn(source, tmp_path):
    shutil.rmtree(source / "masks")
    points = {path.stem: [[3 * x, 20 + x] for x in range(18)] for path in source.rglob("*.png")}
    (source / "keypoints.json").write_text(json.dumps(points))
    run(source, tmp_path / "s")
    for row in rows(tmp_path / "s"):
        drawing = np.asarray(Image.open(tmp_path / "s" / row[1][1][0]))
        assert drawing.max() > 150 and np.median(drawing) < 10


def test_a_leak_is_said(source, tmp_path, monkeypatch):
    def vectors(photos, *_):
        return (np.eye(512, dtype=np.float32)[n] for n, _ in enumerate(photos))

    monkeypatch.setattr("cocoscli.engine.preparation.photo_descriptors", vectors)
    vgg = SimpleNamespace(module=None)
    monkeypatch.setattr("cocoscli.engine.preparation.trained_features", lambda *_: vgg)
    for val, said in ((0.0, False), (1.0, True)):
        run(source, tmp_path / "s", exemplars="features", val=val)
        text = (tmp_path / "s" / INDEX).read_text("utf-8")
        assert ("asked with their own photos" in text) == said


def test_hostile_names_are_only_words(source, tmp_path):
    names = [HOSTILE, "a b#c?d%41.png", os.fsdecode(b"caf\xe9.png"), "山.png"]
    for n, name in enumerate(names):
        for kind in ("images", "masks"):
            (source / kind / f"scene-{n:04d}.png").rename(source / kind / name)
    run(source, tmp_path / "s")
    text = (tmp_path / "s" / ROWS / "0000.js").read_text("ascii")
    assert "<" not in text and "alert(1)" in text
    assert "alert(1)" not in (tmp_path / "s" / INDEX).read_text("utf-8")
