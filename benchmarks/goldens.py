"""Compare our networks with golden files of the released code, tensor by tensor.

    python benchmarks/goldens.py FOLDER            # laid out like released/tiny
    python benchmarks/goldens.py FOLDER --limit 1e-4
    python benchmarks/goldens.py FOLDER --training # the losses of FOLDER/training

FOLDER holds `meta.json` (options a task), `<task>_net_{G,Corr,D}.pth` and `<task>_io.safetensors`.
Options come from `meta.json`, widths from the shapes, sizes from the tensors. Prints the worst
relative difference, max|a-b| / max|b|, of every tensor as JSON; exits 1 where one is past the limit
or missing.

FOLDER/training holds `<task>_batch.safetensors`, the stand-in features `features.safetensors`, and
`losses.json`: weighted terms and gradient norms of their sum, and the release's flags that weigh
them. The difference of a loss is |a-b| / max(|b|, 1e-6); a gradient norm may be off by ten limits.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import cocosnet
import torch
from cocosnet import matching, training
from cocosnet.config import FEATURE_LAYERS
from cocosnet.descriptors import correlation
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

TASKS = {"ade20k": "ade20k", "celebahq": "celebahq-mask", "celebahqedge": "celebahq-edge",
         "deepfashion": "deepfashion"}  # fmt: skip
INPUTS = ("input", "exemplar_input", "exemplar")


def load_golden_model(
    folder: Path, prefix: str, options: dict, fold: bool = True
) -> cocosnet.CoCosNet:
    """The released weights of a prefix, with the options that shapes cannot tell set from meta."""
    model = cocosnet.load_released(folder, TASKS[prefix], epoch=prefix, fold=fold)
    config = dataclasses.replace(
        model.config,
        temperature=options["temperature"],
        match_kernel=options["match_kernel"],
        warp_patch=options["warp_patch"],
        warp_upsample="bilinear" if options["warp_bilinear"] else "nearest",
    )
    model.config = model.correspondence.config = config
    return model


def our_tensors(
    model: cocosnet.CoCosNet, discriminator: cocosnet.Discriminator, io: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Every tensor that a golden file can hold, computed by our networks."""
    x, y = io["input"].float(), io["exemplar"].float()
    condition = io["exemplar_input"].float()
    corr, config = model.correspondence, model.config
    adapted_input, adapted_exemplar = corr.adapt_input(x), corr.adapt_exemplar(y, condition)
    theta = corr.shared.input_features(adapted_input, x)
    phi = corr.shared.exemplar_features(adapted_exemplar, condition)
    out = model(x, y, condition)
    mask = F.interpolate(condition, size=phi.shape[-2:], mode="nearest")
    cycle = out.match.warp_back(out.match.colours)
    ours = {
        # The golden files hold the adaptors' outputs before their normalisation.
        "adapted_input": corr.input_adaptor.features(x),
        "adapted_exemplar": corr.exemplar_adaptor.features(y),
        "theta": theta,
        "phi": phi,
        "correlation": correlation(theta, phi, config.match_kernel, config.match_norm),
        "warp": out.warped,
        "warp_mask": out.match.warp(mask),
        "warp_cycle": matching.from_patches(cycle) if config.warp_patch else cycle,
        "output": out.image,
    }
    for s, outputs in enumerate(discriminator(io["output"], x)):
        ours |= {f"disc_{s}_{i}": o for i, o in enumerate(outputs)}
    return ours


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    theirs = theirs.float()
    if ours.shape != theirs.shape:
        raise SystemExit(f"shape {tuple(ours.shape)}, golden {tuple(theirs.shape)}")
    return float((ours - theirs).abs().max() / theirs.abs().max())


@torch.inference_mode()
def compare(folder: Path) -> dict[str, dict[str, float]]:
    """For each task of the folder and each golden tensor the worst relative difference."""
    report = {}
    for prefix, options in json.loads((folder / "meta.json").read_text()).items():
        if not (folder / f"{prefix}_io.safetensors").is_file():
            continue
        io = load_file(folder / f"{prefix}_io.safetensors")
        model = load_golden_model(folder, prefix, options)
        ours = our_tensors(model, cocosnet.load_discriminator(folder, epoch=prefix), io)
        report[prefix] = {
            name: relative_difference(ours[name], value)
            for name, value in sorted(io.items())
            if name not in INPUTS
        }
    return report


NAMES = {
    "no_vgg_feat": "domain", "G_warp_cycle": "reg", "GAN": "adversarial",
    "GAN_Feat": "discriminator_features", "fm": "feat", "perc": "perc", "contextual": "context",
    "mask": "mask", "G_warp_self": "warp_self", "D_Fake": "fake", "D_real": "real",
}  # fmt: skip
"""The release's names of loss terms -> ours."""


