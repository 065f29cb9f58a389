"""Photos to features: one file per architecture, and the weights they start from."""

from wsol_jax.backbones.initialise import initialise
from wsol_jax.backbones.layers import Preprocessing, preprocess
from wsol_jax.backbones.network import BACKBONES, Architecture, Network, build, trunk
from wsol_jax.backbones.pretrained import load_weights, save_weights

__all__ = [
    "BACKBONES",
    "Architecture",
    "Network",
    "Preprocessing",
    "build",
    "initialise",
    "load_weights",
    "preprocess",
    "save_weights",
    "trunk",
]
