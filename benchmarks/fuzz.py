"""Readers against damaged files: `fuzz.py [READER ...] --count 10000`.

Every reader gets so many files, each a valid one with bytes, words or numbers changed (and its
checksums made good again, so that what lies behind them is reached). A reader may take a file or
refuse it by the project's own errors. What it must not: raise anything else, end its process, take
longer than five seconds of processor time, or write outside of the output folder.

A file is told by its reader and number: `fuzz.py photos --first 123 --count 1 --keep DIR`.
"""

from __future__ import annotations

import argparse
import faulthandler
import io
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

SECONDS = 5
STALLED = 600
"""Seconds by the clock, for one that waits and does nothing; a busy machine needs many."""
MEMORY = 4 * 2**30
"""Bytes that a process may take beside what it has at its start."""
REPORTED = 5
"""Faults of a reader that are told in full."""

Read = Callable[[Path], Any]


@dataclass(frozen=True)
class Reader:
    """Valid files by name, and what reads one of them at a path."""

    seeds: Callable[[], dict[str, bytes]]
    read: Read


# Valid files


@cache
def pixels(channels: int = 3, kind: str = "uint8") -> Any:
    import numpy as np

    rng = np.random.default_rng(0)
    small = rng.integers(0, 200 if kind == "uint8" else 60_000, (4, 5, channels))
    return small.repeat(6, 0).repeat(5, 1).squeeze().astype(kind)


