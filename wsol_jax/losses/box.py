"""Box regression."""

import jax
import jax.numpy as jnp


def squared_error(box: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error over photos and coordinates (PSOL, section 3.2.2).

    Args:
        box: [b, 4], left, top, width, height in the frame of what the network sees.
        target: [b, 4], the same of the pseudo box.

    Returns:
        A scalar; the published code weighs it with 50.
    """
    return jnp.square(box.astype(jnp.float32) - target).mean()
