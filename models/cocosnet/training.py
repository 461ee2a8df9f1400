"""One training step's forward pass, and the terms of Eq. 14 that follow from it.

The generator's half and the discriminator's half of a step each run, forward and backward, inside
a `torch.nn.utils.parametrize.cached()` of their own: spectral norm then takes one power iteration,
and recomputed activations see the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from cocosnet import flow, losses
from cocosnet.config import LossConfig
from cocosnet.correspondence import Match
from cocosnet.layers import Blocks, single
from cocosnet.losses import Total, one_process
from cocosnet.model import CoCosNet, check_size

Extractor = Callable[[Tensor, tuple[str, ...]], Mapping[str, Tensor]]
"""phi: images (B,3,H,W), -1..1, and names of layers -> their activations; `features.Vgg`."""


@dataclass(frozen=True)
class Batch:
    """What a step is given. Raises ValueError where shapes do not fit together."""

    input: Tensor
    """x_A: condition maps (B,K,H,W), 0..1."""
    photo: Tensor
    """x_B: the input's own photo (B,3,H,W), -1..1."""
    exemplar: Tensor
    """y_B: (B,3,H,W), -1..1."""
    exemplar_input: Tensor | None
    """(B,K,H,W): what the network is given of the exemplar's condition."""
    exemplar_labels: Tensor | None
    """(B,K,H,W): the exemplar's true one-hot mask, as long as the network is given it too."""
    pseudo: Tensor
    """(B,): 1 where the photo is what should come out, as for an exemplar made from it, else 0."""
    points: Tensor | None = None
    """(B,N,4): x and y in pixels of the input and of the exemplar, of points that are known in
    both; NaN fills up."""

    def __post_init__(self) -> None:
        batch, channels, *size = self.input.shape
        check_size(*size)
        expected = {
            "photo": (batch, 3, *size),
            "exemplar": (batch, 3, *size),
            "exemplar_input": (batch, channels, *size),
            "exemplar_labels": (batch, channels, *size),
            "pseudo": (batch,),
        }
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is not None and tuple(value.shape) != shape:
                raise ValueError(f"{name} has shape {tuple(value.shape)}, expected {shape}")
        if self.points is not None and self.points.shape[::2] != (batch, 4):
            raise ValueError(
                f"points has shape {tuple(self.points.shape)}, expected ({batch}, N, 4)"
            )

    @property
    def photo_input(self) -> Tensor | None:
        """What F_B is given beside the photo: its mask while exemplars come with theirs.

        Past the warm-up (Appendix E) it is given as little as of an exemplar's, else Eq. 9 would
        go on to align masks with masks.
        """
        known = self.exemplar_input is not None and self.exemplar_labels is not None
        return self.input if known else self.exemplar_input


@dataclass(frozen=True)
class Pass:
    """What the networks make of a batch."""

    image: Tensor | None
    """(B,3,H,W), -1..1: the translation (Eq. 7); None where nothing is drawn."""
    match: Match
    adapted_input: Tensor
    """F_A(x_A), (B,4n,h,w) (Eq. 1)."""
    adapted_photo: Tensor
    """F_B(x_B), (B,4n,h,w) (Eq. 9)."""
    photo_match: Match | None = None
    """The match of the input's own photo in the input's place, where points are known."""


class TrainingPass(nn.Module):
    """Everything of a step that has weights to train, in one forward: what DDP wraps.

    `checkpoint` computes the residual blocks' activations (of adaptors and generator) again in the
    backward pass instead of keeping them; those of the paper's shared block are kept. Without
    `draws` the generator does not run.
    """

    def __init__(self, model: CoCosNet, *, checkpoint: bool = False, draws: bool = True) -> None:
        super().__init__()
        self.model, self.draws = model, draws
        for module in model.modules():
            if isinstance(module, Blocks):
                module.recompute = checkpoint

    def forward(self, batch: Batch) -> Pass:
        correspondence = self.model.correspondence
        adapted_input = correspondence.adapt_input(batch.input)
        # Instance norm keeps samples apart, so that F_B may take both its photos as one batch.
        photos = torch.cat([batch.exemplar, batch.photo])
        given = [x for x in (batch.exemplar_input, batch.photo_input) if x is not None]
        conditions = torch.cat(given) if given else None
        seen = conditions if self.model.config.exemplar_mask else None
        exemplar, photo = correspondence.adapt_exemplar(photos, seen).chunk(2)
        match = correspondence.match_adapted(
            adapted_input, exemplar, batch.input, batch.exemplar, batch.exemplar_input
        )
        image = single(self.model.render(batch.input, match).image) if self.draws else None
        photo_match = None
        if batch.points is not None:
            photo_match = correspondence.match_photos(
                photo, exemplar, match.bank.colours, conditions
            )
        return Pass(image, match, adapted_input, photo, photo_match)


def generator_terms(
    config: LossConfig,
    passed: Pass,
    batch: Batch,
    discriminator: nn.Module,
    features: Extractor,
    total: Total = one_process,
) -> dict[str, Tensor]:
    """The raw terms that F, T and G are trained on, those with a weight, by `LossConfig`'s names.

    The mask term needs `exemplar_labels` and is left out of batches without, and terms of the image
    where none was drawn. The discriminator's weights get no gradient. `total` sums counts over
    processes (`losses`).
    """
    terms = _matching_terms(config, passed, batch, total)
    if passed.image is None:
        return terms
    if config.pixels:
        terms["pixels"] = losses.pixels(config.form, passed.image, batch.photo, batch.pseudo, total)
    return {
        **terms,
        **_feature_terms(config, passed.image, batch, features, total),
        **_adversarial_terms(config, passed.image, batch, discriminator),
    }


