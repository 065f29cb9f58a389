"""ADL: an attention that now and then drops the most striking cells of a map (Choe, Shim; CVPR 2019)."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.errors import InputError
from wsol_jax.methods.cam import of_network
from wsol_jax.methods.entry import Entry
from wsol_jax.methods.method import Method
from wsol_jax.methods.networks import make_network

RESNET = ("layer3.0", "layer4.0", "layer4.2")
AFTER = {  # where wsolevaluation has it
    "resnet50": RESNET,
    "resnet50_v1": RESNET,
    "vgg_gap": ("pool3", "relu4_3", "relu5_3"),
    "inception_v3": ("Mixed_5d", "Mixed_6e", "SPG_A3_2b"),
}


def adl(config: ConfigDict, classes: int) -> Method:
    """CAM with `attend` after some layers of the network.

    Args:
        config: the keys of `train` in configs/base.py, among them `adl`.
        classes: how many there are.

    Raises:
        InputError: it is not published where the attention goes in this network.
    """
    if config.arch not in AFTER:
        raise InputError(f"adl: arch is {config.arch!r}; expected one of {', '.join(AFTER)}")
    hook = partial(_attend_after, AFTER[config.arch], config.adl.rate, config.adl.threshold)
    return of_network(make_network(config, classes, hook=hook), config)


def _attend_after(
    places: tuple[str, ...], rate: float, threshold: float, module: nn.Module, name: str, x: jax.Array, train: bool
) -> jax.Array:
    return attend(module.make_rng("dropout"), x, rate, threshold) if train and name in places else x


def attend(key: jax.Array, features: jax.Array, rate: float, threshold: float) -> jax.Array:
    """With probability `rate` drops the cells of a batch where its channels are large in the mean, else weighs them.

    Args:
        key: of the one draw for the batch.
        features: [b, h, w, d].
        rate: of dropping.
        threshold: the share of a photo's largest mean from which a cell is dropped.

    Returns:
        [b, h, w, d], features times 0 or 1, or times the sigmoid of the mean over channels.
    """
    mean = features.mean(axis=-1, keepdims=True)
    kept = mean < threshold * mean.max(axis=(1, 2), keepdims=True)
    return features * jnp.where(jax.random.bernoulli(key, rate), kept.astype(features.dtype), nn.sigmoid(mean))


ADL = Entry(
    "ADL",
    adl,
    defaults=dict(
        rate=0.75,  # probability that a batch's cells are dropped
        threshold=0.9,  # of a photo's largest mean, from which a cell is dropped (VGG: 0.8)
    ),
    check_keys=lambda keys: checks.fraction(keys, "rate", "threshold"),
)
