"""The models of mediapipe (the extra `[faces]`), each made once a process when it is first asked.

All of them lie in mediapipe's wheel, so nothing is downloaded. Forked workers make their own, but
only if their parent made none: once used, mediapipe crashes in a fork, so that is refused (start
workers by "spawn" or "forkserver" there). One thread at a time may use them.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cocoscli.errors import CocosError

_SOLUTIONS = "mediapipe.python.solutions"


@dataclass(frozen=True)
class _Model:
    """A class of one of mediapipe's solutions, and the field of its results that is wanted."""

    module: str
    kind: str
    output: str
    settings: dict[str, Any]


_FACES = ("face_detection", "FaceDetection", "detections")
_STILL = {"static_image_mode": True}
_MESH = {"refine_landmarks": True, "max_num_faces": 4, "min_detection_confidence": 0.3}
_MODELS = {
    "near faces": _Model(*_FACES, {"model_selection": 0}),
    "far faces": _Model(*_FACES, {"model_selection": 1}),
    "mesh": _Model("face_mesh", "FaceMesh", "multi_face_landmarks", {**_STILL, **_MESH}),
    "pose": _Model("pose", "Pose", "pose_landmarks", _STILL),
    "person": _Model("selfie_segmentation", "SelfieSegmentation", "segmentation_mask", {}),
}
_made: dict[str, Any] = {}
_heard: set[str] = set()  # those that found something once, and so logged all that they log
_owner: list[int] = []  # the id of the process that made the models


def available() -> bool:
    """Whether the extra `[faces]` is installed; says so without importing it."""
    try:
        spec = importlib.util.find_spec("mediapipe")
    except (ImportError, ValueError):
        return False
    folders = spec.submodule_search_locations if spec else None
    return any(Path(folder, "python", "solutions").is_dir() for folder in folders or ())


def in_use() -> bool:
    """Whether this process has made a model, so that it must not be forked any more."""
    return bool(_owner)


def run(name: str, photo: np.ndarray) -> Any:
    """What the model of that name finds in an (H, W, 3) uint8 RGB photo; None for nothing.

    Raises CocosError where mediapipe is missing, and RuntimeError in the fork of a process that
    has made a model.
    """
    if _owner and _owner != [os.getpid()]:
        raise RuntimeError("faces were sought before this process was forked: start it by 'spawn'")
    with nullcontext() if name in _heard else _quiet():
        if name not in _made:
            _made[name] = _make(name)
            _owner[:] = [os.getpid()]
        found = getattr(_made[name].process(photo), _MODELS[name].output)
    if found is not None:
        _heard.add(name)
    return found


@atexit.register
def close() -> None:
    """Close this process's models; the next use makes new ones. Does nothing in a fork."""
    if _owner == [os.getpid()]:
        for name in list(_made):
            _made.pop(name).close()
        _heard.clear()


def _make(name: str) -> Any:
    wanted = _MODELS[name]
    try:
        module = importlib.import_module(f"{_SOLUTIONS}.{wanted.module}")
    except ImportError as error:
        raise CocosError(
            "Finding faces and poses in photos needs the extra [faces] (mediapipe 0.10.21), which "
            f"cannot be imported here: {error}.",
            "Install it with `pip install 'cocos[faces]'` (Python 3.11 or 3.12), or give face "
            "parts, landmarks or poses as files (`cocos prepare --help` says how).",
        ) from error
    return getattr(module, wanted.kind)(**wanted.settings)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what native code writes to stderr: mediapipe logs before its level can be set."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
