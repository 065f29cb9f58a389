"""Score maps: the map of a class from features and weights, and its scaling to 0..1."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from wsol_jax.methods.method import ClassMaps, Outputs, Prediction


def class_maps(features: jax.Array, head: dict[str, Any]) -> ClassMaps:
    """Return the map of every class: the linear last layer applied to each cell (CAM, equation 2).

    The bias is left out, as in wsolevaluation; it would not change the maps that `unit_range` scales.

    Args:
        features: [b, h, w, d].
        head: parameters of a head with one linear layer, {layer: {'kernel': [d, k] or [1, 1, d, k], ...}}.

    Returns:
        The maps; their mean over space plus the bias are the logits.
    """
    (layer,) = head.values()
    kernel = layer["kernel"]
    return ClassMaps(features, kernel.reshape(kernel.shape[-2:]))


class CellClassifier(nn.Module):
    """A linear layer on every cell, with the parameters of a 1x1 convolution.

    Attributes:
        classes: number of classes.
    """

    classes: int

    @nn.compact
    def __call__(self, features: jax.Array) -> ClassMaps:
        """Return the maps of the classes, of features [b, h, w, d]."""
        shape = (1, 1, features.shape[-1], self.classes)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        return ClassMaps(features, kernel[0, 0], self.param("bias", nn.initializers.zeros, (self.classes,)))


def of_class(maps: ClassMaps, label: jax.Array) -> jax.Array:
    """Return the map of each photo's class, float32 [b, h, w].

    Args:
        maps: of all classes.
        label: int [b].
    """
    weights = jnp.take(maps.kernel, label, axis=1)
    of_label = jnp.einsum("bhwd,db->bhw", maps.features.astype(jnp.float32), weights)
    return of_label if maps.bias is None else of_label + maps.bias[label].reshape(-1, 1, 1)


def mean_of_maps(maps: ClassMaps) -> jax.Array:
    """Return the mean over space of every class's map, float32 [b, k]: the layer applied to the mean of the cells."""
    means = maps.features.astype(jnp.float32).mean(axis=(1, 2)) @ maps.kernel
    return means if maps.bias is None else means + maps.bias[None]


def shown_class(logits: jax.Array, label: jax.Array | None) -> jax.Array:
    """Return the class whose map is shown, int [b]: the label, or the most probable class where there is none.

    Args:
        logits: [b, k].
        label: int [b], -1 for an unlabelled photo; None where no photo has one.
    """
    probable = logits.argmax(-1)
    return probable if label is None else jnp.where(label < 0, probable, label)


def map_prediction(outputs: Outputs, label: jax.Array | None) -> Prediction:
    """Return the logits of 'classes' and the map [b, h, w] of each photo's `shown_class`."""
    logits = outputs.logits["classes"]
    return Prediction(logits, map=of_class(outputs.maps["classes"], shown_class(logits, label)))


def unit_range(maps: jax.Array) -> jax.Array:
    """Return maps [b, h, w] shifted and scaled to 0..1, each on its own; a constant map becomes zeros."""
    low = maps.min(axis=(1, 2), keepdims=True)
    span = maps.max(axis=(1, 2), keepdims=True) - low
    return jnp.where(span > 0, (maps - low) / jnp.where(span > 0, span, 1), 0)
