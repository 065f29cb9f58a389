"""Networks from photos to maps, logits and boxes: one file per architecture."""

from wsol_jax.backbones.architecture import Architecture
from wsol_jax.backbones.initialise import initialise
from wsol_jax.backbones.layers import Preprocessing, preprocess
from wsol_jax.backbones.network import BACKBONES, Network, build, trunk

__all__ = [
    "BACKBONES",
    "Architecture",
    "Network",
    "Preprocessing",
    "build",
    "initialise",
    "preprocess",
    "trunk",
]
