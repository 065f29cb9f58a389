"""The classification loss and accuracy."""

import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Return the mean over photos of -log softmax(logits)[label].

    Args:
        logits: [b, k].
        label: int [b].

    Returns:
        A scalar.
    """
    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), label).mean()


def accuracy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """Return the share of photos, 0 to 1, whose most probable class is the label.

    Args:
        logits: [b, k].
        label: int [b].
    """
    return (logits.argmax(-1) == label).astype(jnp.float32).mean()
