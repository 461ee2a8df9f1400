"""What a recipe may say: a class a table, its fields the keys, checked as they are read.

Defaults are the paper's training as we read it. Unknown keys and wrong types are refused.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal, get_type_hints

from cocosnet import LossConfig, ModelConfig, presets
from cocosnet.config import LARGEST, MINIMUM, MULTIPLE
from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator, model_validator

Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=MINIMUM, le=LARGEST)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]


class Section(BaseModel):
    """A table of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Condition(Section):
    """`[condition]`: what the model sees beside the exemplar."""

    kind: Annotated[str, Field(min_length=1)]
    size: Annotated[Side, Field(multiple_of=MULTIPLE)] = 256
    """Side in pixels that is trained at."""
    channels: Count | None = None
    """Planes of the condition map; None: as the shards say."""
    classes: Annotated[tuple[str, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _names_every_plane(self) -> Condition:
        if self.channels and self.classes and len(self.classes) != self.channels:
            raise ValueError(f"{len(self.classes)} classes for {self.channels} channels")
        return self


class Exemplars(Section):
    """`data.exemplars`: how often a sample is trained with which exemplar; the shares sum to 1.

    A sample for which nothing was retrieved always takes a pseudo exemplar.
    """

    first: Share = 0.5
    """The best that was retrieved."""
    last: Share = 0.2
    """The last that was stored of those retrieved: a hard one."""
    any: Share = 0.0
    """One of those stored (`cocos prepare --keep-all` stores all that were retrieved)."""
    pseudo: Share = 0.3
    """Made from the target's own photo."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> Exemplars:
        total = self.first + self.last + self.any + self.pseudo
        if abs(total - 1) > 1e-6:
            raise ValueError(f"first, last, any and pseudo sum to {total:g}, expected 1")
        return self


class Data(Section):
    """`[data]`: how a stored sample becomes a training sample."""

    load: Side | None = None
    """Side that photos are resized to before a random crop of `condition.size`; None: no crop."""
    flip: bool = False
    """Mirror every second sample."""
    exemplars: Exemplars = Exemplars()
    same_style: bool = False
    """Stored exemplars have the photo's own style (the person, the light), so that the photo is
    what should come out: they count in Eq. 8 as pseudo exemplars do."""
    pseudo: Annotated[tuple[Literal["move", "crop", "flip", "warp"], ...], Field(strict=False)] = (
        "warp",
        "flip",
    )
    """What makes a pseudo exemplar: a turn, zoom, shift and bend of its own, another crop,
    mirroring (of every second), an elastic warp."""
    warp: Share = 0.08
    """Amplitude of that warp, as a share of the side."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Augmentation of training samples, photo and condition alike: up to so many degrees."""
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Larger or smaller by up to this share."""
    zoom: Annotated[float, Field(ge=1, le=8)] = 1.0
    """Photo and exemplar both larger by a factor from 1 to this: close-ups and whole views."""
    shift: Share = 0.0
    """Moved by up to this share of the side."""
    bend: Share = 0.0
    """Elastic warp, amplitude as a share of the side."""
    colour: Share = 0.0
    """Strength of changes of brightness, contrast, saturation and hue."""
    between: bool = False
    """Where a loss asks for points: besides the named ones others that lie between them, drawn
    anew each time in triangles of named points. For things of one shape, such as faces."""

    @field_validator("pseudo")
    @classmethod
    def _each_once(cls, ways: tuple[str, ...]) -> tuple[str, ...]:
        if not ways or len(set(ways)) < len(ways):
            raise ValueError("expected one or more of move, crop, flip and warp, each once")
        return ways


class Optimiser(Section):
    """`[optimiser]`: Adam, one step each for generator and discriminator."""

    lr: Annotated[float, Field(gt=0)] = 1e-4
    lr_discriminator: Annotated[float, Field(gt=0)] = 4e-4
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    eps: Annotated[float, Field(gt=0)] = 1e-8
    eps_discriminator: Annotated[float, Field(gt=0)] = 1e-8
    clip: Annotated[float, Field(ge=0)] = 0.0
    """Largest norm of a gradient; 0: as it comes."""


class Schedule(Section):
    """`[schedule]`: how long."""

    batch_size: Count = 32
    """Samples of a step, over all processes."""
    epochs: Annotated[int, Field(ge=0)] = 60
    """At the constant rate."""
    decay_epochs: Annotated[int, Field(ge=0)] = 0
    """After those, linearly to 0."""
    mask_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs with true exemplar masks, noise in their place after; 0: true ones throughout."""
    mask_noise: Annotated[float, Field(ge=0)] = 0.01
    """Deviation of that noise."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights; 0: none is kept."""

    @model_validator(mode="after")
    def _some_training(self) -> Schedule:
        if self.epochs + self.decay_epochs == 0:
            raise ValueError("epochs and decay_epochs are both 0, expected one or more")
        return self


def _changes(config: Any, without: tuple[str, ...], **more: Any) -> type[Section]:
    """A table in which any field of a frozen config may be given, over a preset's."""
    hints = get_type_hints(config)
    names = [f.name for f in dataclasses.fields(config) if f.name not in without]
    fields: dict[str, Any] = {name: (hints[name], None) for name in names}
    return create_model(config.__name__, __base__=Section, **fields, **more)


MODEL = _changes(ModelConfig, ("form", "channels"), preset=(Literal["paper", *presets.TASKS], ...))
"""`[model]`: a preset, and what differs from it."""
LOSSES = _changes(LossConfig, ("form",))
"""`[losses]`: what differs from the preset's."""
_TABLES: dict[str, Any] = {
    "model": (MODEL, ...),
    "condition": (Condition, ...),
    "losses": (LOSSES, LOSSES()),
    "data": (Data, Data()),
    "optimiser": (Optimiser, Optimiser()),
    "schedule": (Schedule, Schedule()),
}
FILE = create_model("Recipe", __base__=Section, name=(str, ""), description=(str, ""), **_TABLES)
"""A whole file; without a name it is called as the file is."""
