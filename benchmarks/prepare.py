"""Rates of `cocos prepare` beside a bare Pillow loop over the same photos, in the same run.

    python benchmarks/prepare.py --labels FOLDER --poses FOLDER --features vgg16.safetensors

FOLDER holds images/ and masks/ of the same stems; that of poses images/ and keypoints.json, or the
file that --keypoints names. Without them pictures are made (`cocoscli.data.scenes`). The bare loop
decodes, resizes (to 286, bicubic) and encodes (JPEG, quality 95, 4:4:4, the same profile) in two
processes and does no more; prepare reads and writes everything, with two reading processes. The two
take turns. Prints medians as one JSON object:

    labels, edges, celebahq-edge, pose
        items a second of prepare without exemplars, of the bare loop, and the ratio; the processor
        milliseconds an item of both, which other work on the machine disturbs less
    labels_and_maps
        the same, but the bare loop also decodes, resizes and encodes (PNG) the label maps
    layout, features
        exemplars by label maps and by VGG features: items a second of the scan and of the choice
        (descriptors of photos and search), and of the whole of prepare
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cocoscli.data.conditions import FACE_PARTS
from cocoscli.data.encoding import encode_photo
from cocoscli.data.images import is_image
from cocoscli.data.scenes import write_dataset
from cocoscli.engine.output import OutputFolder
from cocoscli.engine.preparation import PrepareOptions, plan_preparation
from cocoscli.engine.prepare import prepare_shards, scan_dataset

PROCESSES = 2
SIZE = (286, 286)


def bare(path: Path) -> int:
    """What cannot be left out of any preparation: decode, resize, encode."""
    with Image.open(path) as image:
        resized = image.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
    return len(encode_photo(resized, "jpg", 95))


def bare_pair(path: Path) -> int:
    """The same, and of its label map (`take` says where it lies)."""
    buffer = io.BytesIO()
    with Image.open(path.parents[2] / "masks" / path.parent.name / f"{path.stem}.png") as mask:
        mask.resize(SIZE, Image.Resampling.NEAREST).save(buffer, "PNG")
    return bare(path) + buffer.tell()


def run_bare(loop: Callable[[Path], int], photos: list[Path]) -> None:
    with get_context("fork").Pool(PROCESSES) as pool:
        for _ in pool.imap(loop, photos, chunksize=8):
            pass
        pool.close()
        pool.join()


def run_prepare(output: Path, options: dict[str, Any]) -> None:
    shutil.rmtree(output, ignore_errors=True)
    work = prepare_shards(plan_preparation(PrepareOptions(**options)), output, PROCESSES)
    rows = [row for row in work.rows if row["status"] == "failed"]
    if rows:
        raise SystemExit(f"{len(rows)} items failed: {rows[0]['reason']}")
    work.finish()


def timed(run: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the clock, and of all processors (of processes that have ended by then)."""

    def busy() -> float:
        usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    start, before = time.perf_counter(), busy()
    run()
    return time.perf_counter() - start, busy() - before


def compare(
    photos: list[Path],
    output: Path,
    options: dict[str, Any],
    repeats: int,
    loop: Callable[[Path], int] = bare,
) -> dict:
    """Prepare without exemplars and the bare loop over the same photos, in turns."""
    ours, theirs = [], []
    for _ in range(repeats):
        theirs.append(timed(lambda: run_bare(loop, photos)))
        ours.append(timed(lambda: run_prepare(output, {**options, "exemplars": "none"})))
    (wall, busy), (bare_wall, bare_busy) = (
        [statistics.median(column) for column in zip(*runs, strict=True)] for runs in (ours, theirs)
    )
    return {
        "items": len(photos),
        "per_second": round(len(photos) / wall, 1),
        "bare_per_second": round(len(photos) / bare_wall, 1),
        "ratio": round(
            statistics.median(b[0] / a[0] for a, b in zip(ours, theirs, strict=True)), 3
        ),
        "processor_ms": round(1000 * busy / len(photos), 2),
        "bare_processor_ms": round(1000 * bare_busy / len(photos), 2),
    }


def retrieve(output: Path, options: dict[str, Any], repeats: int) -> dict:
    """The parts of choosing exemplars, and prepare as a whole with them."""
    plan = plan_preparation(PrepareOptions(**options))
    parts: list[tuple[float, float, float]] = []
    for _ in range(repeats):
        shutil.rmtree(output, ignore_errors=True)
        folder = OutputFolder(output)
        folder.open(plan.settings, {}, overwrite=False)
        start = time.perf_counter()
        scan = scan_dataset(plan, folder, PROCESSES)
        scanned = time.perf_counter()
        plan.choose(scan, output, PROCESSES)
        chosen = time.perf_counter()
        folder.close()
        whole, _ = timed(lambda: run_prepare(output, options))
        parts.append((scanned - start, chosen - scanned, whole))
    scan_s, choice_s, whole_s = (statistics.median(p) for p in zip(*parts, strict=True))
    count = len(plan.source)
    return {"items": count, "scanned_per_second": round(count / scan_s, 1),
            "chosen_per_second": round(count / choice_s, 1),
            "whole_per_second": round(count / whole_s, 1)}  # fmt: skip


