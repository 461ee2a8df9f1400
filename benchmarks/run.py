"""Speed and memory of full-size networks at 256 px beside the plain reference path.

    python benchmarks/run.py            # what `make bench` runs; prints a table, --json for JSON
    python benchmarks/run.py --inputs 20 --pairs 20 --repeats 3

Medians over repeats of one run, ways in turn so that a drifting machine touches all alike; peak
memory of each way in a process of its own. Weights are random: speed does not depend on them.

    one exemplar    --inputs inputs with one exemplar, which is encoded once
    all pairs       --pairs inputs with as many exemplars, all encoded once
    correspond      flow, confidence, cycle error and warp of --inputs inputs; nothing is drawn
    makeup          as `benchmarks/makeup_rate.py` measures it
    training        as `benchmarks/training.py` measures it
    prepare         as `benchmarks/prepare.py` measures it

The reference path does the whole of each pair, whatever is asked for: its seconds an image are what
the first three are compared with, and its floating-point operations what its GFLOP/s are of.
--only names the parts wanted.
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
from functools import partial
from pathlib import Path
from typing import Any

import cocosnet
import torch
from reference import ReferencePath
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from cocoscli.engine.device import DTYPES, resolve_precision

TASK, SIDE = "celebahq-edge", 256
PARTS = ("translate", "correspond", "makeup", "training", "prepare")
Way = Callable[[Tensor, Tensor, Tensor], list[Tensor]]
"""Inputs, exemplars and their conditions -> images of all pairs, an input's one after another."""


def make_weights(path: Path) -> None:
    torch.manual_seed(0)
    cocosnet.save(cocosnet.CoCosNet(cocosnet.presets.released(TASK)), path)