class StandIn(torch.nn.Module):
    """Five 3x3 convolutions with ReLU, halved between, that stand for relu1_2 .. relu5_2."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.state = state

    def forward(self, x: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        found = {}
        for i, name in enumerate(FEATURE_LAYERS):
            x = F.max_pool2d(x, 2) if i else x
            weight, bias = (self.state[f"convs.{i}.{part}"] for part in ("weight", "bias"))
            x = found[name] = F.relu(F.conv2d(x, weight, bias, padding=1))
        return {name: found[name] for name in layers}


def loss_config(flags: str) -> cocosnet.LossConfig:
    """What the release's command line says of the losses; its other flags are left aside."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--which_perceptual", default="5_2")
    parser.add_argument("--use_22ctx", action="store_true")
    weights = {"weight_perceptual": 0.01, "fm_ratio": 0.1, "weight_mask": 0, "warp_cycle_w": 0,
               "warp_self_w": 0, "lambda_feat": 10, "lambda_vgg": 10, "ctx_w": 1}  # fmt: skip
    for name, default in weights.items():
        parser.add_argument(f"--{name}", type=float, default=default)
    given, _ = parser.parse_known_args(flags.split())
    layers = {"relu5_2": 8.0, "relu4_2": 4.0, "relu3_2": 2.0}
    return cocosnet.LossConfig(
        form="released",
        feat=given.lambda_vgg * given.fm_ratio,
        perc=given.weight_perceptual,
        perc_layer=f"relu{given.which_perceptual}",
        context=given.lambda_vgg * given.ctx_w,
        context_layers=layers | ({"relu2_2": 1.0} if given.use_22ctx else {}),
        reg=given.warp_cycle_w,
        discriminator_features=given.lambda_feat,
        mask=given.weight_mask,
        warp_self=given.warp_self_w,
    )


def our_losses(
    model: cocosnet.CoCosNet,
    discriminator: cocosnet.Discriminator,
    config: cocosnet.LossConfig,
    tensors: dict[str, Tensor],
    features: StandIn,
) -> dict[str, float]:
    """Weighted terms and gradient norms of one batch, by our names."""
    x, condition = tensors["input"], tensors["exemplar_input"]
    batch = training.Batch(
        input=x,
        photo=tensors["image"],
        exemplar=tensors["exemplar"],
        exemplar_input=condition,
        exemplar_labels=condition if config.mask else None,
        pseudo=tensors["is_pseudo_pair"],
    )
    passed = training.TrainingPass(model)(batch)
    raw = training.generator_terms(config, passed, batch, discriminator, features)
    terms = training.weighted(config, raw)
    sum(terms.values()).backward()
    norms = {
        name: float(torch.cat([p.grad.flatten() for p in module.parameters()]).norm())
        for name, module in (("G", model.generator), ("Corr", model.correspondence))
    }
    judged = training.discriminator_terms(passed.image, batch, discriminator)
    terms |= training.weighted(config, judged)
    return {name: float(value.detach()) for name, value in terms.items()} | norms


def compare_losses(folder: Path) -> dict[str, dict[str, float]]:
    """For each task of FOLDER/training and each loss or gradient norm the relative difference."""
    report = {}
    options = json.loads((folder / "meta.json").read_text())
    features = StandIn(load_file(folder / "training" / "features.safetensors"))
    for prefix, golden in json.loads((folder / "training" / "losses.json").read_text()).items():
        ours = our_losses(
            load_golden_model(folder, prefix, options[prefix], fold=False),
            cocosnet.load_discriminator(folder, epoch=prefix),
            loss_config(golden["flags"]),
            load_file(folder / "training" / f"{prefix}_batch.safetensors"),
            features,
        )
        theirs = golden["generator"] | golden["discriminator"] | golden["grad_norm_of_the_sum"]
        theirs = {NAMES.get(name, name): value for name, value in theirs.items()}
        report[prefix] = {
            name: abs(ours.get(name, float("inf")) - value) / max(abs(value), 1e-6)
            for name, value in theirs.items()
        }
        report[prefix] |= dict.fromkeys(ours.keys() - theirs.keys(), float("inf"))
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--training", action="store_true", help="losses instead of tensors")
    parser.add_argument("--limit", type=float, default=1e-4)
    args = parser.parse_args()
    report = (compare_losses if args.training else compare)(args.folder)
    tensors = [pair for task in report.values() for pair in task.items()]
    parts = [d / (10 if name in ("G", "Corr") else 1) for name, d in tensors]
    worst = max(parts, default=float("inf"))
    key = "losses" if args.training else "tensors"
    print(json.dumps({key: report, "worst": worst, "limit": args.limit}, indent=1))
    return 0 if worst <= args.limit else 1


if __name__ == "__main__":
    sys.exit(main())
