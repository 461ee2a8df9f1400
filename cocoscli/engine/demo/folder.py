"""The folder of a demo: its material, which steps are done, its page."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import cocoscli
from cocoscli.console import duration
from cocoscli.engine.demo.material import find_hopper, write_material
from cocoscli.engine.demo.page import write_demo
from cocoscli.engine.demo.steps import Step, demo_steps
from cocoscli.engine.files import storage_error
from cocoscli.engine.manifest import DONE, Finished, latest_rows
from cocoscli.engine.models import bundled_sha256
from cocoscli.engine.output import OutputFolder

MATERIAL = "material"
POINTS = "scenes/points.csv"
"""The file that the material's row of the manifest names."""
NO_HOPPER = (
    "matplotlib is not installed, whose portrait of Grace Hopper is a target of makeup: left out. "
    "`pip install 'cocos[demo]'` and --overwrite bring her in."
)


class DemoFolder:
    """An output folder whose items are the material and the steps."""

    def __init__(self, path: Path, size: int, overwrite: bool) -> None:
        self.path, self.size, self.overwrite = path, size, overwrite
        self.lacking = [] if find_hopper() else [NO_HOPPER]
        self.steps = list(demo_steps(path, size))
        self.output = OutputFolder(path)

    def __enter__(self) -> DemoFolder:
        """Take the folder. Raises CocosError."""
        settings = {"command": "demo", "size": self.size, "portraits": 2 - len(self.lacking),
                    **bundled_sha256()}  # fmt: skip
        self.output.open(settings, {"cocos": cocoscli.__version__}, self.overwrite)
        return self

    def __exit__(self, *_: object) -> None:
        self.output.close()

    def remaining(self) -> Iterator[Step]:
        """Write what lacks of the material; then the steps that are not done, or whose page is
        gone. A step is done when the next one is asked for. Raises CocosError."""
        done = Finished(self.path, (DONE,))
        try:
            if MATERIAL not in done:
                write_material(self.path, self.size)
                self._record(MATERIAL, POINTS, 0)
        except OSError as error:
            raise storage_error(self.path, error) from None
        for step in self.steps:
            if step.name not in done:
                start = time.monotonic()
                yield step
                self._record(step.name, step.place, time.monotonic() - start)

    def _record(self, key: str, output: str, seconds: float) -> None:
        row = {"key": key, "status": DONE, "output": output, "seconds": round(seconds, 1)}
        self.output.append(row)
        self.output.flush(sync=True)

    def write_page(self) -> Path:
        """The page of all steps. Raises CocosError."""
        seconds = sum(row.get("seconds", 0) for row in latest_rows(self.path))
        facts = {
            "Pictures": f"{self.size} px",
            "Made in": duration(seconds),
            "On": f"{os.cpu_count()} cores, {platform.machine()}",
            "cocos": cocoscli.__version__,
        }
        try:
            return write_demo(self.path, self.steps, facts)
        except OSError as error:
            raise storage_error(self.path, error) from None
