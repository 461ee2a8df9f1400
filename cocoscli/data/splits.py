"""Which split an item of a dataset belongs to, where the dataset says so.

Said, in this order, by lists at the root (train.txt, val.txt, test.txt, or mask_train.txt,
pose_train.txt, ... for those conditions), by CelebA's or DeepFashion's list_eval_partition.txt, or
by the names of folders (train, training, val, validation, test).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from cocoscli.data.keypoints import plain
from cocoscli.data.storage import is_file
from cocoscli.data.textfiles import is_number, once, read_lines
from cocoscli.data.wording import shown
from cocoscli.errors import CocosError

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
PARTITIONS = ("list_eval_partition.txt", "Eval/list_eval_partition.txt")
MAPPINGS = ("CelebA-HQ-to-CelebA-mapping.txt", "CelebA-HQ-to-CelebA-mapping.csv")
PREFIXES = {
    **dict.fromkeys(("labels", "ade20k", "celebahq-mask"), "mask_"),
    **dict.fromkeys(("deepfashion", "pose", "chains"), "pose_"),
    **dict.fromkeys(("edges", "celebahq-edge", "face-edges"), "edge_"),
}
_STATUS = {"0": "train", "1": "val", "2": "test", "train": "train", "query": "test",
           "gallery": "test", "val": "val", "test": "test"}  # fmt: skip


def splitter(root: Path, kind: str) -> Callable[[Path], str | None]:
    """From an item's path below `root` to `train`, `val` or `test`; None where nothing says it.

    Both raise CocosError for faulty lists.
    """
    for prefix in (PREFIXES[kind], ""):
        lists = _lists(root, prefix)
        if lists:
            return partial(_listed, lists)
    for name in PARTITIONS:
        if is_file(root / name):
            return partial(_partitioned, root, root / name)
    return _by_folders


def _by_folders(below: Path) -> str | None:
    words = {word: split for split, names in SPLITS.items() for word in names}
    return next((words[part] for part in below.parts[:-1] if part in words), None)


def names_of(below: Path) -> list[str]:
    """The names that a list may give an item: the ends of its path, without suffix."""
    parts = plain(below.as_posix()).split("/")
    names = ["/".join(parts[start:]) for start in range(len(parts))]
    return [*names, str(int(parts[-1]))] if is_number(parts[-1]) else names


def _lists(root: Path, prefix: str) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for split, words in SPLITS.items():
        for word in words:
            path = root / f"{prefix}{word}.txt"
            if is_file(path):
                found[split] = _names(path)
                break
    return found


@once
def _names(path: Path) -> frozenset[str]:
    return frozenset(map(plain, read_lines(path)))


def _listed(lists: Mapping[str, frozenset[str]], below: Path) -> str | None:
    names = names_of(below)
    for name in names:
        found = [split for split, listed in lists.items() if name in listed]
        if len(found) > 1:
            raise CocosError(
                f"{name}: in the lists of both {found[0]} and {found[1]}.",
                "An item belongs to one split: correct the lists.",
            )
        if found:
            return found[0]
    return None


def _partitioned(root: Path, partition: Path, below: Path) -> str | None:
    """By CelebA's partition of its own numbers, through CelebA-HQ's mapping where it is there."""
    status = _statuses(partition)
    mapping = next((root / name for name in MAPPINGS if is_file(root / name)), None)
    if mapping is not None and is_number(below.stem):
        name = _originals(mapping).get(int(below.stem))
        return None if name is None else status.get(name)
    return next((status[name] for name in names_of(below) if name in status), None)


@once
def _statuses(path: Path) -> dict[str, str]:
    """From a picture's name to its split: rows `name ... status`, other rows are headings."""
    rows = (line.replace(",", " ").split() for line in read_lines(path))
    found = {plain(row[0]): _STATUS[row[-1]] for row in rows if len(row) > 1 and row[-1] in _STATUS}
    if not found:
        raise CocosError(f"{shown(path)}: no rows `name status`.", "Correct or remove it.")
    return found


@once
def _originals(path: Path) -> dict[int, str]:
    """From CelebA-HQ's numbers to CelebA's names: rows `number ... name`."""
    rows = (line.replace(",", " ").split() for line in read_lines(path))
    return {int(row[0]): plain(row[-1]) for row in rows if len(row) > 1 and is_number(row[0])}
