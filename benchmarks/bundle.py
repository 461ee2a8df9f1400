"""Take a run's weights into the package: half precision, with the provenance they came with.

    python benchmarks/bundle.py runs/faces/weights.safetensors faces

Writes cocoscli/weights/NAME.safetensors; its card is NAME.md beside it. Weights whose data may not
be redistributed do not belong there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cocosnet
import torch

FOLDER = Path(__file__).parent.parent / "cocoscli" / "weights"
LARGEST = 25_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("name")
    args = parser.parse_args()
    model = cocosnet.load(args.weights)
    features = model.provenance["features"]
    features["name"] = Path(features["name"]).name  # not where it lay
    if model.provenance["init"] != "none":
        model.provenance["init"] = f"earlier weights, see {args.name}.md"
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{args.name}.safetensors"
    cocosnet.save(model, path, torch.float16)
    size = path.stat().st_size
    if size > LARGEST:
        path.unlink()
        raise SystemExit(f"{size:,} bytes, expected at most {LARGEST:,}")
    print(path, f"{size:,} bytes", model.provenance)


if __name__ == "__main__":
    main()
