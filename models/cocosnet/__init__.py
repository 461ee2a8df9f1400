"""CoCosNet: cross-domain correspondence and exemplar-based image translation (CVPR 2020).

model = cocosnet.load("faces.safetensors")
out = model(input, exemplar)
"""

from cocosnet import losses, presets, training
from cocosnet.config import ConditionSchema, DiscriminatorConfig, LossConfig, ModelConfig
from cocosnet.correspondence import ExemplarBank, InputFeatures, Match
from cocosnet.discriminator import Discriminator
from cocosnet.model import CoCosNet, Output
from cocosnet.released import load_discriminator, load_released
from cocosnet.weights import WeightsError, load, read_header, save

__all__ = [
    "CoCosNet",
    "ConditionSchema",
    "Discriminator",
    "DiscriminatorConfig",
    "ExemplarBank",
    "InputFeatures",
    "LossConfig",
    "Match",
    "ModelConfig",
    "Output",
    "WeightsError",
    "load",
    "load_discriminator",
    "load_released",
    "losses",
    "presets",
    "read_header",
    "save",
    "training",
]