def saved(image: Any, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def photos() -> dict[str, bytes]:
    from PIL import Image, ImageCms

    rgb, rgba = Image.fromarray(pixels()), Image.fromarray(pixels(4))
    grey = Image.fromarray(pixels(1))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "rgb.png": saved(rgb, "PNG", icc_profile=profile, exif=exif),
        "rgba.png": saved(rgba, "PNG"),
        "palette.png": saved(rgb.quantize(7), "PNG", transparency=2),
        "deep.png": saved(Image.fromarray(pixels(1, "uint16")), "PNG"),
        "rgb.jpg": saved(rgb, "JPEG", icc_profile=profile, exif=exif),
        "progressive.jpg": saved(rgb, "JPEG", progressive=True),
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG"),
        "lossy.webp": saved(rgb, "WEBP"),
        "lossless.webp": saved(rgba, "WEBP", lossless=True),
        "moving.gif": saved(grey, "GIF", save_all=True, append_images=[grey.rotate(90)]),
        "plain.bmp": saved(rgb, "BMP"),
        "packed.tiff": saved(rgb, "TIFF", compression="tiff_lzw"),
        "deflated.tiff": saved(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "float.tiff": saved(grey.convert("F"), "TIFF"),
        "plain.ppm": saved(rgb, "PPM"),
        "grey.pgm": saved(grey, "PPM"),
    }


def masks() -> dict[str, bytes]:
    from PIL import Image

    grey, deep = Image.fromarray(pixels(1)), Image.fromarray(pixels(1, "uint16"))
    colored = Image.fromarray(pixels())
    return {
        "ids.png": saved(grey, "PNG"),
        "deep.png": saved(deep, "PNG"),
        "few.png": saved(colored.quantize(7), "PNG", bits=4),
        "bits.png": saved(grey.convert("1"), "PNG"),
        "colors.png": saved(colored, "PNG"),
        "ids.tiff": saved(deep, "TIFF", compression="tiff_lzw"),
        "ids.bmp": saved(grey, "BMP"),
        "ids.gif": saved(grey, "GIF"),
        "ids.pgm": saved(deep, "PPM"),
    }


def sources() -> dict[str, bytes]:
    """Conditions as shards hold them: KIND.png or KIND.npz."""
    import numpy as np

    from cocoscli.data.sources import Sources, encode_sources

    ids, size = pixels(1) % 14, (25, 24)
    joints = np.linspace(0, 20, 36, dtype=np.float32).reshape(18, 2)
    face = np.linspace(0, 20, 136, dtype=np.float32).reshape(68, 2)
    chains = {"joints": joints, "chains": np.array([[0, 1, 2], [3, 4, -1]], np.int16)}
    made = {
        "labels": {"ids": ids},
        "celebahq-mask": {"ids": ids, "glasses": (ids > 99).astype(np.uint8)},
        "celebahq-edge": {"parts": ids.astype(np.uint16)},
        "deepfashion": {"joints": joints},
        "edges": {},
        "face-edges": {"landmarks": face},
        "chains": chains,
    }
    encoded = {k: encode_sources(Sources(k, arrays, size)) for k, arrays in made.items()}
    return {f"{kind}.{suffix}": data for kind, (suffix, data) in encoded.items()}


def shards() -> dict[str, bytes]:
    from cocoscli.data.shards import Sample, ShardWriter, encode_key

    photo, ids = photos()["rgb.jpg"], sources()["labels.png"]
    buffer = io.BytesIO()
    writer = ShardWriter(buffer)
    for n in range(3):
        members = {"image.jpg": photo, "condition.png": ids, "exemplar.0.jpg": photo,
                   "exemplar_condition.0.png": ids, "meta.json": b"{}"}  # fmt: skip
        writer.add(Sample(encode_key(f"a/../{n}.png"), members))
    writer.close()
    return {"val-000000.tar": buffer.getvalue()}


def texts(**named: str) -> Callable[[], dict[str, bytes]]:
    """Text files by name, whose last `_` stands for the dot."""
    return lambda: {re.sub("_(?=[^_]*$)", ".", k): text.encode() for k, text in named.items()}


def dumped(**named: Any) -> Callable[[], dict[str, bytes]]:
    return texts(**{f"{name}_json": json.dumps(value) for name, value in named.items()})


def recipes() -> dict[str, bytes]:
    from cocoscli.recipe.files import recipe_names, recipe_text

    return {f"{name}.toml": recipe_text(name).encode() for name in recipe_names()}


def histories() -> dict[str, bytes]:
    events = [{"event": "step", "step": n, "losses": {"l1": 0.5}} for n in range(4)]
    return {"log.jsonl": "".join(json.dumps(event) + "\n" for event in events).encode()}


def trainings() -> dict[str, bytes]:
    import tomli_w

    from cocoscli.recipe.files import read_recipe

    record = {"seed": 0, "recipe": read_recipe("scenes").to_dict()}
    return {"run.toml": tomli_w.dumps(record).encode()}


def records() -> dict[str, bytes]:
    text = '[settings]\ncommand = "translate"\nseed = 0\nsize = "64"\n[record]\ncocos = "0.1"\n'
    return {"run.toml": text.encode()}


def rows() -> dict[str, bytes]:
    lines = [
        {"key": f"a/{n}.png", "input": f"a/{n}.png", "exemplar": "e.png", "status": "done",
         "output": f"a/{n}.png.png", "also": [f"a/{n}.warp.png"], "error": None, "time": 1.5,
         "shard": None, "milliseconds": 3.1}
        for n in range(4)
    ]  # fmt: skip
    return {"manifest.jsonl": "".join(json.dumps(line) + "\n" for line in lines).encode()}


@cache
def checkpoints() -> dict[str, bytes]:
    import cocosnet
    import torch

    made = {}
    with tempfile.TemporaryDirectory() as name:
        for kind, config in (
            ("labels", cocosnet.presets.paper(channels=3, width=2)),
            ("ade20k", cocosnet.presets.released("ade20k", width=2, hidden=4)),
        ):
            torch.manual_seed(0)
            schema = cocosnet.ConditionSchema(kind=kind, channels=config.channels, size=64)
            path = Path(name) / f"{kind}.safetensors"
            cocosnet.save(cocosnet.CoCosNet(config, schema), path, torch.float16)
            made[path.name] = path.read_bytes()
    return made


def states() -> dict[str, bytes]:
    import torch

    buffer = io.BytesIO()
    torch.save({"a.weight": torch.ones(3, 2), "a.bias": torch.zeros(3)}, buffer)
    return {"state.pth": buffer.getvalue()}


# Reading them


def read_photo(path: Path) -> None:
    from cocoscli.data.images import image_size, read_photo
    from cocoscli.data.originals import read_original

    image_size(path)
    read_photo(path, (16, 16))
    original = read_original(path)
    original.seen(original.pixels)


def read_mask(path: Path) -> None:
    from cocoscli.data.images import read_labels
    from cocoscli.data.layouts.folders import read_edges

    known = dict(enumerate(sorted({*map(tuple, pixels().reshape(-1, 3).tolist())})))
    colors = known if path.name == "colors.png" else None
    read_edges(path, (16, 16))
    read_labels(path, (16, 16), colors)


def read_sources(path: Path) -> None:
    import numpy as np

    from cocoscli.data.sources import build_condition, decode_sources

    kind, _, suffix = path.name.partition(".")
    found = decode_sources(kind, suffix, path.read_bytes())
    photo = np.zeros((*found.size[::-1], 3), np.uint8) if found.needs_photo else None
    build_condition(found, photo)


def read_shard(path: Path) -> None:
    """Every sample of it, with a file written where its result would lie."""
    from cocoscli.data.layouts import LAYOUTS
    from cocoscli.data.reading import ConditionReader
    from cocoscli.data.shards import ShardList, decode_key
    from cocoscli.data.training import SampleReader
    from cocoscli.engine.files import TEMPORARY, file_name, write_inside
    from cocoscli.errors import BadInput
    from cocoscli.recipe.files import read_recipe

    shards = ShardList([path])
    conditions = ConditionReader(LAYOUTS["labels"], 14)
    training = SampleReader(read_recipe("scenes"))
    output = path.parent / "out"
    (output / TEMPORARY).mkdir(parents=True, exist_ok=True)
    for i in range(len(shards)):
        sample = shards.sample(i)
        with suppress(BadInput):
            conditions.read_sample(sample, (16, 16))
            training.training(sample, (0, i))
        with suppress(OSError):  # a name that the file system does not take
            write_inside(output, file_name(decode_key(sample.key), "png"), b"")


def read_manifest(path: Path) -> None:
    """As a run does that goes on, and one that begins anew in the same folder."""
    from cocoscli.engine.files import PRIVATE
    from cocoscli.engine.manifest import DONE, Finished, latest_rows
    from cocoscli.engine.output import OutputFolder

    folder = path.parent
    Finished(folder, (DONE,))
    list(latest_rows(folder))
    (folder / PRIVATE).mkdir(exist_ok=True)
    (folder / "run.toml").write_text("[settings]\n")
    output = OutputFolder(folder)
    output.open({}, {}, overwrite=True)
    output.close()


def read_points(path: Path) -> None:
    from cocoscli.data.points import read_points

    read_points(path).of("a", (30, 30))


def read_pairs(path: Path) -> None:
    from cocoscli.data.pairs import read_pairs

    read_pairs(path, lambda name: len(name), lambda name: len(name))


def read_references(path: Path) -> None:
    from cocoscli.data.references import read_references

    list(read_references(path))


def read_recipe(path: Path) -> None:
    from cocoscli.recipe.files import read_recipe

    read_recipe(str(path))


def read_record(path: Path) -> None:
    from cocoscli.engine.output import OutputFolder

    OutputFolder(path.parent).settings()


def read_training(path: Path) -> None:
    from cocoscli.engine.training.folder import read_record
    from cocoscli.recipe.files import parse_recipe

    parse_recipe(read_record(path.parent)["recipe"], "scenes", str(path))


def read_history(path: Path) -> None:
    from cocoscli.engine.files import TEMPORARY
    from cocoscli.engine.training.history import History

    (path.parent / TEMPORARY).mkdir(parents=True)
    History(path.parent, 3).close()


def read_index(path: Path) -> None:
    from cocoscli.data.shards import INDEX, read_index

    path.rename(path.with_name(INDEX))
    index = read_index(path.parent)
    index.shards("val"), index.classes


def read_class_names(path: Path) -> None:
    from cocoscli.data.class_names import class_names

    class_names(path.rename(path.with_name("labels.json")).parent)


def read_keypoints(path: Path) -> None:
    from cocoscli.data.keypoints import count_points, lookup

    count_points(path)
    lookup(path, ["a", "1", "b/a"])


def read_answers(path: Path) -> None:
    from cocoscli.engine.ranking.tally import read_answers, read_key

    (path.parent / "key.json").write_bytes(path.read_bytes())
    if path.name == "key.json":
        read_key(path.parent)
    else:
        from cocoscli.engine.ranking.tally import Key

        read_answers(path, {"p": Key("p", "d", ["x", "y"], ["best"], [[0, 1]])})


def read_checkpoint(path: Path) -> None:
    import cocosnet
    import torch

    from cocoscli.engine.models import describe_weights, load_weights
    from cocoscli.errors import CocosError

    describe_weights(path)
    load_weights(path, torch.device("cpu"))
    try:
        cocosnet.weights.load_for_training(path)
    except cocosnet.WeightsError as error:
        raise CocosError(str(error)) from None


def read_state(path: Path) -> None:
    from cocosnet import WeightsError
    from cocosnet.released import read_state

    from cocoscli.errors import CocosError

    try:
        read_state(path)
    except WeightsError as error:
        raise CocosError(str(error)) from None


def named(module: str, function: str) -> Read:
    """A reader that takes a path and no more."""
    return lambda path: getattr(__import__(module, fromlist=[function]), function)(path)


POINTS = [[1, 2, 0.9], None, [3.5, 4, 0], [7, 8, 1]]
FLAT = [n % 7 + 0.5 for n in range(54)]
KEYPOINTS = {"a": POINTS, "b/a": [[n, n + 1] for n in range(18)]}
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg"}],
    "annotations": [{"image_id": 1, "keypoints": FLAT, "score": 0.5, "area": 9}],
}
ANSWERS = {
    "page": "p", "person": "me", "answers": [{"task": 0, "question": "best", "order": [1, 0]}],
}  # fmt: skip
KEY = {"page": "p", "dataset": "d", "runs": ["x", "y"], "questions": ["best"],
       "tasks": [{"slots": [0, 1]}]}  # fmt: skip
