"""Count, mean and scatter of descriptors, in one pass, merged without cancellation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Moments(NamedTuple):
    """The moments of a set of descriptors.

    Attributes:
        count: number of descriptors; scalar.
        mean: [d].
        scatter: [d, d], the sum of (x - mean)(x - mean)^T.
    """

    count: jax.Array | np.ndarray
    mean: jax.Array | np.ndarray
    scatter: jax.Array | np.ndarray


def empty(dimensions: int) -> Moments:
    """Return the moments of no descriptors, float64: the identity of `merge`."""
    return Moments(np.zeros(()), np.zeros(dimensions), np.zeros((dimensions, dimensions)))


def of(features: jax.Array, weight: jax.Array) -> Moments:
    """Return the moments of all cells of a batch, float32, summed over every device that holds a part of it.

    Args:
        features: [b, h, w, d].
        weight: [b], 1 for a photo that counts and 0 for one that does not.
    """
    b, h, w, d = features.shape
    cells = features.astype(jnp.float32).reshape(b, h * w, d)
    count = weight.sum() * h * w
    mean = jnp.einsum("b,bpd->d", weight, cells, precision="highest") / jnp.maximum(count, 1)
    centred = cells - mean[None, None]
    scatter = jnp.einsum("b,bpd,bpe->de", weight, centred, centred, precision="highest")
    return Moments(count, mean, scatter)


def merge(a: Moments, b: Moments) -> Moments:
    """Return the moments of the union of two sets (Chan, Golub, LeVeque 1979), float64 on the host.

    It is associative up to rounding.
    """
    a, b = (Moments(*(np.asarray(x, np.float64) for x in m)) for m in (a, b))
    count = a.count + b.count
    if count == 0:
        return a
    shift = b.mean - a.mean
    mean = a.mean + shift * (b.count / count)
    return Moments(count, mean, a.scatter + b.scatter + np.outer(shift, shift) * (a.count * b.count / count))
