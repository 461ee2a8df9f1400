"""A recipe as it is used: the model, the losses and the training, with nothing left open."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import tomli_w
from cocosnet import ConditionSchema, LossConfig, ModelConfig, presets

from cocoscli.errors import CocosError
from cocoscli.recipe.sections import Condition, Data, Optimiser, Schedule


@dataclass(frozen=True)
class Recipe:
    """What a model is, what it sees and how it is trained."""

    name: str
    description: str
    preset: str
    """`paper`, or the released task that the model and its losses start from."""
    network: Mapping[str, Any]
    """Fields of `ModelConfig` that differ from the preset's."""
    sees: Condition
    losses: LossConfig
    data: Data
    optimiser: Optimiser
    schedule: Schedule

    def __post_init__(self) -> None:
        """Raises ValueError where sections contradict each other."""
        model = _model(self.preset, self.sees.channels or 1, self.network)
        size, load = self.sees.size, self.load
        if load < size:
            raise ValueError(f"data.load is {load}, expected at least condition.size, {size}")
        if "crop" in self.data.pseudo and load == size:
            raise ValueError(f"data.pseudo has crop: expected a data.load above {size}")
        if self.schedule.mask_epochs and not (model.exemplar_mask or model.mask_mix):
            raise ValueError("schedule.mask_epochs needs a model that takes exemplar masks")

    @property
    def channels(self) -> int | None:
        """Planes of the condition map; None: as the shards say (see `with_channels`)."""
        return self.sees.channels

    @property
    def load(self) -> int:
        """Side that photos are resized to before the crop."""
        return self.data.load or self.sees.size

    @cached_property
    def model(self) -> ModelConfig:
        """Raises CocosError while the number of planes is not known."""
        return _model(self.preset, self._planes(), self.network)

    @cached_property
    def condition(self) -> ConditionSchema:
        """Raises CocosError while the number of planes is not known."""
        sees = self.sees
        return ConditionSchema(
            kind=sees.kind, channels=self._planes(), classes=sees.classes, size=sees.size
        )

    def _planes(self) -> int:
        if self.channels is None:
            raise CocosError(
                f"recipe {self.name}: condition.channels is left to the data.",
                "Set it, for example --set condition.channels=19.",
            )
        return self.channels

    def with_channels(self, channels: int, classes: Sequence[str] = ()) -> Recipe:
        """This recipe for data of so many planes; `classes` where it names none itself.

        Raises CocosError where it is made for another number.
        """
        if self.channels not in (None, channels):
            raise CocosError(
                f"recipe {self.name}: {self.channels} condition planes, but the data has "
                f"{channels}.",
                f"Choose another recipe, or leave its condition.channels out ({self.sees.kind}).",
            )
        names = self.sees.classes or tuple(classes)
        sees = {**self.sees.model_dump(), "channels": channels, "classes": names}
        try:
            return dataclasses.replace(self, sees=Condition(**sees))
        except ValueError:
            raise CocosError(
                f"recipe {self.name}: names for {len(names)} planes, but the data has {channels}."
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """Everything resolved, as tables of plain values; `parse` reads it back to the same."""
        model = _model(self.preset, self.channels or 1, self.network).to_dict()
        losses = self.losses.to_dict()
        data = self.data.model_copy(update={"load": self.load})
        return {
            "name": self.name,
            "description": self.description,
            "model": {"preset": self.preset, **_without(model, "form", "channels")},
            "condition": self.sees.model_dump(mode="json", exclude_none=True),
            "losses": _without(losses, "form"),
            "data": data.model_dump(mode="json"),
            "optimiser": self.optimiser.model_dump(mode="json"),
            "schedule": self.schedule.model_dump(mode="json"),
        }

    def to_toml(self) -> str:
        return tomli_w.dumps(self.to_dict())


def difference(a: Recipe, b: Recipe) -> list[str]:
    """`key: x -> y` for every value in which two recipes differ."""
    x, y = dict(_flat(a.to_dict())), dict(_flat(b.to_dict()))
    return [
        f"{key}: {x.get(key, 'nothing')} -> {y.get(key, 'nothing')}"
        for key in {**x, **y}
        if x.get(key) != y.get(key)
    ]


def losses_of(preset: str, changes: Mapping[str, Any]) -> LossConfig:
    """The preset's losses with `changes`; its layers of Eq. 11 are changed one by one too.

    Raises ValueError.
    """
    make = presets.paper_losses if preset == "paper" else partial(presets.released_losses, preset)
    layers = {**make().context_layers, **changes.get("context_layers", {})}
    try:
        return make(**{**changes, "context_layers": layers})
    except ValueError as error:
        raise ValueError(f"losses: {error}") from None


def _model(preset: str, channels: int, changes: Mapping[str, Any]) -> ModelConfig:
    make = presets.paper if preset == "paper" else partial(presets.released, preset)
    try:
        return make(channels=channels, **changes)
    except ValueError as error:
        raise ValueError(f"model: {error}") from None


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