INDEX = {
    "schema": 1, "kind": "labels", "channels": 3, "classes": {"0": "sky", "1": "sea"},
    "shards": [{"name": "val-000000.tar", "split": "val", "samples": 3}],
}  # fmt: skip

READERS: dict[str, Reader] = {
    "photos": Reader(photos, read_photo),
    "masks": Reader(masks, read_mask),
    "sources": Reader(sources, read_sources),
    "shards": Reader(shards, read_shard),
    "csv-pairs": Reader(
        texts(p_csv='input,exemplar\na.png,e.png\n"b, c.png",f.png\n'), read_pairs
    ),
    "csv-points": Reader(
        texts(a_csv="key,name,x,y\na,eye,3,4.5\n", b_csv="x,y\n1,2\n"), read_points
    ),
    "csv-colors": Reader(
        texts(c_csv="id,r,g,b\n0,0,0,0\n1,255,0,9\n"),
        named("cocoscli.data.colors", "read_color_table"),
    ),
    "csv-references": Reader(
        texts(r_csv='a.png,b.png,c.png\n"b, c.png",a.png\n'), read_references
    ),
    "csv-identities": Reader(
        texts(i_csv="name,identity\na.png,ann\nb.png,bob\n"),
        named("cocoscli.data.references", "read_identities"),
    ),
    "json-colors": Reader(
        dumped(a=[[0, 0, 0], [255, 0, 9]], b={"0": "#00ff7f", "7": [1, 2, 3]}),
        named("cocoscli.data.colors", "read_color_table"),
    ),
    "json-classes": Reader(dumped(a=["sky", "sea"], b={"0": "sky", "12": "sea"}), read_class_names),
    "json-keypoints": Reader(
        dumped(a=KEYPOINTS, b=COCO, c=COCO["annotations"]), read_keypoints
    ),
    "json-points": Reader(dumped(a=KEYPOINTS, b=[[1, 2], [3, 4.5]], c=COCO), read_points),
    "json-openpose": Reader(
        dumped(a={"people": [{"pose_keypoints_2d": FLAT}]}),
        named("cocoscli.data.keypoints", "read_openpose"),
    ),
    "json-skeleton": Reader(
        dumped(a={"chains": [[0, 1, 2], [3, 4]]}, b=[[0, 1]]),
        named("cocoscli.data.keypoints", "read_skeleton"),
    ),
    "json-index": Reader(dumped(a=INDEX), read_index),
    "json-answers": Reader(dumped(answers=ANSWERS, key=KEY), read_answers),
    "jsonl-manifest": Reader(rows, read_manifest),
    "toml-recipe": Reader(recipes, read_recipe),
    "toml-record": Reader(records, read_record),
    "toml-training": Reader(trainings, read_training),
    "jsonl-history": Reader(histories, read_history),
    "json-report": Reader(
        dumped(evaluation={"items": [], "features": {"name": "vgg", "sha256": "0"}}),
        named("cocoscli.engine.evaluation.report", "read_report"),
    ),
    "checkpoints": Reader(checkpoints, read_checkpoint),
    "states": Reader(states, read_state),
}  # fmt: skip


