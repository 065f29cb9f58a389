"""Dual path networks (Chen et al., 2017), with timm's names."""

from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsol_jax.backbones import convolutions, layers
from wsol_jax.backbones.layers import Preprocessing

_EPSILON = 1e-3  # of batch norm, as in the published weights, which come from MXNet

MXNET = Preprocessing(mean=(124.0, 117.0, 104.0), std=(1 / 0.0167, 1 / 0.0167, 1 / 0.0167))


class NormedConvolution(nn.Module):
    """Batch norm, ReLU, convolution.

    Attributes:
        width: channels.
        kernel: its side, odd; the map is padded by half of it.
        stride: by which the map shrinks.
        groups: of channels that do not see each other.
        dtype: what the map is computed in.
    """

    width: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Features [b, h, w, d] to [b, h / stride, w / stride, width]."""
        conv = nn.Conv(
            self.width,
            (self.kernel, self.kernel),
            self.stride,
            padding=self.kernel // 2,
            feature_group_count=self.groups,
            use_bias=False,
            dtype=self.dtype,
            conv_general_dilated=convolutions.convolution,
            name="conv",
        )
        return conv(nn.relu(layers.batch_norm("bn", train, self.dtype, _EPSILON)(x)))


class DualPathBlock(nn.Module):
    """1x1, 3x3 in groups, 1x1 convolutions; part of the map is added to the shortcut, the rest is joined to it.

    The first `width` channels are the residual path, all others the dense one.

    Attributes:
        width: channels of the residual path.
        inside: channels of the first two convolutions.
        increment: channels that are joined.
        groups: of the 3x3 convolution.
        stride: by which the map shrinks.
        is_first: of its group: the shortcut is a convolution, too.
        dtype: what the map is computed in.
    """

    width: int
    inside: int
    increment: int
    groups: int
    stride: int
    is_first: bool
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Features [b, h, w, d] to [b, h / stride, w / stride, d']."""
        conv = partial(NormedConvolution, dtype=self.dtype)
        shortcut = x
        if self.is_first:
            name = f"c1x1_w_s{self.stride}"
            shortcut = conv(self.width + 2 * self.increment, stride=self.stride, name=name)(x, train)
        y = conv(self.inside, name="c1x1_a")(x, train)
        y = conv(self.inside, 3, self.stride, self.groups, name="c3x3_b")(y, train)
        y = conv(self.width + self.increment, name="c1x1_c")(y, train)
        residual, dense = jnp.split(shortcut, [self.width], axis=-1)
        added, joined = jnp.split(y, [self.width], axis=-1)
        return jnp.concatenate([residual + added, dense, joined], axis=-1)


class DPN(nn.Module):
    """A convolution, a max-pool, and four groups of dual path blocks, each of which but the first halves the map.

    Its stages are conv1_1 (after the ReLU, before the pool), conv2, ..., conv5, and conv5_bn_ac, after batch norm and
    ReLU. (timm ends with an ELU in versions before 0.9, with this ReLU since.)

    Attributes:
        depths: blocks of each group.
        increments: channels that a block of each group joins.
        stem: channels of the first convolution.
        stem_kernel: side of its kernel.
        width: channels of the residual path of the first group; they double from group to group.
        inside: channels of the 3x3 convolutions of the first group; they double, too.
        groups: of these convolutions.
        dtype: what the maps are computed in; parameters are float32.
        freeze: the last stage that is not trained; '' trains every one.
    """

    added: ClassVar[tuple[str, ...]] = ()
    omitted: ClassVar[tuple[str, ...]] = ()
    depths: tuple[int, ...] = (4, 8, 28, 3)
    increments: tuple[int, ...] = (16, 32, 32, 128)
    stem: int = 128
    stem_kernel: int = 7
    width: int = 256
    inside: int = 160
    groups: int = 40
    dtype: str = "float32"
    freeze: str = ""

    @property
    def stages(self) -> dict[str, tuple[str, ...]]:
        """Every stage, in order, and the layers that belong to it."""
        groups = {
            f"conv{group}": tuple(f"features.conv{group}_{i}" for i in range(1, depth + 1))
            for group, depth in enumerate(self.depths, start=2)
        }
        first = {"conv1_1": ("features.conv1_1.conv", "features.conv1_1.bn")}
        return first | groups | {"conv5_bn_ac": ("features.conv5_bn_ac.bn",)}

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Preprocessed photos [b, h, w, 3] to the map of every stage; see `layers.walk`."""
        norm = partial(layers.batch_norm, dtype=self.dtype, epsilon=_EPSILON)

        def stage(name: str, x: jax.Array, train: bool) -> jax.Array:
            first, *others = self.stages[name]
            if name == "conv1_1":
                kernel = (self.stem_kernel, self.stem_kernel)
                conv = partial(nn.Conv, padding=self.stem_kernel // 2, use_bias=False, dtype=self.dtype)
                return nn.relu(norm(*others, train)(conv(self.stem, kernel, 2, name=first)(x)))
            if name == "conv5_bn_ac":
                return nn.relu(norm(first, train)(x))
            group = int(name.removeprefix("conv")) - 2
            if group == 0:
                x = convolutions.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
            widths = (self.width * 2**group, self.inside * 2**group, self.increments[group])
            for layer in (first, *others):
                is_first = layer == first
                stride = 2 if is_first and group > 0 else 1
                x = DualPathBlock(*widths, self.groups, stride, is_first, self.dtype, name=layer)(x, train)
            return x

        return layers.walk(self, image, train, 32, stage)
