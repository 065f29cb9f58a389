"""ADL: attention that at random drops the most active cells of a map (Choe and Shim, CVPR 2019)."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.backbones import BACKBONES
from wsol_jax.errors import InputError
from wsol_jax.methods.cam import of_network
from wsol_jax.methods.entry import Entry
from wsol_jax.methods.method import Method
from wsol_jax.methods.networks import make_network


def adl(config: ConfigDict, classes: int) -> Method:
    """Return CAM with `attend` after some layers of the network, in training.

    Args:
        config: the keys of `train`, among them `adl`.
        classes: number of classes.

    Raises:
        InputError: no places of the attention are published for this architecture.
    """
    places = {name: spec.adl_after for name, spec in BACKBONES.items() if spec.adl_after}
    if config.arch not in places:
        raise InputError(f"adl: arch is {config.arch!r}; expected one of {', '.join(places)}")
    hook = partial(_attend_after, places[config.arch], config.adl.rate, config.adl.threshold)
    return of_network(make_network(config, classes, hook=hook), config)


def _attend_after(
    places: tuple[str, ...], rate: float, threshold: float, module: nn.Module, name: str, x: jax.Array, train: bool
) -> jax.Array:
    return attend(module.make_rng("dropout"), x, rate, threshold) if train and name in places else x


def attend(key: jax.Array, features: jax.Array, rate: float, threshold: float) -> jax.Array:
    """Return features without their most active cells, or weighted by their attention.

    The attention of a cell is the mean of its channels. One draw decides for the whole batch: with probability `rate`
    cells are dropped, otherwise all of them are weighted (section 3 of the paper).

    Args:
        key: a jax random key.
        features: [b, h, w, d].
        rate: probability that cells are dropped.
        threshold: fraction of a photo's largest attention from which on a cell is dropped.

    Returns:
        [b, h, w, d], features times 0 or 1, or times the sigmoid of the attention.
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