def make_inputs(inputs: int, exemplars: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Condition maps of inputs, photos of exemplars, and their condition maps."""
    torch.manual_seed(1)
    channels = cocosnet.presets.released(TASK).channels
    maps = torch.rand(inputs + exemplars, channels, SIDE, SIDE)
    return maps[:inputs], torch.rand(exemplars, 3, SIDE, SIDE) * 2 - 1, maps[inputs:]


def reference(path: Path) -> Way:
    model = ReferencePath(path)
    return lambda x, y, condition: [
        model.translate(x[i : i + 1], y[j : j + 1], condition[j : j + 1])
        for i in range(len(x)) for j in range(len(y))
    ]  # fmt: skip


class Ours:
    """What the commands do with a network: folded, streamed, each image encoded once."""

    def __init__(self, path: Path, precision: str) -> None:
        model = cocosnet.load(path).to(memory_format=torch.channels_last)
        self.precision = resolve_precision(precision, torch.device("cpu"), model.config.width)
        self.model = model.to_precision(DTYPES[self.precision])

    def _banks(self, y: Tensor, condition: Tensor) -> list[cocosnet.ExemplarBank]:
        return [self.model.encode_exemplar(y[j : j + 1], condition[j : j + 1])
                for j in range(len(y))]  # fmt: skip

    @torch.inference_mode()
    def translate(self, x: Tensor, y: Tensor, condition: Tensor) -> list[Tensor]:
        banks, images = self._banks(y, condition), []
        for one in x.split(1):
            features = self.model.encode_input(one)
            images += [self.model.render(one, self.model.match(features, b)).image for b in banks]
        return images

    @torch.inference_mode()
    def correspond(self, x: Tensor, y: Tensor, condition: Tensor) -> list[Tensor]:
        (bank,), found = self._banks(y, condition), []
        for one in x.split(1):
            match = self.model.match(one, bank)
            found += [match.flow, match.confidence, match.cycle_error, match.warped]
        return found


def ours(precision: str, path: Path) -> Way:
    return Ours(path, precision).translate


WAYS: dict[str, Callable[[Path], Way]] = {
    "reference": reference, "fp32": partial(ours, "fp32"), "auto": partial(ours, "auto"),
}  # fmt: skip


def seconds(function: Callable[[], Any], repeats: int) -> float:
    return statistics.median(timed(function) for _ in range(repeats))


def timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def matmul_peak(dtype: torch.dtype = torch.float32) -> float:
    """GFLOP/s of a 4096 x 4096 matrix product, the best of five."""
    a, b = torch.randn(2, 4096, 4096).to(dtype).unbind()
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


def in_turn(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The median seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            times[name].append(timed(way))
    return {name: statistics.median(values) for name, values in times.items()}


def compared(seconds: dict[str, float], count: dict[str, int]) -> dict[str, Any]:
    """Seconds an image of each way, which made `count` images, and how many times as fast as the
    reference it is."""
    each = {name: value / count[name] for name, value in seconds.items()}
    report: dict[str, Any] = {"seconds": {name: round(value, 3) for name, value in each.items()}}
    return report | {
        "speedup": {n: round(each["reference"] / v, 2) for n, v in each.items() if n != "reference"}
    }


def networks(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Translating and corresponding."""
    with FlopCounterMode(display=False) as flops:  # it cannot look into spectral norm: folded
        ReferencePath(path, fold=True).translate(*make_inputs(1))
    few, many = make_inputs(args.inputs), make_inputs(args.pairs, args.pairs)
    one = make_inputs(1)
    ways = {name: make(path) for name, make in WAYS.items()}
    images = {name: torch.cat(way(*one)) for name, way in ways.items()}  # also warms up
    gaps = {n: (images[n] - images["reference"]).abs() for n in ("fp32", "auto")}
    plain = partial(ways["reference"], *one)
    pairs, report = args.pairs**2, {}
    if "translate" in args.only:
        singles = {n: partial(ways[n], *few) for n in ("fp32", "auto")} | {"reference": plain}
        count = {"fp32": args.inputs, "auto": args.inputs, "reference": 1}
        found = in_turn(singles, args.repeats)
        report["one exemplar"] = {"inputs": args.inputs, **compared(found, count)}
        grid = {n: partial(ways[n], *many) for n in ("fp32", "auto")} | {"reference": plain}
        count = {"fp32": pairs, "auto": pairs, "reference": 1}
        found = in_turn(grid, args.repeats)
        report["all pairs"] = {"pairs": pairs, **compared(found, count)}
    if "correspond" in args.only:
        calls = {n: partial(Ours(path, n).correspond, *few) for n in ("fp32", "auto")}
        count = {"fp32": args.inputs, "auto": args.inputs, "reference": 1}
        found = in_turn(calls | {"reference": plain}, args.repeats)
        report["correspond"] = compared(found, count)
    if not report:
        return {}
    gflop, peak = flops.get_total_flops() / 1e9, matmul_peak()
    rate = gflop / next(iter(report.values()))["seconds"]["reference"]
    return {
        "workload": f"{TASK}, full size, {SIDE} px; auto is {Ours(path, 'auto').precision}",
        "matmul_peak_gflops": {"fp32": round(peak), "bf16": round(matmul_peak(torch.bfloat16))},
        "reference_gflop_per_image": round(gflop),
        "reference_gflops": round(rate),
        "reference_share_of_peak": round(rate / peak, 3),
        **report,
        "peak_memory_mb": {name: round(peak_memory(name, path)) for name in WAYS},
        "largest_difference": {n: float(gap.max()) for n, gap in gaps.items()},
        "mean_difference_levels": {n: float(gap.mean() * 127.5) for n, gap in gaps.items()},
    }


def script(name: str, *words: str) -> dict[str, Any]:
    """What another benchmark prints as JSON."""
    command = [sys.executable, str(Path(__file__).with_name(name)), *words]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(path: Path, args: argparse.Namespace) -> dict[str, Any]:
    report: dict[str, Any] = {
        "machine": f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "cocos_help_seconds": round(startup(5), 3),
        **networks(path, args),
    }
    repeats = str(args.repeats)
    if "makeup" in args.only:
        report["makeup"] = script("makeup_rate.py", "--repeats", repeats)
    if "training" in args.only:
        report["training"] = script("training.py", "--steps", repeats, "--json")
    if "prepare" in args.only:
        report["prepare"] = script("prepare.py", "--count", "400", "--repeats", repeats)
    return report


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
    parser.add_argument("--pairs", type=int, default=4, help="inputs, and exemplars, of all pairs")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART",
                        help=", ".join(PARTS))  # fmt: skip
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        WAYS[args.memory_of](args.weights)(*make_inputs(2))
        print(own_peak())
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        make_weights(path)
        report = measure(path, args)
    print_report(report, args.json)


if __name__ == "__main__":
    main()
