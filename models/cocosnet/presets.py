"""Named configurations: the paper's Table 5 and the four released tasks."""

from __future__ import annotations

from typing import Any

from cocosnet.config import DiscriminatorConfig, LossConfig, ModelConfig

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


def paper_losses(**changes: Any) -> LossConfig:
    """Eq. 14 with our weights (the paper prints none); `changes` are fields of `LossConfig`."""
    layers = {"relu2_2": 1.0, "relu3_2": 2.0, "relu4_2": 4.0, "relu5_2": 8.0}
    fields: dict[str, Any] = {"feat": 10.0, "perc": 0.3, "context_layers": layers, "reg": 1.0}
    return LossConfig(form="paper", **{**fields, **changes})


_RELEASED_LOSSES: dict[str, dict[str, Any]] = {
    "ade20k": {"feat": 1.0, "perc": 0.01, "perc_layer": "relu5_2", "mask": 100.0},
    "celebahq-mask": {"reg": 0.1, "mask": 100.0},
    "celebahq-edge": {"reg": 1.0},
    "deepfashion": {"warp_self": 100.0},
}


def released_losses(task: str, **changes: Any) -> LossConfig:
    """What a released task was trained with; `changes` are fields of `LossConfig`.

    Raises ValueError for an unknown task.
    """
    if task not in _RELEASED_LOSSES:
        raise ValueError(f"unknown task {task!r}, expected one of {', '.join(TASKS)}")
    fields: dict[str, Any] = {
        "feat": 10.0,
        "perc": 0.001,
        "context_layers": {"relu3_2": 2.0, "relu4_2": 4.0, "relu5_2": 8.0},
        "discriminator_features": 10.0,
    }
    return LossConfig(form="released", **{**fields, **_RELEASED_LOSSES[task], **changes})
