"""One step of training: generator and correspondence, then the discriminator (section 3.3)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import cocosnet
import numpy as np
import torch
from cocosnet.training import (
    Batch,
    Extractor,
    Pass,
    TrainingPass,
    discriminator_terms,
    generator_terms,
    weighted,
)
from cocosnet.weights import build, folded_state
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize

from cocoscli.engine.device import autocast
from cocoscli.engine.memory import give_back_large_blocks
from cocoscli.engine.tensors import condition_tensor, photo_tensor
from cocoscli.engine.training.distributed import Processes
from cocoscli.engine.training.loading import Loaded
from cocoscli.errors import CocosError
from cocoscli.recipe import Recipe, Schedule

EXPLODED = 1e6
"""A weighted loss term past this ends the run."""


ONE = Processes()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How this run trains, as against what the recipe trains."""

    device: torch.device
    precision: str = "fp32"
    parts: int = 1
    """Batches that a step's gradients are accumulated over."""
    recompute: bool = False
    """Activation checkpointing: less memory, a third more time."""
    compiled: bool = False
    seed: int = 0
    processes: Processes = ONE


class Diverged(CocosError):
    """A loss is not a number, or far too large: the weights on disk are from before."""


class Trainer:
    """Networks, optimisers and running averages, and a step of them.

    The state is a function of the recipe, the seed and the batches; `state` and `load_state` take
    it to disk and back exactly.
    """

    def __init__(
        self, recipe: Recipe, model: cocosnet.CoCosNet, features: Extractor, machine: Machine
    ) -> None:
        self.recipe, self.machine, self.features = recipe, machine, features
        device = machine.device
        if machine.recompute and device.type == "cpu":
            give_back_large_blocks()
        self.model: cocosnet.CoCosNet = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model.train()
        self.discriminator = _discriminator(model.config, machine.seed).to(device).train()
        if machine.processes.world > 1 and device.type == "cuda":
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        draws = recipe.losses.judges_images
        self.model.generator.requires_grad_(draws)
        self.passing: nn.Module = TrainingPass(
            self.model, checkpoint=machine.recompute, draws=draws
        )
        self.judging: nn.Module = self.discriminator
        if machine.compiled:
            self.passing.compile()
            self.judging.compile()
        if machine.processes.world > 1:
            self.passing, self.judging = self._spread(self.passing), self._spread(self.judging)
        o = recipe.optimiser
        betas = (o.beta1, o.beta2)
        self.optimisers = {
            "generator": torch.optim.Adam(self.model.parameters(), o.lr, betas, o.eps),
            "discriminator": torch.optim.Adam(
                self.discriminator.parameters(), o.lr_discriminator, betas, o.eps_discriminator
            ),
        }
        self.rates = {"generator": o.lr, "discriminator": o.lr_discriminator}
        self.scaler = torch.amp.GradScaler(device.type, enabled=machine.precision == "fp16")
        self.average = _detached(folded_state(self.model)) if recipe.schedule.ema else None
        self.step = 0

    def _spread(self, module: nn.Module) -> nn.Module:
        ids = [self.machine.device.index] if self.machine.device.type == "cuda" else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the new name is unknown to torch 2.4
            return DistributedDataParallel(module, device_ids=ids, broadcast_buffers=False)

    def advance(self, parts: Sequence[Loaded], epoch: float) -> dict[str, float]:
        """One step over this process's batches -> the weighted terms, before the update.

        Raises Diverged before anything is spoiled.
        """
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = self.rates[name] * rate(self.recipe.schedule, epoch)
        fakes: list[tuple[Batch, Tensor]] = []
        terms: dict[str, float] = {}
        for last, part in _lasts(parts):
            batch = self.batch(part, epoch)
            with parametrize.cached(), self._apart(self.passing, last):
                with self._precision():
                    passed = self.passing(batch)
                    losses = self._generator_losses(passed, batch)
                self._backward(losses, len(parts), terms)
            if passed.image is not None and self.recipe.losses.adversarial:
                fakes.append((batch, passed.image.detach()))
        self._update("generator", self.model, terms, parts)
        judged: dict[str, float] = {}
        for last, (batch, fake) in _lasts(fakes):
            with parametrize.cached(), self._apart(self.judging, last):
                with self._precision():
                    losses = self._discriminator_losses(fake, batch)
                self._backward(losses, len(parts), judged)
        if fakes:
            self._update("discriminator", self.discriminator, judged, parts)
        self.scaler.update()
        self.step += 1
        self._keep_average()
        return terms | judged

    def batch(self, loaded: Loaded, epoch: float) -> Batch:
        """Decoded samples as the networks take them, on the device."""
        device, config = self.machine.device, self.model.config
        condition = self._planes(loaded.condition)
        labels = None
        if loaded.exemplar_condition is not None:
            labels = self._planes(loaded.exemplar_condition)
        given = labels if config.needs_exemplar_input or config.exemplar_mask else None
        if given is not None and not masks_given(self.recipe.schedule, epoch):
            given, labels = self._noise(loaded, given), None
        return Batch(
            input=condition,
            photo=photo_tensor(loaded.photo, device),
            exemplar=photo_tensor(loaded.exemplar, device),
            exemplar_input=given,
            exemplar_labels=labels,
            pseudo=loaded.pseudo.to(device),
            points=None if loaded.points is None else loaded.points.to(device),
        )

    def _planes(self, arrays: Tensor) -> Tensor:
        return condition_tensor(arrays, self.model.condition, self.machine.device)

    def _noise(self, loaded: Loaded, like: Tensor) -> Tensor:
        """What stands for the exemplars' masks after warm-up (Appendix E), a seed a sample."""
        planes = []
        for position in loaded.positions:
            seed = np.random.SeedSequence((self.machine.seed, position)).generate_state(1)
            generator = torch.Generator().manual_seed(int(seed[0]))
            planes.append(torch.randn(like.shape[1:], generator=generator))
        return (torch.stack(planes) * self.recipe.schedule.mask_noise).to(like)

    def _generator_losses(self, passed: Pass, batch: Batch) -> dict[str, Tensor]:
        config, total = self.recipe.losses, self.machine.processes.total
        judge = self.discriminator
        terms = generator_terms(config, passed, batch, judge, self.features, total=total)
        return weighted(config, terms)

    def _discriminator_losses(self, fake: Tensor, batch: Batch) -> dict[str, Tensor]:
        terms = weighted(self.recipe.losses, discriminator_terms(fake, batch, self.judging))
        return {f"discriminator_{name}": value for name, value in terms.items()}

    def _precision(self) -> AbstractContextManager:
        return autocast(self.machine.precision, self.machine.device)

    def _apart(self, module: nn.Module, last: bool) -> AbstractContextManager:
        """Gradients meet across processes at a step's last part only."""
        if isinstance(module, DistributedDataParallel) and not last:
            return module.no_sync()
        return nullcontext()

    def _backward(self, losses: Mapping[str, Tensor], parts: int, sums: dict[str, float]) -> None:
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + float(loss.detach()) / parts
        total = torch.stack(list(losses.values())).sum() / parts
        self.scaler.scale(total).backward()

    def _update(
        self, which: str, module: nn.Module, terms: dict[str, float], parts: Sequence[Loaded]
    ) -> None:
        """An optimiser's step, if losses and gradients are numbers. Raises Diverged."""
        optimiser = self.optimisers[which]
        self.scaler.unscale_(optimiser)
        limit = self.recipe.optimiser.clip or math.inf
        norm = float(nn.utils.clip_grad_norm_(module.parameters(), limit))
        bad = next((n for n, x in terms.items() if not abs(x) < EXPLODED), None)
        if bad is None and not math.isfinite(norm) and not self.scaler.is_enabled():
            bad = f"gradient of the {which}"
        if self.machine.processes.any(bad is not None, self.machine.device):
            keys = ", ".join(key for part in parts for key in part.keys[:4])
            value = f" is {terms[bad]:g}" if bad in terms else " is not a number"
            raise Diverged(
                f"step {self.step}: {bad or 'a loss of another process'}{value} (batch: {keys}).",
                "The checkpoints are from before. Lower optimiser.lr, set optimiser.clip=10, or "
                "train in fp32, with --set and --change-recipe; and look at those samples.",
            )
        self.scaler.step(optimiser)
        optimiser.zero_grad(set_to_none=True)
        terms[f"gradient_{which}"] = norm

    @torch.no_grad()
    def _keep_average(self) -> None:
        """The running average of the folded weights and of the buffers."""
        if self.average is None:
            return
        decay = min(self.recipe.schedule.ema, (1 + self.step) / (10 + self.step))
        for name, value in folded_state(self.model).items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    def deployable(self) -> cocosnet.CoCosNet:
        """The network that is used: the average where one is kept, folded, in eval mode."""
        state = folded_state(self.model) if self.average is None else self.average
        model = build(self.model.config, self.model.condition, spectral=False)
        model.load_state_dict(_detached(state), assign=True)
        model.provenance = self.model.provenance
        return model.eval()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that the next step depends on: tensors by name, and numbers."""
        tensors = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"discriminator/{k}": v for k, v in self.discriminator.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in (self.average or {}).items()}
        for name, optimiser in self.optimisers.items():
            for i, values in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser/{name}/{i}/{k}": v for k, v in values.items()}
        return tensors, {"step": self.step, "scaler": self.scaler.state_dict()}

    def load_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Inverse of `state`. Raises ValueError where it is another network's."""
        try:
            self.model.load_state_dict(_below(tensors, "model"))
            self.discriminator.load_state_dict(_below(tensors, "discriminator"))
        except RuntimeError as error:
            raise ValueError(str(error).splitlines()[0]) from None
        if self.average is not None:  # one that is only kept from now on starts at the weights
            kept = _below(tensors, "average") or folded_state(self.model)
            self.average = _detached({k: kept[k].to(v) for k, v in self.average.items()})
        for name, optimiser in self.optimisers.items():
            values: dict[int, dict[str, Tensor]] = {}
            for key, value in _below(tensors, f"optimiser/{name}").items():
                i, _, what = key.partition("/")
                values.setdefault(int(i), {})[what] = value
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": values, "param_groups": groups})
        self.step = int(numbers["step"])
        if numbers["scaler"]:
            self.scaler.load_state_dict(numbers["scaler"])


def rate(schedule: Schedule, epoch: float) -> float:
    """The share of the learning rate at an epoch: constant, then linearly to 0."""
    past = max(0.0, epoch - schedule.epochs)
    return max(0.0, 1 - past / schedule.decay_epochs) if schedule.decay_epochs else 1.0


def masks_given(schedule: Schedule, epoch: float) -> bool:
    """Whether exemplars' true masks are given (Appendix E's warm-up), or noise."""
    return schedule.mask_epochs == 0 or epoch < schedule.mask_epochs


def _discriminator(config: cocosnet.ModelConfig, seed: int) -> cocosnet.Discriminator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return cocosnet.Discriminator(cocosnet.presets.discriminator(config)).initialise()


def new_model(recipe: Recipe, seed: int) -> cocosnet.CoCosNet:
    """The recipe's network with the start values that follow from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cocosnet.CoCosNet(recipe.model, recipe.condition).initialise()


def _detached(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in state.items()}


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def _lasts(items: Sequence[Any]) -> Iterator[tuple[bool, Any]]:
    """(whether it is the last, item)."""
    return ((i == len(items) - 1, item) for i, item in enumerate(items))
