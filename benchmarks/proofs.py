"""Long proofs of the batch engine, run by hand; the tests hold short forms of them.

    python benchmarks/proofs.py kill      # SIGKILL at ten random moments, then to the end
    python benchmarks/proofs.py memory    # peak memory of 200 and of 20,000 inputs

Each works in a temporary folder with a tiny network, prints what it measured as JSON, and exits 1
where the proof fails.
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
from contextlib import suppress
from pathlib import Path

import cocosnet
import numpy as np
import torch
from PIL import Image

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


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every result, by name."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*.png"))}  # fmt: skip


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("proof", choices=("kill", "memory"))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--items", type=int, default=2000, help="of the kill proof")
    parser.add_argument("--large", type=int, default=20000, help="of the memory proof")
    args = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_weights(folder / "tiny.safetensors")
        make_exemplars(folder / "exemplars")
        if args.proof == "kill":
            facts, good = prove_kill(folder, args.kills, args.items)
        else:
            facts, good = prove_memory(folder, 200, args.large)
    print(json.dumps({**facts, "passed": good}, indent=1))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
