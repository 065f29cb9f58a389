"""HaS: parts of training photos are hidden, so that the network learns from other parts too (Singh, Lee; ICCV 2017)."""

import math

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.methods.cam import cam
from wsol_jax.methods.entry import Entry
from wsol_jax.methods.method import Labels, Method


def has(config: ConfigDict, classes: int) -> Method:
    """Return CAM trained on photos with hidden parts; see `hide`.

    Args:
        config: the keys of `train`, among them `has`.
        classes: number of classes.
    """

    def perturb(key: jax.Array, image: jax.Array, label: jax.Array) -> tuple[jax.Array, Labels]:
        return hide(key, image, config.has.cell, config.has.rate), [(label, 1.0)]

    return cam(config, classes)._replace(perturb=perturb)


def hide(key: jax.Array, image: jax.Array, cell: int, rate: float) -> jax.Array:
    """Return photos with random cells set to zero, the mean colour, as in wsolevaluation.

    Args:
        key: of the draw.
        image: preprocessed photos [b, h, w, 3].
        cell: side of a cell, pixels; the last of a row or column may be cut.
        rate: the probability that a cell is hidden.

    Returns:
        [b, h, w, 3].
    """
    b, h, w, _ = image.shape
    seen = jax.random.bernoulli(key, 1 - rate, (b, math.ceil(h / cell), math.ceil(w / cell), 1))
    return jnp.where(seen.repeat(cell, axis=1)[:, :h].repeat(cell, axis=2)[:, :, :w], image, 0)


def _check_keys(keys: ConfigDict) -> None:
    checks.positive(keys, "cell")
    checks.fraction(keys, "rate")


HAS = Entry(
    "HaS",
    has,
    defaults=dict(
        cell=4,  # side of a cell, pixels (DA-WSOL: 111)
        rate=0.5,  # probability that a cell is hidden (DA-WSOL: 0.19)
    ),
    check_keys=_check_keys,
)