# Damaging them

WORDS = (
    b"-1", b"0", b"1e999", b"-1e308", b"NaN", b"Infinity", b"99999999999999999999", b"null",
    b"true", b'""', b"[]", b"{}", b'"\\ud800"', b"\x00", b"\xff\xfe", b"../../../../x",
    b"/etc/passwd", b"[[", b"[1, 2]", b'{"a": 1}', b"0.5",
    b"9" * 5000, b"[" * 3000, b'{"a":' * 3000, b"\n", b",", b'"', b"'", b"=", b"#", b"%2E%2E%2F",
)  # fmt: skip
NUMBER = re.compile(rb"-?\d+(\.\d+)?")


def damaged(data: bytes, other: bytes, rng: random.Random, text: bool = False) -> bytes:
    """Once or a few times; of a `text` mostly the words, so that its form stays."""
    ways = (*DAMAGES, *20 * [number]) if text else DAMAGES
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        data = rng.choice(ways)(data or b"\0", other, rng)
    return data


def flip(data: bytes, other: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def overwrite(data: bytes, other: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(data)), rng.choice((1, 2, 4, 8))
    value = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80", rng.randbytes(1))) * size
    return data[:at] + value + data[at + size :]


def count_up(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A number of four bytes made large, small or another."""
    at = rng.randrange(max(1, len(data) - 3))
    value = rng.choice((0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32)))
    return data[:at] + struct.pack(rng.choice("<>") + "I", value) + data[at + 4 :]


def cut(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def leave_out(data: bytes, other: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randrange(1, 65) :]


def repeat(data: bytes, other: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(data)), rng.randrange(1, 513)
    return data[:at] + data[at : at + size] * rng.choice((2, 3, 20)) + data[at + size :]


def insert(data: bytes, other: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice((rng.choice(WORDS), rng.randbytes(8))) + data[at:]


def splice(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def number(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A written number, or a word in quotes, replaced."""
    pattern = rng.choice((NUMBER, re.compile(rb'"[^"]*"'), re.compile(rb"[A-Za-z_]+")))
    found = list(pattern.finditer(data[:20_000]))
    if not found:
        return flip(data, other, rng)
    at = rng.choice(found)
    return data[: at.start()] + rng.choice(WORDS) + data[at.end() :]


DAMAGES = (flip, flip, overwrite, overwrite, count_up, cut, leave_out, repeat, insert, splice,
           number, number)  # fmt: skip


def mended(name: str, data: bytes) -> bytes:
    """The checksums of a format made good."""
    if name.endswith(".png"):
        return _mended_png(data)
    return _mended_tar(data) if name.endswith(".tar") else data


def _mended_png(data: bytes) -> bytes:
    out, at = [data[:8]], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4])
        if at + 12 + size > len(data):
            break
        body = data[at + 4 : at + 8 + size]
        out += [data[at : at + 4], body, zlib.crc32(body).to_bytes(4)]
        at += 12 + size
    return b"".join([*out, data[at:]])


