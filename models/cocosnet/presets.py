"""Named configurations: the paper's Table 5 and the four released tasks."""

from __future__ import annotations

from typing import Any

from cocosnet.config import DiscriminatorConfig, ModelConfig

_RELEASED: dict[str, dict[str, Any]] = {
    "ade20k": {"channels": 151, "adaptor_kernel": 3, "mask_mix": True, "warp_upsample": "nearest"},
    "celebahq-mask": {"channels": 19, "mask_mix": True},
    "celebahq-edge": {"channels": 15, "mask_mix": True},
    "deepfashion": {"channels": 20, "warp_patch": True},
}

TASKS = tuple(_RELEASED)
"""The tasks that weights were released for."""


def paper(channels: int, width: int = 64, **changes: Any) -> ModelConfig:
    """Table 5 for a condition of `channels` planes; `changes` are fields of `ModelConfig`."""
    defaults: dict[str, Any] = {"hidden": 2 * width}
    return ModelConfig(form="paper", channels=channels, width=width, **{**defaults, **changes})


def released(task: str, width: int = 64, **changes: Any) -> ModelConfig:
    """The released network of a task (`TASKS`); `changes` are fields of `ModelConfig`.

    Raises ValueError for an unknown task.
    """
    if task not in _RELEASED:
        raise ValueError(f"unknown task {task!r}, expected one of {', '.join(TASKS)}")
    fields: dict[str, Any] = {"match_kernel": 3, **_RELEASED[task], **changes}
    return ModelConfig(form="released", width=width, **fields)


def discriminator(config: ModelConfig) -> DiscriminatorConfig:
    """The discriminator that is trained against a model: image alone in the paper (Eq. 13)."""
    if config.form == "paper":
        return DiscriminatorConfig(channels=0, width=config.width, spectral_ends=True)
    return DiscriminatorConfig(channels=config.channels, width=config.width)
