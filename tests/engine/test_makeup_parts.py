"""Parts of a portrait found by laying it over a face whose parts are known."""

from __future__ import annotations

import numpy as np
import torch

from cocoscli.data.layouts import LAYOUTS
from cocoscli.data.model_face import LANDMARKS, model_windows
from cocoscli.data.originals import Original
from cocoscli.data.reading import ConditionReader
from cocoscli.data.smooth_maps import affine, inverse
from cocoscli.engine.alignment import Aligner
from cocoscli.engine.makeup_parts import PartFinder
from cocoscli.engine.models import face_weights, load_weights
from cocoscli.engine.network import Computing, Network


def test_the_lips_of_the_known_face_itself():
    weights = load_weights(face_weights(), torch.device("cpu"))
    conditions = ConditionReader(LAYOUTS["edges"], 1)
    network = Network(
        weights.model, conditions, Computing(device=torch.device("cpu")), varied=False
    )
    portrait = model_windows()[1]
    parts = PartFinder(Aligner(network, "both"), extra=False)(Original(portrait.pixels, None, None))
    assert parts is not None
    rows, columns = np.nonzero(parts["u_lip"] | parts["l_lip"])
    true = affine(inverse(portrait.place), LANDMARKS)[48:60].mean(axis=0)
    assert np.hypot(columns.mean() - true[0], rows.mean() - true[1]) < 12