def _mended_tar(data: bytes) -> bytes:
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    for n, block in enumerate(blocks):
        if block[257:262] == b"ustar" and len(block) == 512:
            total = sum(block[:148]) + sum(block[156:]) + 8 * 32
            blocks[n] = block[:148] + b"%06o\0 " % (total % 2**18) + block[156:]
    return b"".join(blocks)


def damaged_header(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file with its JSON damaged, and as long as it says."""
    size = int.from_bytes(data[:8], "little")
    header = damaged(data[8 : 8 + size], data[8 : 8 + size], rng, text=True)
    return len(header).to_bytes(8, "little") + header + data[8 + size :]


def case(reader: str, number: int, seed: int) -> tuple[str, bytes]:
    """The file of a number: its name and bytes."""
    rng = random.Random(f"{seed} {reader} {number}")
    seeds = _seeds(reader)
    name = rng.choice(sorted(seeds))
    data, other = seeds[name], seeds[rng.choice(sorted(seeds))]
    if name.endswith(".safetensors") and rng.random() < 0.7:
        return name, damaged_header(data, rng)
    spoilt = damaged(data, other, rng, name.endswith((".csv", ".json", ".jsonl", ".toml")))
    return name, mended(name, spoilt) if rng.random() < 0.8 else spoilt


@cache
def _seeds(reader: str) -> dict[str, bytes]:
    return READERS[reader].seeds()


# Watching over them


@dataclass
class Tally:
    """What came of a reader's files."""

    files: int = 0
    taken: int = 0
    refused: int = 0
    out_of_memory: int = 0
    longest: float = 0.0
    """Seconds of processor time."""
    faults: list[str] = field(default_factory=list)


class Watch:
    """Notes what is written outside of a folder."""

    def __init__(self) -> None:
        self.folder = ""
        self.outside: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.folder or event not in ("open", "os.remove", "os.rename", "os.mkdir",
                                            "os.rmdir", "os.symlink", "os.link"):  # fmt: skip
            return
        path = arguments[0]
        if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        if isinstance(path, (str, bytes)):
            full = os.path.realpath(os.path.abspath(os.fsdecode(path)))
            if full != self.folder and not full.startswith((self.folder + os.sep, "/dev/")):
                self.outside.append(f"{event} {full}")


def work(readers: list[tuple[str, int]], count: int, seed: int, place: str, pipe: Any) -> None:
    """In a process of its own: each reader's files from a number on; tells of each through a
    pipe."""
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(1000)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(place, "inductor"))  # made on import
    watch, limited = Watch(), False
    tempfile.tempdir = place
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process
    for reader, first in readers:
        _warm(reader, place)
        for number in range(first, count):
            name, data = case(reader, number, seed)
            with tempfile.TemporaryDirectory(dir=place) as folder:
                path = Path(folder, name)
                path.write_bytes(data)
                pipe.send((reader, number, "begin", 0.0))
                watch.folder = os.path.realpath(place)
                faulthandler.dump_traceback_later(STALLED, exit=True)
                signal.setitimer(signal.ITIMER_PROF, SECONDS)
                start = time.process_time()
                end = outcome(READERS[reader].read, path)
                signal.setitimer(signal.ITIMER_PROF, 0)
                seconds = time.process_time() - start
                faulthandler.cancel_dump_traceback_later()
                watch.folder = ""
            if watch.outside:
                end = f"wrote outside: {watch.outside.pop()}"
                watch.outside.clear()
            pipe.send((reader, number, end, seconds))
            if not limited:  # once everything is imported
                used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
                limited = True
    pipe.close()


