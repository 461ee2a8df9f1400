"""What several tests use."""

from __future__ import annotations

import gc
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cocosnet
import numpy as np
import pytest
import torch
from PIL import Image
from processes import end_all
from stores import Bucket, Server, environment
from training import Bench, tiny_features

from cocoscli import app
from cocoscli.data import stores
from cocoscli.data.scenes import write_dataset
from cocoscli.engine.training import plan as train_plan

Size = tuple[int, int]


os.environ["OMP_NUM_THREADS"] = "1"  # for the commands that tests start
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # of a shell's background job
    signal.signal(signal.SIGINT, signal.default_int_handler)
CACHES = tempfile.TemporaryDirectory(prefix="cocos-tests-")
os.environ["XDG_CACHE_HOME"] = CACHES.name  # not the user's own
torch.set_num_threads(1)  # many small operations: a team of threads only gets in the way


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    end_all()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and goldens beside the repository; skips where it is absent."""
    default = Path(__file__).parents[1].parent / "shared"
    path = Path(os.environ.get("COCOS_SHARED", default))
    if not (path / "released").is_dir():
        pytest.skip(f"no data folder at {path}; set COCOS_SHARED")
    return path


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and both of its streams."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        return self.err.splitlines()


def exit_code(patch: pytest.MonkeyPatch, folder: Path, *arguments: object) -> int:
    """Run `cocos` with these arguments in a folder, in this process."""
    patch.chdir(folder)
    patch.setattr(sys, "argv", ["cocos", *map(str, arguments)])
    patch.setattr(sys.modules["__main__"], "__package__", None, raising=False)
    before = signal.getsignal(signal.SIGTERM)
    try:
        app.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        signal.signal(signal.SIGTERM, before)


class Desk:
    """A folder with tiny weights in which commands are run in this process."""

    def __init__(self, folder: Path, weights: Path, patch: pytest.MonkeyPatch, capture: Any):
        self.folder, self.weights = folder, weights
        self._patch, self._capture = patch, capture

    def mask(self, name: str = "masks/a.png", seed: int = 0, size: Size = (64, 64)) -> Path:
        """A label map of a few of the 14 classes in blocks."""
        ids = np.random.default_rng(seed).integers(1, 14, (4, 4), dtype=np.uint8)
        return self.picture(name, Image.fromarray(ids).resize(size, Image.Resampling.NEAREST))

    def photo(self, name: str = "photos/e.png", seed: int = 0, size: Size = (64, 64)) -> Path:
        pixels = np.random.default_rng(100 + seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        return self.picture(name, Image.fromarray(pixels).resize(size))

    def picture(self, name: str, image: Image.Image, **options: Any) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **options)
        return path

    def file(self, name: str, data: bytes | str = b"") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    def fill(self, masks: int = 3, photos: int = 2) -> None:
        """masks/m0.png ... and photos/e0.png ..."""
        for n in range(masks):
            self.mask(f"masks/m{n}.png", n)
        for n in range(photos):
            self.photo(f"photos/e{n}.png", n)

    def run(self, *arguments: object, stdin: bytes = b"") -> Outcome:
        """Run `cocos` with these arguments in the desk's folder; a fault of cocos fails the test.

        Standard output and error hold what the command itself said.
        """
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self._capture.readouterr()
        code = exit_code(self._patch, self.folder, *arguments)
        out, err = self._capture.readouterr()
        assert "Traceback" not in err
        assert "a fault in cocos itself" not in err, err
        return Outcome(code, out, err)

    def translate(
        self, *more: object, inputs: str = "masks", output: str = "out", stdin: bytes = b""
    ) -> Outcome:
        """`cocos translate` of masks/ by photos/ with the tiny label weights, in this process."""
        return self._pairs("translate", more, inputs, output, stdin)

    def correspond(self, *more: object, inputs: str = "masks", output: str = "out") -> Outcome:
        """`cocos correspond`, likewise."""
        return self._pairs("correspond", more, inputs, output, b"")

    def _pairs(
        self, command: str, more: tuple[object, ...], inputs: str, output: str, stdin: bytes
    ) -> Outcome:
        given = [str(each) for each in more]
        fixed: list[object] = [command, inputs, "--output", output]
        for name, value in (
            ("exemplar", "photos"),
            ("weights", self.weights / "labels.safetensors"),
        ):
            fixed += [] if f"--{name}" in given else [f"--{name}", value]
        fixed += [] if "--workers" in given else ["--workers", 0]
        return self.run(*fixed, *given, stdin=stdin)

    def manifest(self, output: str = "out") -> dict[str, dict[str, Any]]:
        """The manifest's rows by key; a key must have one."""
        lines = (self.folder / output / "manifest.jsonl").read_text("ascii").splitlines()
        rows = [json.loads(line) for line in lines]
        assert len({row["key"] for row in rows}) == len(rows)
        return {row["key"]: row for row in rows}

    def statuses(self, output: str = "out") -> dict[str, str]:
        return {key: row["status"] for key, row in self.manifest(output).items()}

    def results(self, output: str = "out") -> dict[str, bytes]:
        """The bytes of every result by its name in the output folder."""
        rows = self.manifest(output).values()
        names = [row["output"] for row in rows if row["status"] == "done"]
        return {name: (self.folder / output / name).read_bytes() for name in names}


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of seeded tiny networks: labels, faces (celebahq-mask), ade20k and edges."""
    folder = tmp_path_factory.mktemp("weights")
    presets = cocosnet.presets
    networks = {
        "labels": (presets.paper(channels=14, width=4), "labels"),
        "edges": (presets.paper(channels=1, width=4), "edges"),
        "faces": (presets.released("celebahq-mask", width=4, hidden=8), "celebahq-mask"),
        "ade20k": (presets.released("ade20k", width=4, hidden=8), "ade20k"),
    }
    with torch.random.fork_rng(devices=[]):
        for name, (config, kind) in networks.items():
            torch.manual_seed(0)
            schema = cocosnet.ConditionSchema(kind=kind, channels=config.channels, size=64)
            cocosnet.save(cocosnet.CoCosNet(config, schema), folder / f"{name}.safetensors")
    return folder


@pytest.fixture
def desk(
    tmp_path: Path,
    tiny_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Desk:
    return Desk(tmp_path, tiny_weights, monkeypatch, capsys)


@pytest.fixture(scope="session")
def scene_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve generated scenes of 64 px as shards: ten to train on, two to validate on."""
    folder = tmp_path_factory.mktemp("scenes")
    write_dataset(folder / "dataset", 12, size=64)
    options = "--size 64 --val 0.25 --shard-samples 4 --workers 0 --output shards"
    with pytest.MonkeyPatch.context() as patch:
        assert exit_code(patch, folder, "prepare", "dataset", *options.split()) == 0
    return folder / "shards"


@pytest.fixture
def bench(scene_shards: Path, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A desk to train on: shards/, tiny recipes, tiny features."""
    shutil.copytree(scene_shards, desk.folder / "shards")
    monkeypatch.setattr(train_plan, "loss_features", tiny_features)
    return Bench(desk)


@pytest.fixture(scope="session")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A browser's own folder; skips where there is no browser."""
    if shutil.which("chromium") is None:
        pytest.skip("no chromium on the PATH")
    return tmp_path_factory.mktemp("profile")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 300 KB; skips where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "cocos-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def swept() -> Iterator[None]:
    """What a stopped run left in memory is gone before the next test."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Server]:
    """An S3 server; skips where moto is not installed."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    server = Server()
    yield server
    server.end()


@pytest.fixture
def bucket(
    s3_server: Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Bucket]:
    """An empty bucket, whose server and credentials are found by the environment."""
    for name, value in environment(s3_server).items():
        monkeypatch.setenv(name, value)
    stores.forget()
    yield Bucket(s3_server, f"tests-{abs(hash(request.node.nodeid))}")
    stores.forget()