def link(path: Path, place: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(path.absolute())
    return place


def take(source: Path, target: Path, count: int, keys: set[str] | None = None) -> list[Path]:
    """Links to `count` photos of a dataset and to their masks, or to photos of these stems alone,
    and to the files beside them; photos come again where there are fewer -> the photos."""
    for path in filter(Path.is_file, source.iterdir()):
        link(path, target / path.name)
    photos = sorted(path for path in (source / "images").iterdir() if is_image(path))
    photos = [path for path in photos if keys is None or path.stem in keys]
    for n in range(count):
        photo = photos[n % len(photos)]
        mask, part = source / "masks" / f"{photo.stem}.png", f"{n // len(photos)}"
        link(photo, target / "images" / part / photo.name)
        if keys is None and mask.is_file():
            link(mask, target / "masks" / part / mask.name)
    return sorted((target / "images").rglob("*.*"))


def cut_parts(labels: Path, target: Path) -> list[Path]:
    """A dataset of label maps in CelebA-HQ's form, every class a part of the face -> the photos."""
    photos = sorted((labels / "images").rglob("*.*"))
    for n, photo in enumerate(photos):
        link(photo.resolve(), target / "CelebA-HQ-img" / f"{n}{photo.suffix}")
        parts = target / "CelebAMask-HQ-mask-anno" / f"{n // 2000}"
        parts.mkdir(parents=True, exist_ok=True)
        with Image.open(labels / "masks" / photo.parent.name / f"{photo.stem}.png") as mask:
            ids = np.array(mask)
        for i, name in enumerate(FACE_PARTS, 1):
            if (ids == i).any():
                Image.fromarray((ids == i).astype(np.uint8) * 255).save(
                    parts / f"{n:05d}_{name}.png"
                )
    return sorted((target / "CelebA-HQ-img").iterdir())


def make_poses(root: Path, count: int) -> None:
    """keypoints.json with 18 joints of a photo for each of `count` scenes."""
    joints = np.random.default_rng(0).integers(0, 256, (count, 18, 2))
    stems = sorted(path.stem for path in (root / "images").iterdir())
    named = dict(zip(stems, joints.tolist(), strict=True))
    (root / "keypoints.json").write_text(json.dumps(named))


def measure(folder: Path, args: argparse.Namespace) -> dict[str, dict]:
    """All figures, worked out in a temporary folder."""
    made = folder / "made"
    if args.labels is None or args.poses is None:
        write_dataset(made, 200, size=256)
        make_poses(made, 200)
    labels, poses, output = args.labels or made, args.poses or made, folder / "output"
    keypoints = args.keypoints or poses / "keypoints.json"
    count, repeats = args.count, args.repeats
    photos = take(labels, folder / "labels", count)
    faces = cut_parts(folder / "labels", folder / "faces")
    people = take(poses, folder / "poses", count, set(json.loads(keypoints.read_text())))
    work = {
        "labels": (photos, {"source": folder / "labels", "layout": "labels"}),
        "edges": (photos, {"source": folder / "labels/images", "layout": "edges"}),
        "celebahq-edge": (faces, {"source": folder / "faces", "layout": "celebahq-edge"}),
        "pose": (people, {"source": folder / "poses", "layout": "folders",
                          "keypoints": keypoints}),
    }  # fmt: skip
    found = {}
    for name, (files, options) in work.items():
        options["source"] = str(options["source"])
        found[name] = compare(files, output, options, repeats)
        print(name, found[name], file=sys.stderr)
    asked = {"source": str(folder / "labels"), "layout": "labels"}
    found["labels_and_maps"] = compare(photos, output, asked, repeats, bare_pair)
    found["layout"] = retrieve(output, {**asked, "exemplars": "layout"}, repeats)
    if args.features:
        few = take(labels, folder / "few", args.few)
        asked = {"source": str(folder / "few"), "layout": "labels"}
        found["features"] = retrieve(
            output, {**asked, "exemplars": "features", "features": args.features}, 1
        )
        assert len(few) == found["features"]["items"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, help="photos and label maps; else scenes are made")
    parser.add_argument("--poses", type=Path, help="photos with keypoints.json; else made")
    parser.add_argument("--keypoints", type=Path, help="that file, where it lies elsewhere")
    parser.add_argument("--features", type=Path, help="VGG weights; else that part is left out")
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--few", type=int, default=200, help="photos for the VGG features")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(measure(Path(name), args), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
