"""Score maps: of a class, from features and weights, from nothing to one."""

from typing import Any

import jax
import jax.numpy as jnp

from wsol_jax.methods.method import Outputs, Prediction


def class_maps(features: jax.Array, head: dict[str, Any]) -> jax.Array:
    """The linear last layer at every cell instead of on their mean (CAM; Zhou et al., CVPR 2016, equation 2).

    The bias is left out, as in wsolevaluation; `unit_range` takes it out anyway.

    Args:
        features: [b, h, w, d].
        head: parameters of a head with one linear layer, {layer: {'kernel': [d, k] or [1, 1, d, k], ...}}.

    Returns:
        float32 [b, h, w, k]; their mean over space and the bias are the logits.
    """
    (layer,) = head.values()
    kernel = layer["kernel"]
    return features.astype(jnp.float32) @ kernel.reshape(kernel.shape[-2:])


def of_class(maps: jax.Array, label: jax.Array) -> jax.Array:
    """The map [b, h, w] of each photo's class, of maps [b, h, w, k] and labels int [b]."""
    return jnp.take_along_axis(maps, label.reshape(-1, 1, 1, 1), axis=-1)[..., 0]


def map_prediction(outputs: Outputs, label: jax.Array | None) -> Prediction:
    """The logits of 'classes' and the map [b, h, w] of a label int [b], or of the likeliest class where it is None."""
    logits = outputs.logits["classes"]
    return Prediction(logits, map=of_class(outputs.maps["classes"], logits.argmax(-1) if label is None else label))


def unit_range(maps: jax.Array) -> jax.Array:
    """Maps [b, h, w] moved and scaled to 0..1, each on its own; a constant map is zeros."""
    low = maps.min(axis=(1, 2), keepdims=True)
    span = maps.max(axis=(1, 2), keepdims=True) - low
    return jnp.where(span > 0, (maps - low) / jnp.where(span > 0, span, 1), 0)
