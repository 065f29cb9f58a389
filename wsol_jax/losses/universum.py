"""Universum: the features of pixels that belong to no class are pulled to zero (DA-WSOL, section 3.3, Eq. 4)."""

import jax
import jax.numpy as jnp

from wsol_jax.errors import InputError


def l1(features: jax.Array, chosen: jax.Array, reduction: str) -> jax.Array:
    """Return the mean or sum of the absolute values of the chosen pixels' features.

    Args:
        features: [b, n, d], the n pixels of each photo.
        chosen: bool [b, n], the pixels of the Universum; the values of the others have no influence.
        reduction: 'mean' over chosen pixels and channels of the whole batch, as DA-WSOL's code does, or their 'sum',
            Eq. 4 of the paper.

    Returns:
        A scalar, 0 where nothing is chosen (the published code gives NaN).

    Raises:
        InputError: `reduction` is neither.
    """
    if reduction not in ("mean", "sum"):
        raise InputError(f"universum: reduction is {reduction!r}; expected 'mean' or 'sum'")
    total = jnp.abs(jnp.where(chosen[:, :, None], features.astype(jnp.float32), 0)).sum()
    return total if reduction == "sum" else total / jnp.maximum(chosen.sum(), 1) / features.shape[-1]
