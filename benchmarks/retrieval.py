"""Time and memory of exact retrieval over random features; a sample is checked by brute force.

    python benchmarks/retrieval.py --count 100000 --width 512 --k 5

Prints one JSON object; exits 1 where the sample disagrees.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

from cocoscli.data.search import top_k
from cocoscli.engine.descriptors import DescriptorStore, open_descriptors


def make_features(path: Path, count: int, width: int, dtype: str) -> np.ndarray:
    """Random directions, written and opened as prepare's descriptors are."""
    rng = np.random.default_rng(0)
    with DescriptorStore(path, width, dtype) as store:
        for start in range(0, count, 4096):
            rows = rng.standard_normal((min(4096, count - start), width), dtype=np.float32)
            store.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return open_descriptors(path)


def brute_force(features: np.ndarray, query: int, k: int) -> np.ndarray:
    """The k nearest of one row, in float64, the row itself left out."""
    scores = np.concatenate(
        [
            features[i : i + 4096].astype(np.float64) @ features[query].astype(np.float64)
            for i in range(0, len(features), 4096)
        ]
    )
    scores[query] = -np.inf
    return np.argsort(-scores, kind="stable")[:k]


class OwnMemory:
    """The largest resident memory without mapped files, which the system may drop, in MB."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            fields = dict(
                line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
            )
            self.peak = max(self.peak, float(fields["RssAnon"].split()[0]) / 1024)

    def __enter__(self) -> OwnMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        features = make_features(path, options.count, options.width, options.dtype)
        rows = np.arange(options.count)
        with OwnMemory() as memory:
            start, busy = time.perf_counter(), time.process_time()
            indices, _ = top_k(features, features, options.k, exclude=rows, device=options.device)
            seconds, busy = time.perf_counter() - start, time.process_time() - busy
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sample = np.linspace(0, options.count - 1, options.sample, dtype=int)
        agree = [
            bool((brute_force(features, q, options.k) == indices[q]).all()) for q in sample.tolist()
        ]
    result = {
        **vars(options),
        "threads": torch.get_num_threads(),
        "seconds": round(seconds, 1),
        "processor_seconds": round(busy, 1),
        "queries_per_second": round(options.count / seconds),
        "gflops": round(2e-9 * options.count**2 * options.width / seconds, 1),
        "peak_mb": round(peak),
        "peak_without_mapped_files_mb": round(memory.peak),
        "agreement": sum(agree) / len(agree),
    }
    print(json.dumps(result))
    return 0 if all(agree) else 1


if __name__ == "__main__":
    sys.exit(main())
