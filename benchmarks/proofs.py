"""Long proofs of the batch engine, run by hand; the tests hold short forms of them.

    python benchmarks/proofs.py kill      # SIGKILL at ten random moments, then to the end
    python benchmarks/proofs.py memory    # peak memory of 200 and of 20,000 inputs
    python benchmarks/proofs.py prepare   # all of that of `cocos prepare`, 100,000 items
    python benchmarks/proofs.py evaluate --features VGG     # memory of 4,500 and of 10,000 images

Each works in a temporary folder (the first two with a tiny network), prints what it measured as
JSON, and exits 1 where the proof fails. `prepare` retrieves by layout: its peak memory beside that
of 2,000 items (which may grow by less than 1 kB an item), the rate of writing in the
first and the last tenth, and whether a run that was killed ten times, first while it scans and then
while it writes, ends with the bytes of one that was not. `evaluate` compares images of 256 px, of
which 64 are different, with as many exemplars and real photos, without label maps: what it computes
of each is a copy score, SWD's patches (4,096 a set) and a share of the Frechet distance.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cocosnet
import numpy as np
import torch
from PIL import Image

from cocoscli.engine.descriptors import LAYOUT_STORE

SIDE, CLASSES = 64, 4


def make_weights(path: Path) -> None:
    torch.manual_seed(0)
    condition = cocosnet.ConditionSchema(kind="labels", channels=CLASSES, size=SIDE)
    config = cocosnet.presets.paper(channels=CLASSES, width=2)
    cocosnet.save(cocosnet.CoCosNet(config, condition), path)


def make_masks(folder: Path, count: int) -> None:
    """`count` files of 64 different masks, in folders of a thousand."""
    rng = np.random.default_rng(0)
    bands = [np.sort(rng.integers(0, CLASSES, SIDE)).astype(np.uint8) for _ in range(64)]
    masks = [np.repeat(band[:, None], SIDE, axis=1) for band in bands]
    for i in range(count):
        place = folder / f"{i // 1000:03d}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(masks[i % 64]).save(place / f"{i:06d}.png")


def make_exemplars(folder: Path) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for i in range(3):
        pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")


def command(folder: Path, masks: Path, output: Path) -> list[str]:
    return [sys.executable, "-m", "cocoscli", "translate", str(masks), "--exemplar",
            str(folder / "exemplars"), "--weights", str(folder / "tiny.safetensors"), "--output",
            str(output), "--batch-size", "4", "--workers", "1"]  # fmt: skip


def digests(folder: Path, pattern: str = "*.png") -> dict[str, str]:
    """sha256 of every result, by name."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob(pattern))}  # fmt: skip


