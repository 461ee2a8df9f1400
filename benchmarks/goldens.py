"""Compare our networks with golden files of the released code, tensor by tensor.

    python benchmarks/goldens.py FOLDER            # laid out like released/tiny
    python benchmarks/goldens.py FOLDER --limit 1e-4

FOLDER holds `meta.json` (options a task), `<task>_net_{G,Corr,D}.pth` and `<task>_io.safetensors`.
Options come from `meta.json`, widths from the shapes, sizes from the tensors. Prints the worst
relative difference, max|a-b| / max|b|, of every tensor as JSON; exits 1 where one is past the limit
or missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import cocosnet
import torch
from cocosnet import matching
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

TASKS = {"ade20k": "ade20k", "celebahq": "celebahq-mask", "celebahqedge": "celebahq-edge",
         "deepfashion": "deepfashion"}  # fmt: skip
INPUTS = ("input", "exemplar_input", "exemplar")


def load_golden_model(folder: Path, prefix: str, options: dict) -> cocosnet.CoCosNet:
    """The released weights of a prefix, with the options that shapes cannot tell set from meta."""
    model = cocosnet.load_released(folder, TASKS[prefix], epoch=prefix)
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
        "correlation": matching.correlation(theta, phi, config.match_kernel, config.match_norm),
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=float, default=1e-4)
    args = parser.parse_args()
    report = compare(args.folder)
    worst = max((d for task in report.values() for d in task.values()), default=float("inf"))
    print(json.dumps({"tensors": report, "worst": worst, "limit": args.limit}, indent=1))
    return 0 if worst <= args.limit else 1


if __name__ == "__main__":
    sys.exit(main())
