"""Rate of `cocos makeup` with full-size networks beside the plain path of the whole model.

    python benchmarks/makeup_rate.py [--targets 2] [--repeats 3]

The paper's form at width 64, edges, 256 px, random weights (speed does not depend on them), in fp32
and in what `--precision auto` takes. The source is encoded before; a target is matched (by photo,
and by photo and edges) and the makeup placed. Processor seconds of one thread, so that other work
on the machine counts less: medians over repeats, the ways in turn. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cocosnet
import numpy as np
import torch
from makeup import Face, Ours, draw, look, transform
from reference import ReferencePath
from run import cpu_name

from cocoscli.data.originals import Original
from cocoscli.data.windows import whole
from cocoscli.engine.device import resolve_precision
from cocoscli.engine.makeup_items import Target

SIDE, WIDTH = 256, 64


def make_weights(path: Path) -> None:
    torch.manual_seed(0)
    config = cocosnet.presets.paper(channels=1, width=WIDTH)
    schema = cocosnet.ConditionSchema(kind="edges", channels=1, size=SIDE)
    cocosnet.save(cocosnet.CoCosNet(config, schema), path)


def people(count: int) -> list[Face]:
    """A source that is painted all over the face, and photos of smooth noise."""
    draws = np.random.default_rng(0)
    marks = draws.uniform(180, 330, (189, 2))
    places = transform((0, 0))
    noise = [draws.integers(0, 256, (512, 512, 3), dtype=np.uint8) for _ in range(count + 1)]
    return [Face(str(n), look(photo, places), marks, draw(marks)) for n, photo in enumerate(noise)]


def measure(path: Path, count: int, repeats: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    source, *targets = people(count)
    reference = ReferencePath(path)
    x, y = torch.rand(1, 1, SIDE, SIDE), torch.rand(1, 3, SIDE, SIDE) * 2 - 1
    ways: dict[str, Callable[[], Any]] = {
        "reference": lambda: [reference.translate(x, y, x) for _ in targets]
    }
    items = [Target(0, [whole(Original(each.photo, None, None))]) for each in targets]
    for precision in ("fp32", resolve_precision("auto", torch.device("cpu"), WIDTH)):
        for via in ("photo", "both"):
            work = Ours(path, via, precision).wearing(source)
            assert work.anchors  # encoded once, before
            ways[f"{via}, {precision}"] = partial(work.group, items)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()  # warms up
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.process_time()
            way()
            times[name].append((time.process_time() - start) / count)
    median = {name: statistics.median(each) for name, each in times.items()}
    return {
        "machine": f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
        "workload": f"paper form, width {WIDTH}, {SIDE} px, {count} targets",
        "seconds_per_image": {name: round(each, 3) for name, each in median.items()},
        "times_the_reference": {
            name: round(median["reference"] / each, 2) for name, each in median.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        make_weights(path)
        print(json.dumps(measure(path, args.targets, args.repeats), indent=1))


if __name__ == "__main__":
    main()
