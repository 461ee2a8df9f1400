"""Whatever is wrong with what the user names: one message, the right exit code, no traceback."""

from __future__ import annotations

import errno
import os
import pickle
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from cocoscli.engine.output import OutputFolder


def bomb() -> bytes:
    """The header of a PNG of 50,000 x 50,000 pixels, and no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")


def refused(told, *words: str, code: int = 1) -> None:
    """One error of two lines at most, that holds these words."""
    assert told.code == code and not told.out
    errors = [line for line in told.said if line.startswith("error: ")]
    assert len(errors) == 1 and len(told.said) - told.said.index(errors[0]) <= 2
    for word in words:
        assert word in errors[0]


# What is missing.


def test_an_empty_folder(desk):
    desk.photo()
    (desk.folder / "masks").mkdir()
    refused(desk.translate(), "masks: no items of the layout labels")
    assert not (desk.folder / "out").exists()


def test_a_folder_of_other_things(desk):
    desk.photo()
    desk.file("masks/readme.txt", b"text")
    refused(desk.translate(), "masks", "readme.txt")


@pytest.mark.parametrize("inputs", ["nowhere", "@nowhere", "masks/none.png", "/dev/null"])
def test_inputs_that_are_not_there(desk, inputs):
    desk.fill()
    refused(desk.translate(inputs=inputs), inputs.lstrip("@"))


def test_no_exemplar(desk):
    desk.fill()
    refused(desk.run("translate", "masks"), "no exemplar", code=2)
    refused(desk.translate("--exemplar", "nowhere"), "nowhere: no such exemplar.")
    desk.file("empty/readme.txt")
    refused(desk.translate("--exemplar", "empty"), "empty: no photos in the exemplar folder.")


def test_no_inputs_for_given_weights_says_so(desk):
    desk.fill()
    weights = desk.weights / "edges.safetensors"
    told = desk.run("translate", "--exemplar", "photos", "--weights", weights)
    refused(told, "no inputs", code=2)


# Files that are no good.


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_files_among_good_ones_fail_alone(desk, workers):
    desk.fill(2)
    whole = (desk.folder / "masks/m0.png").read_bytes()
    bad = {
        "bomb.png": (bomb(), "too large to decode safely"),
        "cut.png": (whole[: len(whole) // 2], "damaged or cut short"),
        "text.png": (b"not an image at all", "not an image that can be read"),
        "zero.png": (b"", "0 bytes"),
    }
    for name, (data, _) in bad.items():
        desk.file(f"masks/{name}", data)
    (desk.folder / "masks/gone.png").symlink_to("nowhere")
    (desk.folder / "masks/loop.png").symlink_to("loop.png")
    os.mkfifo(desk.folder / "masks/pipe.png")
    told = desk.translate("--workers", workers, "--batch-size", 3)
    rows = desk.manifest()
    assert told.code == 3 and len(rows) == 9
    assert {key for key, row in rows.items() if row["status"] == "done"} == {"m0.png", "m1.png"}
    for name, (_, words) in bad.items():
        assert words in rows[name]["error"] and name in rows[name]["error"]
        assert rows[name]["output"] is None
    assert sum(line.startswith("warning: ") for line in told.said) == 7
    assert told.said[-1].startswith("2 done, 7 failed")


def test_a_bad_exemplar_costs_only_its_items(desk):
    desk.fill(4, 1)
    desk.file("photos/bad.png", b"text")
    assert desk.translate().code == 3
    assert sorted(desk.statuses().values()) == ["done"] * 2 + ["failed"] * 2
    assert all("bad.png" in row["error"] for row in desk.manifest().values() if row["error"])


@pytest.mark.parametrize("size", [[], ["--size", "original"]])
def test_exemplars_of_any_kind_are_converted(desk, size):
    grey = Image.fromarray(np.arange(64 * 48, dtype=np.uint8).reshape(48, 64))
    rgb = Image.merge("RGB", [grey, grey.transpose(0), grey])
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    sixteen = Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20)
    desk.mask()
    desk.picture("photos/1.jpg", rgb.convert("CMYK"))
    desk.picture("photos/2.png", sixteen)
    desk.picture("photos/3.png", grey)
    desk.picture("photos/4.png", grey.convert("1"))
    desk.picture("photos/5.png", rgb.convert("P"))
    desk.picture("photos/6.webp", rgb.convert("RGBA"))
    desk.picture("photos/7.jpg", rgb, icc_profile=lab)
    desk.picture("photos/8.jpg", rgb, exif=exif)
    desk.picture("photos/9.png", grey.convert("LA"))
    desk.picture("photos/a.tif", rgb.convert("CMYK"))
    desk.picture("photos/b.jpg", rgb, icc_profile=b"no profile")
    desk.picture("photos/c.png", rgb.resize((1, 1)))
    told = desk.translate("--pairs", "all", *size)
    assert told.code == 0 and len(desk.results()) == 12


def test_exemplars_are_turned_upright(desk):
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)).convert("RGB")
    desk.mask()
    desk.picture("lying/e.png", lying, exif=exif)
    desk.picture("photos/e.png", lying.transpose(Image.Transpose.ROTATE_270))
    desk.translate()
    desk.translate("--exemplar", "lying", output="turned")
    assert desk.results() == desk.results("turned")


def test_class_ids_outside_the_weights(desk):
    desk.fill(1)
    ids = np.full((64, 64), 3, np.uint16)
    ids[0, :7] = 14
    desk.picture("masks/bad.png", Image.fromarray(ids))
    told = desk.translate()
    assert told.code == 3 and desk.statuses() == {"m0.png": "done", "bad.png": "failed"}
    error = desk.manifest()["bad.png"]["error"]
    assert "bad.png: class id 14 (7 pixels); expected 0..13, or 255 to ignore" in error


# Exemplars' conditions.


def test_an_exemplar_without_its_condition(desk):
    desk.fill(2, 2)
    faces = desk.weights / "faces.safetensors"
    refused(desk.translate("--weights", faces), "e0.png: this exemplar's condition was not found")
    desk.mask("conditions/e0.png")
    more = ("--weights", faces, "--exemplar-condition", "conditions")
    told = desk.translate(*more)
    assert told.code == 3 and desk.statuses() == {"m0.png": "done", "m1.png": "failed"}
    assert "e1.png" in desk.manifest()["m1.png"]["error"]
    desk.mask("conditions/e1.png")
    assert desk.translate(*more, "--retry-failed").code == 0
    refused(
        desk.translate("--weights", faces, "--exemplar-condition", "nowhere", output="other"),
        "nowhere",
    )


def test_ade20k_takes_annotations(desk):
    for place in ("data", "styles"):
        desk.mask(f"{place}/annotations/training/a.png", 1)
        desk.photo(f"{place}/images/training/a.jpg")
    more = ("--weights", desk.weights / "ade20k.safetensors", "--exemplar", "styles/images")
    assert desk.translate(*more, inputs="data").code == 0
    assert len(desk.results()) == 1


# Weights.


@pytest.mark.parametrize(
    ("weights", "layout"),
    [("labels", "edges"), ("edges", "labels"), ("faces", "labels"), ("labels", "ade20k"),
     ("labels", "deepfashion")],
)  # fmt: skip
def test_weights_of_another_task(desk, weights, layout):
    desk.fill()
    told = desk.translate("--weights", desk.weights / f"{weights}.safetensors", "--layout", layout)
    refused(told, "the weights take", f"'{layout}' makes", code=2)


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("kind", ["empty", "cut", "header", "text", "pickle", "torch", "other"])
def test_weights_that_are_none(desk, kind):
    desk.fill()
    whole = (desk.weights / "labels.safetensors").read_bytes()
    sprung = desk.folder / "sprung"
    path = desk.folder / "weights.safetensors"
    if kind == "torch":
        torch.save({"trap": Trap(str(sprung))}, path)
    elif kind == "other":
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(1)}, path)
    else:
        path.write_bytes({
            "empty": b"", "cut": whole[: len(whole) // 2], "header": b"\xff" * 8 + whole[8:],
            "text": b"hello", "pickle": pickle.dumps(Trap(str(sprung))),
        }[kind])  # fmt: skip
    for told in (desk.translate("--weights", path), desk.run("weights", "info", path)):
        refused(told, "weights.safetensors: not a ")
    assert not sprung.exists() and not (desk.folder / "out").exists()


@pytest.mark.parametrize("path", ["nowhere.safetensors", "masks", ""])
def test_weights_that_are_not_there(desk, path):
    desk.fill()
    refused(desk.translate("--weights", path), "no such weights file")


# The output folder.


def test_the_folder_of_another_run(desk):
    desk.fill()
    desk.photo("others/e.png")
    desk.translate()
    before = desk.results()
    told = desk.translate("--exemplar", "others", "--size", 96, "--seed", 3)
    refused(told, "out: holds a run with other settings", "size was '64', is '96'",
            "seed was 0, is 3", "exemplar was", "others")  # fmt: skip
    assert desk.results() == before
    assert desk.translate("--size", 96, "--overwrite").code == 0
    assert desk.results() != before


def test_another_exemplar_of_the_same_folder_is_another_run(desk):
    desk.fill(2, 2)
    assert desk.translate("--exemplar", "photos/e0.png").code == 0
    refused(desk.translate("--exemplar", "photos/e1.png"), "other settings", "e0.png", "e1.png")


def test_a_foreign_folder(desk):
    desk.fill()
    desk.file("out/notes.txt", b"mine")
    refused(desk.translate(), "out: not empty (notes.txt) and not an output folder of cocos")
    assert sorted(os.listdir(desk.folder / "out")) in (["notes.txt"], ["_cocos", "notes.txt"])
    assert desk.translate("--overwrite").code == 0
    assert (desk.folder / "out/notes.txt").read_bytes() == b"mine"


def test_refusing_a_foreign_folder_leaves_it_as_it_was(desk):
    desk.fill()
    desk.file("out/notes.txt", b"mine")
    desk.translate()
    assert os.listdir(desk.folder / "out") == ["notes.txt"]


def test_a_file_in_the_folders_place(desk):
    desk.fill()
    desk.file("out", b"mine")
    refused(desk.translate(), "out: a file is in the output folder's place.")
    refused(desk.translate(output="out/deeper"), "out/deeper: a part of this path is a file.")
    assert (desk.folder / "out").read_bytes() == b"mine"


def test_a_run_record_that_is_none(desk):
    desk.fill()
    desk.file("out/run.toml", b"\xff not toml [")
    refused(desk.translate(), "run.toml: not a run record of cocos")
    assert desk.translate("--overwrite").code == 0


@pytest.mark.parametrize("place", ["m0.png", "m0.png.png/x"])
def test_a_folder_or_link_in_a_results_place_fails_that_item(desk, place):
    desk.fill()
    desk.translate("--limit", 1)
    (desk.folder / "out/m0.png.png").unlink()
    (desk.folder / "out" / place).mkdir(parents=True)
    told = desk.translate()
    assert told.code == (3 if "/" in place else 0)
    assert desk.statuses()["m1.png"] == "done"


def leads_out(desk, place: str, target: str) -> None:
    link = desk.folder / "out" / place
    if link.is_dir() and not link.is_symlink():
        for path in sorted(link.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        link.rmdir()
    elif link.exists():
        link.unlink()
    link.symlink_to(desk.folder / target)


def test_links_are_not_written_through(desk):
    desk.mask("masks/a/b/x.png")
    desk.fill(1)
    desk.file("outside/keep.txt", b"mine")
    desk.translate("--limit", 1, "--gallery", 0)
    leads_out(desk, "a", "outside")
    told = desk.translate("--retry-failed")
    assert told.code == 3 and "a link leads out of the output folder" in told.err
    assert [path.name for path in (desk.folder / "outside").rglob("*")] == ["keep.txt"]


@pytest.mark.parametrize("place", ["manifest.jsonl", "_cocos/lock", "run.toml", "index.html"])
def test_files_behind_links_stay_as_they_are(desk, place):
    desk.fill(2)
    desk.translate("--limit", 1)
    target = desk.file("outside/file", (desk.folder / "out" / place).read_bytes() + b"# mine")
    before = target.read_bytes()
    leads_out(desk, place, "outside/file")
    desk.translate()
    assert target.read_bytes() == before


@pytest.mark.parametrize("place", ["_cocos/rows", "_cocos"])
def test_folders_behind_links_stay_as_they_are(desk, place):
    desk.fill(2)
    desk.translate("--limit", 1)
    for name in ("0000.js", "7777.js", "lock"):
        desk.file(f"outside/{name}", b"mine")
    leads_out(desk, place, "outside")
    desk.translate()
    found = {path.name: path.read_bytes() for path in (desk.folder / "outside").iterdir()}
    assert found == {"0000.js": b"mine", "7777.js": b"mine", "lock": b"mine"}


def test_an_output_folder_may_be_a_link_itself(desk):
    desk.fill()
    (desk.folder / "elsewhere").mkdir()
    (desk.folder / "out").symlink_to("elsewhere")
    assert desk.translate().code == 0
    assert (desk.folder / "elsewhere/m0.png.png").is_file()


# Storage.


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_faults_of_the_storage_end_the_run_and_the_next_goes_on(desk, monkeypatch, number):
    desk.fill(6)
    write = OutputFolder.write

    def failing(self: OutputFolder, name: str, data: bytes) -> str:
        if name.startswith("m3"):
            raise OSError(number, os.strerror(number))
        return write(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(OutputFolder, "write", failing)
        told = desk.translate("--batch-size", 1)
        refused(told, "out: the output cannot be written", os.strerror(number))
    before = {path.name: path.stat().st_mtime_ns for path in (desk.folder / "out").glob("*.png")}
    assert "m0.png.png" in before and "m3.png.png" not in before
    told = desk.translate("--batch-size", 1)
    assert told.code == 0 and len(desk.results()) == 6
    done = [name for name, row in desk.manifest().items() if row["status"] == "done"]
    assert len(done) == 6
    kept = (desk.folder / "out/m0.png.png").stat().st_mtime_ns
    assert kept == before["m0.png.png"]


@pytest.mark.parametrize("name", ["run.toml", "manifest.jsonl", "index.html"])
def test_no_room_for_the_folders_own_files(desk, monkeypatch, name):
    desk.fill(2)
    replace = os.replace

    def failing(source: str, target: str) -> None:
        if os.fspath(target).endswith(name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        told = desk.translate()
        if name != "manifest.jsonl":
            assert told.code == 1 and "No space left on device" in told.err
    assert desk.translate().code == 0 and len(desk.results()) == 2


def test_a_full_disk(desk, small_disk):
    desk.fill(30)
    told = desk.translate(output="disk/out")
    refused(told, "disk/out: the output cannot be written (No space left on device).")
    for path in (small_disk / "out").glob("*.png"):
        with Image.open(path) as image:
            image.load()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert desk.translate(output="disk/out").code == 0
    assert len(desk.results("disk/out")) == 30
    assert not list((small_disk / "out/_cocos/tmp").iterdir())


def test_a_full_disk_from_the_start(desk, small_disk):
    desk.fill(1)
    filler = os.open(small_disk / "filler", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space left"):
        while True:
            os.write(filler, bytes(4096))
    os.close(filler)
    told = desk.translate(output="disk/out")
    refused(told, "disk/out: the output cannot be written (No space left on device).")


def test_a_read_only_mount(desk, small_disk):
    desk.fill(1)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(desk.translate(output="disk/out"), "disk/out", "Read-only file system")


def test_lists_need_room_too(desk, monkeypatch):
    desk.fill(1)
    monkeypatch.setattr("tempfile.tempdir", str(desk.folder / "nowhere"))
    refused(desk.translate(), "nowhere")


# Memory.

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't "
                 "allocate memory: you tried to allocate 99 bytes. Error code 12"),
    MemoryError(),
    RuntimeError("std::bad_alloc"),
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS)
def test_out_of_memory_halves_the_batch(desk, monkeypatch, error):
    from cocoscli.engine.translate import Translation

    desk.fill(9)
    desk.translate("--batch-size", 4)
    compute = Translation.compute

    def tight(self, items):
        if len(items) > 2:
            raise error
        return compute(self, items)

    monkeypatch.setattr(Translation, "compute", tight)
    told = desk.translate("--batch-size", 4, output="tight")
    assert told.code == 0
    assert [line for line in told.said if line.startswith("warning")] == [
        "warning: out of memory: going on by 2 at once"
    ]
    assert desk.results("tight").keys() == desk.results().keys()


@pytest.mark.parametrize("error", ERRORS)
def test_out_of_memory_for_one_item_fails_it_alone(desk, monkeypatch, error):
    from cocoscli.engine.translate import Translation

    desk.fill(5)
    render = Translation._render

    def tight(self, items, banks):
        if any(item.k == 2 for item in items):
            raise error
        return render(self, items, banks)

    with monkeypatch.context() as patch:
        patch.setattr(Translation, "_render", tight)
        told = desk.translate("--batch-size", 4)
    assert told.code == 3
    rows = desk.manifest()
    assert [key for key, row in rows.items() if row["status"] == "failed"] == ["m2.png"]
    assert "out of memory at this size" in rows["m2.png"]["error"]
    assert desk.translate("--retry-failed").code == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_out_of_memory_while_decoding_fails_that_item(desk, monkeypatch, workers):
    from cocoscli.engine.items import ConditionReader

    desk.fill(3)
    read = ConditionReader.read

    def tight(self, item, size):
        if item.name == "m1.png":
            raise MemoryError
        return read(self, item, size)

    monkeypatch.setattr(ConditionReader, "read", tight)
    assert desk.translate("--workers", workers).code == 3
    assert desk.statuses() == {"m0.png": "done", "m1.png": "failed", "m2.png": "done"}


def test_out_of_memory_for_one_exemplar_of_many(desk, monkeypatch):
    from cocoscli.engine import items
    from cocoscli.engine.network import Network

    desk.fill(4, 4)
    monkeypatch.setattr(items, "RESIDENT", 1)
    encode, seen = Network.encode, []

    def tight(self, image):
        seen.append(image)
        if len(seen) == 2:
            raise MemoryError
        return encode(self, image)

    monkeypatch.setattr(Network, "encode", tight)
    assert desk.translate("--batch-size", 4).code == 3
    assert sorted(desk.statuses().values()) == ["done"] * 3 + ["failed"]


LIMITED = """
import resource, sys
from pathlib import Path
from cocoscli import app
from cocoscli.engine import preparation, translate
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, used + 2**30))
app.main()
"""


def test_a_limit_on_the_address_space(desk):
    """A real lack of memory: the item is too large, and the run says so."""
    desk.mask("masks/small.png")
    desk.mask("masks/large.png", size=(5000, 5000))
    desk.photo()
    given = ["translate", "masks", "--exemplar", "photos", "--output", "out", "--workers", 0,
             "--weights", desk.weights / "labels.safetensors", "--size", "original",
             "--gallery", 0]  # fmt: skip
    told = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, given)],
        capture_output=True, text=True, cwd=desk.folder, timeout=250,
    )  # fmt: skip
    assert told.returncode == 3, told.stderr
    assert "Traceback" not in told.stderr
    assert desk.statuses() == {"small.png": "done", "large.png": "failed"}
    assert "out of memory" in desk.manifest()["large.png"]["error"]