def _warm(reader: str, place: str) -> None:
    """Import what reading takes, which is not timed."""
    file, data = next(iter(_seeds(reader).items()))
    with tempfile.TemporaryDirectory(dir=place) as folder:
        Path(folder, file).write_bytes(data)
        outcome(READERS[reader].read, Path(folder, file))


def outcome(read: Read, path: Path) -> str:
    """`taken`, `refused`, `out of memory`, or what went wrong."""
    from cocoscli.errors import CocosError

    try:
        read(path)
    except CocosError as error:
        if "Traceback" in str(error):
            return f"a traceback in its message: {str(error)[:200]}"
        return "refused"
    except MemoryError:
        return "out of memory"
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        return f"{type(error).__name__} at {place}: {' '.join(str(error).split())[:200]}"
    return "taken"


def run(readers: list[str], first: int, count: int, seed: int) -> dict[str, Tally]:
    """Every reader's files, in processes that are started anew when one ends."""
    tallies = {reader: Tally() for reader in readers}
    left = [(reader, first) for reader in readers]
    with tempfile.TemporaryDirectory(prefix="cocos-fuzz-") as place:
        while left:
            ending = None
            for reader, number, end, seconds in told(left, first + count, seed, place):
                if end == "begin":
                    ending = reader, number
                    continue
                ending = None
                note(tallies[reader], number, end, seconds)
            if ending is None:
                break
            reader, number = ending
            note(tallies[reader], number, f"ended its process, or took over {SECONDS} s", SECONDS)
            later = [each for each, _ in left]
            rest = later[later.index(reader) + 1 :]
            left = [(reader, number + 1), *((each, first) for each in rest)]
    return tallies


