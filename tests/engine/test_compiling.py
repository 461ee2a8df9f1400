from __future__ import annotations

import os

import pytest
import torch

from cocoscli.engine import compiling

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(compiling.CACHE, "")
    monkeypatch.delenv(compiling.CACHE)
    return tmp_path


def test_where_no_compiler_is_there_it_is_said_and_done_without(home, monkeypatch):
    def compile_(function):
        def broken(x):
            raise RuntimeError("No working C++ compiler found\nmany more words")

        return broken

    monkeypatch.setattr("torch.compile", compile_)
    defaults: list[tuple[str, str, str]] = []
    assert not compiling.wanted(True, CPU, defaults)
    assert defaults == [("networks", "not compiled: No working C++ compiler found", "--compile")]
    assert os.environ[compiling.CACHE] == str(home / "cocos" / "compiled")


def test_what_is_not_asked_for_is_not_tried(monkeypatch):
    monkeypatch.setattr("torch.compile", None)
    assert not compiling.wanted(False, CPU, [])


def test_where_one_is_there_the_networks_parts_are_compiled(monkeypatch):
    import cocosnet

    monkeypatch.setattr("torch.compile", lambda function: function)
    defaults: list[tuple[str, str, str]] = []
    assert compiling.wanted(True, CPU, defaults) and not defaults
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self)))
    for make, kind in ((cocosnet.presets.paper, "Paper"), (cocosnet.presets.released, "Released")):
        config = make("ade20k", width=2) if kind == "Released" else make(3, width=2)
        compiling.compile_network(cocosnet.CoCosNet(config))
    names = [part.__name__ for part in compiled]
    assert names.count("Sequential") == 2
    assert {f"{k}{p}" for k in ("Paper", "Released") for p in ("Adaptor", "Generator")} < set(names)
