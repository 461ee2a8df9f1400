"""Long proofs of the engines, run by hand; the tests hold short forms of them.

    python benchmarks/cluster.py ray                  # two nodes of Ray, one killed in mid-run
    python benchmarks/cluster.py soak --items 50000   # 5 % bad files, a worker killed every 200

Both translate label maps of 64 px with a tiny network, in a temporary folder; they print what they
measured as JSON and exit 1 where the proof fails. `ray`: 500 items; every result once, the files
those of a run in one process. `soak`: every item in the manifest once, failed the bad ones alone,
exit code 3, the memory of the run's own process flat from its first tenth on; then the bad files
are mended, and `--retry-failed` does those and no others.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from proofs import command, count_results, digests, make_exemplars, make_masks, make_weights

BAD_EVERY = 20
GROWTH_MB = 30
"""What the run's own process may grow by from its first tenth to its end."""


def rows_of(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]


def without_readers(run: list[str]) -> list[str]:
    """Workers decode by themselves."""
    return run[: run.index("--workers")]


def prove_ray(folder: Path, count: int) -> tuple[dict, bool]:
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
    from ray.cluster_utils import Cluster

    masks, output = folder / "masks", folder / "cluster"
    make_masks(masks, count)
    subprocess.run(command(folder, masks, folder / "one"), check=True)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    start, left = time.perf_counter(), 0
    run = [*without_readers(command(folder, masks, output)), "--engine", f"ray:{cluster.address}"]
    process = subprocess.Popen(run)
    while process.poll() is None:
        time.sleep(0.05)
        if not left and count_results(output) > count // 3:
            left = count_results(output)
            cluster.remove_node(second, allow_graceful=False)
    seconds = time.perf_counter() - start
    cluster.shutdown()
    keys = Counter(row["key"] for row in rows_of(output) if row["status"] == "done")
    facts = {
        "items": count,
        "results_when_the_node_died": left,
        "exit_code": process.returncode,
        "rows": sum(keys.values()),
        "distinct_keys": len(keys),
        "files_equal_to_one_process": digests(folder / "one") == digests(output),
        "seconds": round(seconds, 1),
    }
    good = not process.returncode and facts["rows"] == len(keys) == count and 0 < left < count
    return facts, good and facts["files_equal_to_one_process"]


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def workers_of(pid: int) -> list[int]:
    """The processes that were forked from the server which a run began."""
    return [worker for child in children(pid) for worker in children(child)]


def resident_mb(pid: int) -> float:
    with suppress(OSError, IndexError):
        return (
            int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            * os.sysconf("SC_PAGE_SIZE")
            / 1e6
        )
    return 0.0


def count_rows(output: Path) -> int:
    with suppress(FileNotFoundError):
        return (output / "manifest.jsonl").read_bytes().count(b"\n")
    return 0


def soak(
    run: list[str], output: Path, count: int, every: int
) -> tuple[subprocess.Popen, int, dict]:
    """Run, and SIGKILL a worker whenever `every` more rows are there -> process, kills, memory."""
    process = subprocess.Popen(run, stderr=subprocess.DEVNULL)
    kills, memory = 0, {}
    while process.poll() is None:
        time.sleep(0.2)
        rows = count_rows(output)
        if rows:
            memory[rows * 10 // count] = resident_mb(process.pid)
        workers = workers_of(process.pid)
        if rows >= (kills + 1) * every and workers:
            kills += 1
            with suppress(ProcessLookupError):
                os.kill(workers[kills % len(workers)], signal.SIGKILL)
    return process, kills, {tenth: round(mb) for tenth, mb in memory.items() if mb}


def prove_soak(folder: Path, count: int, every: int, processes: int) -> tuple[dict, bool]:
    masks, output = folder / "masks", folder / "out"
    make_masks(masks, count)
    names = sorted(str(path.relative_to(masks)) for path in masks.rglob("*.png"))
    bad = set(names[7::BAD_EVERY])
    for name in bad:
        (masks / name).write_bytes((masks / name).read_bytes()[:40])
    engine = [*without_readers(command(folder, masks, output)), "--engine", f"local:{processes}"]
    start = time.perf_counter()
    process, kills, memory = soak(engine, output, count, every)
    seconds = time.perf_counter() - start
    keys = Counter(row["key"] for row in rows_of(output))
    failed = {row["key"] for row in rows_of(output) if row["status"] == "failed"}
    make_masks(masks, count)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.png")}
    again = subprocess.run(
        [*engine, "--retry-failed", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    told = json.loads(again.stdout)
    facts = {
        "items": count,
        "bad": len(bad),
        "kills": kills,
        "exit_code": process.returncode,
        "rows": sum(keys.values()),
        "distinct_keys": len(keys),
        "failed_are_the_bad_ones": failed == bad,
        "memory_mb_by_tenths": memory,
        "seconds": round(seconds, 1),
        "retried": {name: told[name] for name in ("done", "failed", "skipped")},
        "others_untouched": all(p.stat().st_mtime_ns == when for p, when in before.items()),
    }
    tenths = sorted(memory)
    flat = memory[tenths[-1]] - memory[tenths[min(1, len(tenths) - 1)]] < GROWTH_MB
    good = (
        process.returncode == 3
        and facts["rows"] == len(keys) == count
        and failed == bad
        and told["done"] == len(bad)
        and told["skipped"] == count - len(bad)
        and again.returncode == 0
        and facts["others_untouched"]
    )
    return facts, good and flat


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("proof", choices=("ray", "soak"))
    parser.add_argument("--items", type=int, help="500 for ray, 50,000 for soak")
    parser.add_argument("--every", type=int, default=200, help="items between two kills")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="for temporary files, instead of the system's")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        make_weights(folder / "tiny.safetensors")
        make_exemplars(folder / "exemplars")
        if args.proof == "ray":
            facts, good = prove_ray(folder, args.items or 500)
        else:
            facts, good = prove_soak(folder, args.items or 50_000, args.every, args.processes)
    print(json.dumps({**facts, "passed": good}, indent=1))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
