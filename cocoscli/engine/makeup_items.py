"""The reading side of `cocos makeup`: targets, and the windows in which their faces are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cocoscli.data.images import Size
from cocoscli.data.inputs import Inputs
from cocoscli.data.originals import read_original
from cocoscli.data.portraits import find_windows
from cocoscli.data.reading import ConditionReader
from cocoscli.data.shards import encode_key
from cocoscli.data.windows import Window
from cocoscli.data.wording import shown
from cocoscli.engine.items import result_name
from cocoscli.errors import BadInput


@dataclass
class Target:
    """A decoded target. Its own pixels are read again when it is painted: they may be many."""

    k: int
    windows: list[Window]


@dataclass(frozen=True)
class MakeupReader:
    """Decodes targets; it is what decoding processes hold."""

    targets: Inputs
    faces: str
    """One of `portraits.FACES` but auto."""
    conditions: ConditionReader
    size: Size
    """(width, height) of what the network sees."""

    def __len__(self) -> int:
        return len(self.targets)

    def key(self, k: int) -> str:
        return self.targets.key(k)

    def sample_key(self, k: int) -> str:
        return encode_key(self.key(k))

    def output_name(self, k: int, format: str) -> str:
        """Target k's result: a file below the output folder, or a member of a shard."""
        return result_name(self.key(k), self.sample_key(k), format)

    def load(self, k: int) -> Target:
        """Find the faces of target k. Raises BadInput where there is none."""
        path = self.targets.path(k)
        original = read_original(path)
        windows = find_windows(original, self.faces)
        if not windows:
            raise BadInput(f"{shown(path)}: no face was found.", "Take it out of the targets.")
        return Target(k, windows)


def first_names(reader: MakeupReader, format: str) -> Iterator[tuple[str, str]]:
    """(target, result) names, for a dry run."""
    for k in range(len(reader)):
        yield reader.key(k), reader.output_name(k, format)
