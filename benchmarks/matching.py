"""Speed and memory of streamed matching beside the dense form, on full descriptors.

    python benchmarks/matching.py --grid 64 --json
    python benchmarks/matching.py --grid 128 --gradient --streamed
    python benchmarks/matching.py --grid 256 --streamed      # the dense matrix would take 17 GB

256 channels, 3x3 patches, temperature 0.01, three values to warp. Medians over repeats of one run,
the forms in turn; extra memory is each form's peak over what its process held before, in a process
of its own (Linux). Differences are the largest ones from the dense form in float64, over its
largest value: at this temperature the dense form in fp32 is not exact itself.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from cocosnet import matching
from cocosnet.descriptors import describe, descriptors
from run import cpu_name, own_peak, print_report, timed
from torch import Tensor
from torch.nn import functional as F

CHANNELS, TEMPERATURE = 256, 0.01


def make_features(grid: int) -> list[Tensor]:
    """Two feature maps that match here and there, and the values to warp."""
    torch.manual_seed(0)
    shape = (1, CHANNELS, grid, grid)
    base = F.interpolate(
        torch.randn(1, CHANNELS, grid // 4, grid // 4), (grid, grid), mode="bicubic"
    )
    query, key = base + 0.3 * torch.randn(shape), base.flip(-1) + 0.3 * torch.randn(shape)
    return [query, key, torch.randn(1, 3, grid, grid)]


def dense(query: Tensor, key: Tensor, values: Tensor) -> Tensor:
    """Step by step, as the released network's forward pass goes."""
    theta, phi = descriptors(query, 3), descriptors(key, 3)
    correlation = theta.transpose(1, 2) @ phi
    logits = correlation / TEMPERATURE
    weights = torch.softmax(logits, dim=-1)
    return (weights @ values.flatten(2).transpose(1, 2)).transpose(1, 2).view_as(values)


def streamed(query: Tensor, key: Tensor, values: Tensor) -> Tensor:
    return matching.warp(describe(query, 3), describe(key, 3), values, TEMPERATURE)


FORMS: dict[str, Callable[..., Tensor]] = {"dense": dense, "streamed": streamed}


def work(
    form: str, grid: int, gradient: bool, dtype: torch.dtype = torch.float32
) -> Callable[[], list[Tensor]]:
    """What is measured -> the warped values, or their gradients."""
    inputs = [x.to(dtype).requires_grad_(gradient) for x in make_features(grid)]

    def run() -> list[Tensor]:
        warped = FORMS[form](*inputs)
        return list(torch.autograd.grad(warped.square().sum(), inputs)) if gradient else [warped]

    return run


def extra_memory(form: str, grid: int, gradient: bool) -> float:
    """Peak MB over what was there before, in a process of its own."""
    command = [sys.executable, str(Path(__file__)), "--grid", str(grid), "--form", form]
    command += ["--gradient"] if gradient else []
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def own_extra_memory(form: str, grid: int, gradient: bool) -> float:
    work(form, 16, gradient)()  # what libraries set up at their first use
    run = work(form, grid, gradient)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what is free goes back, so that it counts again
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = own_peak()
    run()
    return own_peak() - before


def difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    pairs = zip(ours, theirs, strict=True)
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def measure(forms: list[str], grid: int, gradient: bool, repeats: int) -> dict[str, Any]:
    runs = {form: work(form, grid, gradient) for form in forms}
    results = {form: run() for form, run in runs.items()}
    times: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(repeats):
        for form, run in runs.items():
            times[form].append(timed(run))
    seconds = {form: statistics.median(values) for form, values in times.items()}
    memory = {form: extra_memory(form, grid, gradient) for form in forms}
    report: dict[str, Any] = {}
    for form in forms:
        report[f"{form}_seconds"] = round(seconds[form], 4)
        report[f"{form}_extra_mb"] = round(memory[form], 1)
    if len(forms) > 1:
        exact = work("dense", grid, gradient, torch.float64)()
        report["speedup"] = round(seconds["dense"] / seconds["streamed"], 2)
        report["extra_memory_ratio"] = round(memory["streamed"] / memory["dense"], 4)
        report["max_difference"] = difference(results["streamed"], exact)
        report["max_difference_of_dense"] = difference(results["dense"], exact)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--grid", type=int, default=64, help="cells a side (a quarter of the image)"
    )
    parser.add_argument("--gradient", action="store_true", help="forward and backward")
    parser.add_argument("--streamed", action="store_true", help="leave the dense form out")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.form:
        print(own_extra_memory(args.form, args.grid, args.gradient))
        return
    forms = ["streamed"] if args.streamed else list(FORMS)
    what = "forward and backward" if args.gradient else "forward"
    report = {
        "machine": f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "workload": f"{args.grid}x{args.grid} cells, {CHANNELS} channels in 3x3 patches, {what}",
        **measure(forms, args.grid, args.gradient, args.repeats),
    }
    print_report(report, args.json)


if __name__ == "__main__":
    main()