def run_whole(folder: Path, masks: Path, output: Path) -> tuple[float, float]:
    """Run to the end -> (seconds, peak resident MB of the process)."""
    start = time.perf_counter()
    process = subprocess.Popen(command(folder, masks, output), stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"exit status {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1000


def kill_after(folder: Path, masks: Path, output: Path, results: int) -> int:
    """Start a run and SIGKILL all of it once so many results are there -> how many were left."""
    process = subprocess.Popen(
        command(folder, masks, output), stderr=subprocess.DEVNULL, start_new_session=True
    )
    while process.poll() is None and count_results(output) < results:
        time.sleep(0.002)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return count_results(output)


def count_results(output: Path) -> int:
    return sum(1 for _ in output.rglob("*.png"))


def prove_kill(folder: Path, kills: int, count: int) -> tuple[dict, bool]:
    masks, output, rng = folder / "masks", folder / "killed", random.Random(0)
    make_masks(masks, count)
    run_whole(folder, masks, folder / "whole")
    moments = sorted(rng.randrange(1, count) for _ in range(kills))
    left = [kill_after(folder, masks, output, moment) for moment in moments]
    run_whole(folder, masks, output)
    rows = [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]
    whole, killed = digests(folder / "whole"), digests(output)
    facts = {
        "kills": kills,
        "items": count,
        "results_after_each_kill": left,
        "manifest_rows": len(rows),
        "distinct_keys": len({row["key"] for row in rows}),
        "all_done": all(row["status"] == "done" for row in rows),
        "files_equal_to_an_uninterrupted_run": whole == killed,
        "temporary_files_left": len(list((output / "_cocos/tmp").iterdir())),
    }
    good = facts["manifest_rows"] == facts["distinct_keys"] == count and facts["all_done"]
    return facts, good and whole == killed


def make_pairs(folder: Path, count: int) -> Path:
    """images/ and masks/ of random blocks, `count` of each, in folders of a thousand."""
    rng = np.random.default_rng(0)
    for i in range(count):
        ids = rng.integers(0, CLASSES, (8, 8), dtype=np.uint8).repeat(SIDE // 8, 0)
        ids = ids.repeat(SIDE // 8, 1)
        photo = ids[..., None] * np.uint8([60, 20, 50]) + rng.integers(0, 60, 3, dtype=np.uint8)
        for kind, name, pixels in (("masks", "png", ids), ("images", "jpg", photo)):
            place = folder / kind / f"{i // 1000:03d}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / f"{i:06d}.{name}")
    return folder


def prepare_command(source: Path, output: Path, shard: int) -> list[str]:
    return [sys.executable, "-m", "cocoscli", "prepare", str(source), "--layout", "labels",
            "--classes", str(CLASSES), "--size", str(SIDE), "--exemplars", "layout", "--workers",
            "2", "--shard-samples", str(shard), "--output", str(output)]  # fmt: skip


def watch(command: list[str], stop: Callable[[], bool] = lambda: False) -> tuple[float, float]:
    """Run a command to its end, or until `stop`, when all of it gets SIGKILL -> seconds, and the
    peak in MB of what its main process holds without mapped files, which the system may drop."""
    start, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        held = [line.split()[1] for line in status.read_text().splitlines() if "RssAnon" in line]
        peak = max([peak, *(float(kilobytes) / 1000 for kilobytes in held)])
        if stop():
            os.killpg(process.pid, signal.SIGKILL)
            break
        time.sleep(0.02)
    if process.wait() not in (0, -signal.SIGKILL):
        raise SystemExit(f"exit status {process.returncode}")
    return time.perf_counter() - start, peak


def written_per_second(output: Path) -> tuple[float, float]:
    """Samples a second over the first and over the last tenth of the shards."""
    times = sorted(path.stat().st_mtime for path in output.glob("train-*.tar"))
    samples = json.loads((output / "index.json").read_text())["shards"][0]["samples"]
    n = max(1, len(times) // 10)
    first, last = times[n] - times[0], times[-2] - times[-2 - n]  # the last one may be smaller
    return n * samples / first, n * samples / last


def prove_prepare(folder: Path, small: int, large: int, kills: int) -> tuple[dict, bool]:
    peaks, shard = {}, max(1, large // 100)
    for count in (small, large):
        source, whole = make_pairs(folder / f"pairs-{count}", count), folder / f"whole-{count}"
        seconds, peaks[count] = watch(prepare_command(source, whole, shard))
    first, last = written_per_second(whole)
    moments = sorted(random.Random(0).sample(range(1, 100), kills - 1))
    killed, scanned = folder / "killed", folder / "killed" / LAYOUT_STORE
    watch(prepare_command(source, killed, shard), lambda: scanned.exists())
    left = []
    for moment in moments:
        watch(
            prepare_command(source, killed, shard),
            lambda moment=moment: len(list(killed.glob("*.tar"))) >= moment,
        )
        left.append(len(list(killed.glob("*.tar"))))
    watch(prepare_command(source, killed, shard))
    rows = [json.loads(line)["key"] for line in (killed / "manifest.jsonl").open()]
    same = digests(whole, "*.tar") == digests(killed, "*.tar")
    growth = 1e6 * (peaks[large] - peaks[small]) / (large - small)
    facts = {
        "items": large,
        "seconds": round(seconds, 1),
        "peak_mb": {str(count): round(peak) for count, peak in peaks.items()},
        "bytes_an_item": round(growth),
        "written_per_second": {"first tenth": round(first), "last tenth": round(last)},
        "kills": kills,
        "shards_after_each_kill": [0, *left],
        "manifest_rows": len(rows),
        "distinct_keys": len(set(rows)),
        "shards": len(digests(whole, "*.tar")),
        "shards_equal_to_an_uninterrupted_run": same,
    }
    steady = growth < 1000 and last >= 0.75 * first
    return facts, len(rows) == len(set(rows)) == large and same and steady


def prove_memory(folder: Path, small: int, large: int) -> tuple[dict, bool]:
    facts: dict = {}
    for count in (small, large):
        masks, output = folder / f"masks-{count}", folder / f"out-{count}"
        make_masks(masks, count)
        seconds, peak = run_whole(folder, masks, output)
        facts[str(count)] = {"peak_mb": round(peak, 1), "images_per_second": round(count / seconds)}
        shutil.rmtree(output)
    ratio = facts[str(large)]["peak_mb"] / facts[str(small)]["peak_mb"]
    return {**facts, "ratio": round(ratio, 3)}, ratio <= 1.1


def make_photos(folder: Path, count: int) -> Path:
    """`count` photos of 256 px of which 64 are different."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(len(folder.name))
    for i in range(min(count, 64)):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((256, 256)).save(folder / f"{i:06d}.png")
    for i in range(64, count):
        os.link(folder / f"{i % 64:06d}.png", folder / f"{i:06d}.png")
    return folder


def prove_evaluate(folder: Path, features: str, large: int) -> tuple[dict, bool]:
    os.environ["XDG_CACHE_HOME"] = str(folder / "caches")
    facts: dict = {}
    for count in (4_500, large):
        theirs, styles, photos = (
            make_photos(folder / f"{what}-{count}", count) for what in ("results", "style", "real")
        )
        given = {"exemplar": styles, "real": photos, "features": features, "workers": 1,
                 "output": folder / f"report-{count}"}  # fmt: skip
        options = [str(x) for name, value in given.items() for x in (f"--{name}", value)]
        seconds, peak = watch([sys.executable, "-m", "cocoscli", "evaluate", str(theirs), *options])
        facts[str(count)] = {"peak_mb": round(peak), "images_per_second": round(count / seconds, 1)}
    ratio = facts[str(large)]["peak_mb"] / facts["4500"]["peak_mb"]
    return {**facts, "ratio": round(ratio, 3)}, ratio <= 1.15


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("proof", choices=("kill", "memory", "prepare", "evaluate"))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--items", type=int, default=2000, help="of the kill proof")
    parser.add_argument(
        "--large", type=int, help="of memory (20,000), prepare (100,000) and evaluate (10,000)"
    )
    parser.add_argument("--features", default="auto", help="of evaluate")
    parser.add_argument("--small", type=int, default=2000, help="items beside those of prepare")
    parser.add_argument("--folder", type=Path, help="for temporary files, instead of the system's")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        make_weights(folder / "tiny.safetensors")
        make_exemplars(folder / "exemplars")
        if args.proof == "kill":
            facts, good = prove_kill(folder, args.kills, args.items)
        elif args.proof == "memory":
            facts, good = prove_memory(folder, 200, args.large or 20_000)
        elif args.proof == "evaluate":
            facts, good = prove_evaluate(folder, args.features, args.large or 10_000)
        else:
            facts, good = prove_prepare(folder, args.small, args.large or 100_000, args.kills)
    print(json.dumps({**facts, "passed": good}, indent=1))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
