"""Speed and memory of full-size networks at 256 px beside the plain reference path.

    python benchmarks/run.py            # what `make bench` runs; prints a table, --json for JSON

Medians over repeats of one run, paths in turn so that a drifting machine touches all alike; peak
memory of each path in a process of its own. Weights are random: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocosnet
import torch
from reference import ReferencePath
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

TASK, SIDE = "celebahq-edge", 256


def make_weights(path: Path) -> None:
    torch.manual_seed(0)
    cocosnet.save(cocosnet.CoCosNet(cocosnet.presets.released(TASK)), path)


def make_inputs(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """count condition maps, one exemplar, its condition map."""
    torch.manual_seed(1)
    channels = cocosnet.presets.released(TASK).channels
    maps = torch.rand(count + 1, channels, SIDE, SIDE)
    return maps[:count], torch.rand(1, 3, SIDE, SIDE) * 2 - 1, maps[count:]


def reference(path: Path) -> Callable[[Tensor, Tensor, Tensor], list[Tensor]]:
    model = ReferencePath(path)
    return lambda x, y, condition: [model.translate(x[i : i + 1], y, condition)
                                    for i in range(len(x))]  # fmt: skip


def ours(path: Path) -> Callable[[Tensor, Tensor, Tensor], list[Tensor]]:
    """The default path of `cocos translate`: folded, streamed, the exemplar encoded once."""
    model = cocosnet.load(path).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def translate(x: Tensor, y: Tensor, condition: Tensor) -> list[Tensor]:
        bank = model.encode_exemplar(y, condition)
        return [model.render(x[i : i + 1], model.match(x[i : i + 1], bank)).image
                for i in range(len(x))]  # fmt: skip

    return translate


PATHS = {"reference": reference, "cocos": ours}


def seconds(function: Callable[[], Any], repeats: int) -> float:
    return statistics.median(timed(function) for _ in range(repeats))


def timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def matmul_peak() -> float:
    """fp32 GFLOP/s of a 4096 x 4096 matrix product, the best of five."""
    a, b = torch.randn(2, 4096, 4096).unbind()
    return 2 * 4096**3 / min(timed(lambda: a @ b) for _ in range(5)) / 1e9


def peak_memory(name: str, path: Path) -> float:
    """Peak resident MB of a fresh process that translates two inputs by this path."""
    command = [sys.executable, __file__, "--memory-of", name, "--weights", str(path)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def own_peak() -> float:
    """Peak resident MB of this process; getrusage would count the parent's before exec too."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) / 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def startup(repeats: int) -> float:
    """Seconds of `cocos --help` as a whole process."""
    command = [sys.executable, "-m", "cocoscli", "--help"]
    return seconds(lambda: subprocess.run(command, check=True, capture_output=True), repeats)


def measure(path: Path, count: int, repeats: int) -> dict[str, Any]:
    inputs = make_inputs(count)
    functions = {name: make(path) for name, make in PATHS.items()}
    with FlopCounterMode(display=False) as flops:  # it cannot look into spectral norm: folded
        ReferencePath(path, fold=True).translate(inputs[0][:1], *inputs[1:])
    results = {name: f(*inputs) for name, f in functions.items()}  # also warms up
    pairs = zip(results["cocos"], results["reference"], strict=True)
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            times[name].append(timed(lambda f=function: f(*inputs)) / count)  # type: ignore[misc]
    median = {name: statistics.median(values) for name, values in times.items()}
    peak = matmul_peak()
    gflop = flops.get_total_flops() / 1e9
    return {
        "machine": f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "workload": f"{TASK}, full size, {SIDE} px, fp32, 1 exemplar x {count} inputs",
        "matmul_peak_gflops": round(peak),
        "reference_gflop_per_image": round(gflop),
        "reference_gflops": round(gflop / median["reference"]),
        "reference_share_of_peak": round(gflop / median["reference"] / peak, 3),
        "seconds_per_image": {name: round(value, 3) for name, value in median.items()},
        "speedup": round(median["reference"] / median["cocos"], 2),
        "peak_memory_mb": {name: round(peak_memory(name, path)) for name in functions},
        "largest_difference": max(float((a - b).abs().max()) for a, b in pairs),
        "cocos_help_seconds": round(startup(5), 3),
    }


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def print_report(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        for name, value in report.items():
            print(f"{name:28} {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", choices=PATHS, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        PATHS[args.memory_of](args.weights)(*make_inputs(2))
        print(own_peak())
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        make_weights(path)
        report = measure(path, args.inputs, args.repeats)
    print_report(report, args.json)


if __name__ == "__main__":
    main()
