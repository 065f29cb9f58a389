"""DenseNet (Huang et al., 2017), with torchvision's names."""

import re
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsol_jax.backbones import convolutions, layers


class DenseLayer(nn.Module):
    """1x1 and 3x3 convolutions, each after batch norm and ReLU, whose map is joined to all that came before.

    Attributes:
        growth: channels that it adds; the first convolution has four times as many.
        dtype: what the map is computed in.
    """

    growth: int
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Features [b, h, w, d] to [b, h, w, d + growth]."""
        conv = partial(nn.Conv, use_bias=False, dtype=self.dtype, conv_general_dilated=convolutions.convolution)
        norm = partial(layers.batch_norm, train=train, dtype=self.dtype)
        y = conv(4 * self.growth, (1, 1), name="conv1")(nn.relu(norm("norm1")(x)))
        y = conv(self.growth, (3, 3), padding=1, name="conv2")(nn.relu(norm("norm2")(y)))
        return jnp.concatenate([x, y], axis=-1)


class Transition(nn.Module):
    """Batch norm, ReLU, a 1x1 convolution to half the channels, and a mean over 2x2 cells.

    Attributes:
        dtype: what the map is computed in.
    """

    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Features [b, h, w, d] to [b, h / 2, w / 2, d / 2]."""
        conv = partial(nn.Conv, use_bias=False, dtype=self.dtype, conv_general_dilated=convolutions.convolution)
        x = nn.relu(layers.batch_norm("norm", train, self.dtype)(x))
        return nn.avg_pool(conv(x.shape[-1] // 2, (1, 1), name="conv")(x), (2, 2), strides=(2, 2))


class DenseNet(nn.Module):
    """A convolution, a max-pool, and blocks of dense layers with a transition, which halves the map, between them.

    Its stages are conv0 (after the ReLU, before the pool), denseblock1, transition1, ..., the last block, and norm5,
    which is after the ReLU that torchvision applies to `features(x)`.

    Attributes:
        depths: layers of each block.
        width: channels of the first convolution.
        growth: channels that a layer adds.
        dtype: what the maps are computed in; parameters are float32.
        freeze: the last stage that is not trained; '' trains every one.
    """

    added: ClassVar[tuple[str, ...]] = ()
    omitted: ClassVar[tuple[str, ...]] = ()
    depths: tuple[int, ...] = (6, 12, 36, 24)
    width: int = 96
    growth: int = 48
    dtype: str = "float32"
    freeze: str = ""

    @property
    def stages(self) -> dict[str, tuple[str, ...]]:
        """Every stage, in order, and the layers that belong to it."""
        stages = {"conv0": ("features.conv0", "features.norm0")}
        for block, depth in enumerate(self.depths, start=1):
            name = f"denseblock{block}"
            stages[name] = tuple(f"features.{name}.denselayer{i}" for i in range(1, depth + 1))
            if block < len(self.depths):
                stages[f"transition{block}"] = (f"features.transition{block}",)
        return stages | {"norm5": ("features.norm5",)}

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Preprocessed photos [b, h, w, 3] to the map of every stage; see `layers.walk`."""

        def stage(name: str, x: jax.Array, train: bool) -> jax.Array:
            first, *others = self.stages[name]
            if name == "conv0":
                x = nn.Conv(self.width, (7, 7), 2, padding=3, use_bias=False, dtype=self.dtype, name=first)(x)
                return nn.relu(layers.batch_norm(*others, train, self.dtype)(x))
            if name == "norm5":
                return nn.relu(layers.batch_norm(first, train, self.dtype)(x))
            if name.startswith("transition"):
                return Transition(self.dtype, name=first)(x, train)
            if name == "denseblock1":
                x = convolutions.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
            for layer in (first, *others):
                x = DenseLayer(self.growth, self.dtype, name=layer)(x, train)
            return x

        return layers.walk(self, image, train, 2 ** (len(self.depths) + 1), stage)


def from_old_torchvision(name: str) -> str:
    """The name of an entry of torchvision's published files, where 'norm.1' of a dense layer is what is norm1 since."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)