def discriminator_terms(image: Tensor, batch: Batch, discriminator: nn.Module) -> dict[str, Tensor]:
    """Eq. 13 for D, raw: `fake` for the translations (B,3,H,W), `real` for the photos.

    The translations' gradient is cut here. One call of D for both, as one batch. RuntimeError where
    `parametrize.cached()` still holds the weights that the generator's half read.
    """
    _check_trainable(discriminator)
    images = torch.cat([image.detach(), batch.photo])
    judged = discriminator(images, torch.cat([batch.input, batch.input]))
    halves = [[layer.chunk(2) for layer in scale] for scale in judged]
    fake, real = ([[layer[i] for layer in scale] for scale in halves] for i in range(2))
    return {"fake": losses.discriminator_fake(fake), "real": losses.discriminator_real(real)}


def weighted(config: LossConfig, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each term times its weight; the sum is Eq. 14. Both shares of Eq. 13 weigh the same."""
    shares = {"fake": "adversarial", "real": "adversarial"}
    return {n: getattr(config, shares.get(n, n)) * value for n, value in terms.items()}


def _matching_terms(
    config: LossConfig, passed: Pass, batch: Batch, total: Total
) -> dict[str, Tensor]:
    match, terms = passed.match, {}
    if config.domain:
        terms["domain"] = losses.domain(passed.adapted_input, passed.adapted_photo)
    if config.reg:
        terms["reg"] = losses.reg(match.warp_back(match.colours), match.bank.colours)
    if config.mask and batch.exemplar_labels is not None:
        theirs = F.interpolate(batch.exemplar_labels, size=match.bank.side.grid, mode="nearest")
        ours = F.interpolate(batch.input, size=match.query.grid, mode="nearest")
        terms["mask"] = losses.mask(
            match.warp(theirs), ours, theirs, total, background=config.mask_background
        )
    if config.points and batch.points is not None:
        matches = [m for m in (match, passed.photo_match) if m is not None]
        each = [_points_term(m, batch.points, total) for m in matches]
        terms["points"] = torch.stack(each).mean()
    if config.warp_self:
        terms["warp_self"] = losses.warp_self(
            config.form, match.warped, batch.photo, batch.pseudo, total
        )
    return terms


def _points_term(match: Match, points: Tensor, total: Total) -> Tensor:
    """Of one match, points (B,N,4) in pixels."""
    ours, theirs = flow.in_cells(single(points)).split(2, dim=2)
    sides = (ours, match.query.grid), (theirs, match.bank.side.grid)
    return losses.points(match.warp, *sides, total)


def _feature_terms(
    config: LossConfig, image: Tensor, batch: Batch, features: Extractor, total: Total
) -> dict[str, Tensor]:
    of_photo = [*losses.FEAT_WEIGHTS] if config.feat else []
    of_photo += [config.perc_layer] if config.perc else []
    of_exemplar = [name for name, w in config.context_layers.items() if w and config.context]
    layers = tuple(dict.fromkeys([*of_photo, *of_exemplar]))
    if not layers:
        return {}
    ours = features(image, layers)
    with torch.no_grad():
        photo = features(batch.photo, tuple(dict.fromkeys(of_photo))) if of_photo else {}
        exemplar = features(batch.exemplar, tuple(of_exemplar)) if of_exemplar else {}
    terms = {}
    if config.feat:
        terms["feat"] = losses.feat(config.form, ours, photo, batch.pseudo, total)
    if config.perc:
        layer = config.perc_layer
        terms["perc"] = losses.perc(config.form, ours[layer], photo[layer])
    if of_exemplar:
        weights = {name: config.context_layers[name] for name in of_exemplar}
        bandwidth = config.context_bandwidth
        terms["context"] = losses.context(config.form, ours, exemplar, weights, bandwidth)
    return terms


def _adversarial_terms(
    config: LossConfig, image: Tensor, batch: Batch, discriminator: nn.Module
) -> dict[str, Tensor]:
    terms: dict[str, Tensor] = {}
    if not (config.adversarial or config.discriminator_features):
        return terms
    with _frozen(discriminator):
        fake = discriminator(image, batch.input)
        if config.adversarial:
            terms["adversarial"] = losses.adversarial(fake)
        if config.discriminator_features:
            with torch.no_grad():
                real = discriminator(batch.photo, batch.input)
            terms["discriminator_features"] = losses.discriminator_features(fake, real)
    return terms


def _check_trainable(module: nn.Module) -> None:
    """Cached weights that were read without a gradient would leave D untrained, and say nothing."""
    normed = (m for m in module.modules() if parametrize.is_parametrized(m, "weight"))
    first = next(normed, None)
    if first is None or not torch.is_grad_enabled():
        return
    trained = first.get_parameter("parametrizations.weight.original").requires_grad
    if trained and not first.weight.requires_grad:
        raise RuntimeError(
            "the discriminator's half of a step needs a torch.nn.utils.parametrize.cached() of its"
            " own: this one holds the weights that the generator's half read without a gradient"
        )


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """What is computed inside has no gradient for the module's parameters."""
    trained = [p for p in module.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
