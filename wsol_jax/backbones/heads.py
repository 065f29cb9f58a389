"""Necks, from the last map to a vector, and heads, from a vector to logits or a box."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wsol_jax.backbones.convolutions import convolution
from wsol_jax.backbones.layers import ReLU


class GlobalPool(nn.Module):
    """The mean over space, and dropout.

    Attributes:
        dropout: fraction of the channels that training sets to zero.
    """

    dropout: float = 0.0

    @property
    def layers(self) -> tuple[str, ...]:
        """Return the names of its layers: it has none."""
        return ()

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """Return the vectors [b, d] of the last map [b, h, w, d]."""
        return nn.Dropout(self.dropout, deterministic=not train)(features.mean(axis=(1, 2)))


class FullyConnected(nn.Module):
    """VGG16's two hidden layers, each followed by ReLU and dropout 0.5, with torchvision's names and order.

    A map that is not 7x7 is averaged to 7x7 first, as torchvision does.

    Attributes:
        width: of both layers.
        dtype: of the computation; parameters are float32.
    """

    width: int = 4096
    dtype: str = "float32"

    @property
    def layers(self) -> tuple[str, ...]:
        """Return the names of its layers."""
        return ("classifier.0", "classifier.3")

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """Return the vectors [b, width] of the last map [b, h, w, d]."""
        x = adaptive_average_pool(features, 7) if features.shape[1:3] != (7, 7) else features
        x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)  # torch flattens channels first
        for layer in self.layers:
            x = ReLU()(nn.Dense(self.width, dtype=self.dtype, name=layer)(x))
            x = nn.Dropout(0.5, deterministic=not train)(x)
        return x


def adaptive_average_pool(features: jax.Array, size: int) -> jax.Array:
    """Return a map [b, size, size, d] of means of the map [b, h, w, d], as torch's AdaptiveAvgPool2d does.

    Cell i is the mean of rows floor(i h / size) up to ceil((i + 1) h / size), and of columns alike; so a map smaller
    than `size` repeats itself.
    """
    rows, columns = (_averages(n, size).astype(features.dtype) for n in features.shape[1:3])
    return jnp.einsum("ih,bhwd,jw->bijd", rows, features, columns, precision="highest")


def _averages(n: int, size: int) -> np.ndarray:
    """The weights float32 [size, n] of n cells in the mean of each bin."""
    cell, position = np.arange(size)[:, None], np.arange(n)[None]
    inside = (position >= cell * n // size) & (position < -(-(cell + 1) * n // size))
    return (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)


def _precise(x: jax.Array) -> jnp.dtype:
    """The dtype of a head: float32 at least."""
    return jnp.promote_types(x.dtype, jnp.float32)


class Classifier(nn.Module):
    """One linear layer, never in less than float32.

    Attributes:
        classes: number of classes.
        name_of_layer: its name in torchvision: 'fc', 'classifier', 'classifier.6'.
        pointwise: whether its kernel has the shape of a 1x1 convolution's, [1, 1, d, classes].
    """

    classes: int
    name_of_layer: str
    pointwise: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return logits, float32 [..., classes], of vectors [b, d] or of the cells of a map [b, h, w, d]."""
        if not self.pointwise:
            return nn.Dense(self.classes, dtype=_precise(x), name=self.name_of_layer)(x)
        conv = partial(nn.Conv, dtype=_precise(x), conv_general_dilated=convolution)
        layer = conv(self.classes, (1, 1), name=self.name_of_layer)
        return layer(x) if x.ndim == 4 else layer(x[:, None, None])[:, 0, 0]


class Box(nn.Module):
    """PSOL's box regression head: linear, ReLU, linear, sigmoid (`models.py` of the published code).

    It computes in float32 at least. The paper has two layers "and corresponding ReLU layers"; a second ReLU before the
    sigmoid would keep every output at or above one half, and the published code has none.

    Attributes:
        name_of_layer: the layer of torchvision that it replaces; its own layers are NAME.0 and NAME.2.
        hidden: width of the first layer.
    """

    name_of_layer: str
    hidden: int = 512

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return left, top, width, height in 0..1 of the network's input, float32 [b, 4], of vectors [b, d]."""
        x = nn.relu(nn.Dense(self.hidden, dtype=_precise(x), name=f"{self.name_of_layer}.0")(x))
        return nn.sigmoid(nn.Dense(4, dtype=_precise(x), name=f"{self.name_of_layer}.2")(x))
