"""DenseNet (Huang et al., 2017), with torchvision's names."""

import re
from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsol_jax.backbones import convolutions, layers
from wsol_jax.backbones.architecture import Architecture
from wsol_jax.backbones.gradients import store_gradient


class DenseLayer(nn.Module):
    """Convolutions of 1x1 and 3x3, each after batch norm and ReLU, whose map is joined to its input.

    Attributes:
        growth: number of channels it adds; the first convolution has four times as many.
        dtype: of the computation.
    """

    growth: int
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Return features [b, h, w, d + growth] of features [b, h, w, d]."""
        conv = partial(nn.Conv, use_bias=False, dtype=self.dtype, conv_general_dilated=convolutions.convolution)
        norm = partial(layers.batch_norm, train=train, dtype=self.dtype)
        x = store_gradient(x)
        y = conv(4 * self.growth, (1, 1), name="conv1")(layers.ReLU()(norm("norm1")(x)))
        y = conv(self.growth, (3, 3), padding=1, name="conv2")(layers.ReLU()(norm("norm2")(y)))
        return jnp.concatenate([x, y], axis=-1)


class Transition(nn.Module):
    """Batch norm, ReLU, a 1x1 convolution to half the channels, and a mean over 2x2 cells.

    Attributes:
        stride: factor by which the map shrinks: 2, or 1 to leave out the mean.
        dtype: of the computation.
    """

    stride: int
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Return features [b, h / stride, w / stride, d / 2] of features [b, h, w, d]."""
        conv = partial(nn.Conv, use_bias=False, dtype=self.dtype, conv_general_dilated=convolutions.convolution)
        x = layers.ReLU()(layers.batch_norm("norm", train, self.dtype)(x))
        x = conv(x.shape[-1] // 2, (1, 1), name="conv")(x)
        return nn.avg_pool(x, (2, 2), strides=(2, 2)) if self.stride > 1 else x


class DenseNet(nn.Module):
    """A convolution, a max-pool, and blocks of dense layers with a transition, which halves the map, between them.

    Its stages are conv0 (after the ReLU, before the pool), denseblock1, transition1, ..., the last block, and norm5,
    which is after the ReLU that torchvision applies to `features(x)`. With a `stride` of 16 the last transition keeps
    the size of the map, with 8 the last two.

    Attributes:
        depths: layers of each block.
        width: channels of the first convolution.
        growth: number of channels that a layer adds.
        stride: pixels of the photo per cell of the last map: 32, 16 or 8.
        dtype: of the computation; parameters are float32.
        freeze: the last stage that is not trained; '' trains every one.
        hook: see `layers.Hook`.
    """

    added: ClassVar[tuple[str, ...]] = ()
    omitted: ClassVar[tuple[str, ...]] = ()
    published_strides: ClassVar[Mapping[str, int]] = {
        "conv0": 2,
        "denseblock1": 2,  # its max-pool
        "transition1": 2,
        "transition2": 2,
        "transition3": 2,
    }
    depths: tuple[int, ...] = (6, 12, 36, 24)
    width: int = 96
    growth: int = 48
    stride: int = 32
    dtype: str = "float32"
    freeze: str = ""
    hook: layers.Hook | None = None

    @property
    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the layers of every stage, in order."""
        stages = {"conv0": ("features.conv0", "features.norm0")}
        for block, depth in enumerate(self.depths, start=1):
            name = f"denseblock{block}"
            stages[name] = tuple(f"features.{name}.denselayer{i}" for i in range(1, depth + 1))
            if block < len(self.depths):
                stages[f"transition{block}"] = (f"features.transition{block}",)
        return stages | {"norm5": ("features.norm5",)}

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Return the map of every stage, of preprocessed photos [b, h, w, 3]; see `layers.walk`."""
        strides = layers.strides(self)

        def stage(name: str, x: jax.Array, train: bool) -> jax.Array:
            first, *others = self.stages[name]
            if name == "conv0":
                conv = partial(nn.Conv, use_bias=False, dtype=self.dtype, conv_general_dilated=convolutions.convolution)
                x = conv(self.width, (7, 7), 2, padding=3, name=first)(x)
                return layers.ReLU()(layers.batch_norm(*others, train, self.dtype)(x))
            if name == "norm5":
                return layers.ReLU()(layers.batch_norm(first, train, self.dtype)(x))
            if name.startswith("transition"):
                return Transition(strides[name], self.dtype, name=first)(x, train)
            if name == "denseblock1":
                x = convolutions.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
            for layer in (first, *others):
                x = DenseLayer(self.growth, self.dtype, name=layer)(x, train)
            return x

        return layers.walk(self, image, train, self.stride, stage)


def from_old_torchvision(name: str) -> str:
    """Return the present name of an entry of torchvision's published files, where norm1 of a layer was 'norm.1'."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name)


DENSENET161 = Architecture(DenseNet, "classifier", rename={"old torchvision": from_old_torchvision})
