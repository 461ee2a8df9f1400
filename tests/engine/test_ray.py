"""The engine `ray`: a cluster of two nodes on this machine, one of which dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from squares import Squares

from cocoscli.engine.batch import Plan
from cocoscli.engine.engines import Engine
from cocoscli.engine.run import Run, open_run
from cocoscli.errors import CocosError

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def cluster(monkeypatch) -> Iterator[object]:
    """A head and a second node, each of one CPU, which find the modules of tests."""
    tests = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([tests, *filter(None, sys.path)]))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": 100_000_000, "memory": 1_000_000_000}
    try:
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **memory})
        cluster.second = cluster.add_node(num_cpus=1, **memory)
    except Exception as error:  # Ray gives its nodes half a minute
        pytest.skip(f"no cluster can be begun here: {error}")
    yield cluster
    cluster.shutdown()


def begin(path: Path, work: Squares, cluster, memory: float = 0) -> Run:
    engine = Engine(address=cluster.address, device="cpu", memory=memory)
    plan = Plan(batch_size=2, engine=engine)
    return open_run(work, path, settings={}, record={}, plan=plan)


def test_a_node_that_dies_costs_nothing(cluster, tmp_path, capsys):
    work = Squares(600, unreadable=(3,), seconds=0.02)
    keys, processes, removed = [], set(), False
    for row in begin(tmp_path / "out", work, cluster).rows():
        keys.append(row["key"])
        processes.add(row.get("process"))
        if not removed and len(keys) >= 60 and len(processes) > 2:  # None is of what failed
            cluster.remove_node(cluster.second, allow_graceful=False)
            removed = True
    assert removed and keys == [f"{k:03d}" for k in range(600)]
    texts = {path.name: path.read_text() for path in (tmp_path / "out").glob("*.txt")}
    assert texts == {f"{k:03d}.txt": str(k * k) for k in range(600) if k != 3}
    assert capsys.readouterr().out == ""
    with pytest.raises(CocosError, match=r"nodes has what a task needs.*memory"):
        list(begin(tmp_path / "other", work, cluster, memory=1e15).rows())


def test_where_there_is_no_cluster(tmp_path):
    engine = Engine(address="127.0.0.1:1", device="cpu")
    plan = Plan(engine=engine)
    run = open_run(Squares(3), tmp_path / "out", settings={}, record={}, plan=plan)
    with pytest.raises(CocosError, match=r"no cluster at 127\.0\.0\.1:1"):
        list(run.rows())