def told(
    left: list[tuple[str, int]], end: int, seed: int, place: str
) -> Iterator[tuple[str, int, str, float]]:
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(left, end, seed, place, sending), daemon=True)
    process.start()
    sending.close()
    try:
        while True:
            yield receiving.recv()
    except EOFError:
        process.join()
    finally:
        process.kill()


def note(tally: Tally, number: int, end: str, seconds: float) -> None:
    tally.files += 1
    tally.longest = max(tally.longest, round(seconds, 2))
    if end in ("taken", "refused", "out of memory"):
        name = end.replace(" ", "_")
        setattr(tally, name, getattr(tally, name) + 1)
    else:
        tally.faults.append(f"{number}: {end}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("readers", nargs="*", help=f"of {', '.join(READERS)}; all by default")
    parser.add_argument("--count", type=int, default=10_000, help="files of each reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="write the files to this folder, and read none")
    args = parser.parse_args()
    readers = args.readers or list(READERS)
    if unknown := set(readers) - set(READERS):
        parser.error(f"unknown readers {', '.join(sorted(unknown))}")
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
        for reader in readers:
            for n in range(args.first, args.first + args.count):
                name, data = case(reader, n, args.seed)
                (args.keep / f"{reader}-{n}-{name}").write_bytes(data)
        return 0
    good = True
    for reader in readers:
        tally = run([reader], args.first, args.count, args.seed)[reader]
        facts = {**asdict(tally), "faults": len(tally.faults)}
        print(json.dumps({"reader": reader, **facts}), flush=True)
        for fault in tally.faults[:REPORTED]:
            print(f"  {fault}", flush=True)
        good = good and not tally.faults
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
