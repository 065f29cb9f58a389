"""Dual path networks (Chen et al., 2017), with timm's names."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsol_jax.backbones import convolutions, layers
from wsol_jax.backbones.architecture import Architecture
from wsol_jax.backbones.layers import Preprocessing

_EPSILON = 1e-3  # of batch norm, as in the published weights, which come from MXNet

MXNET = Preprocessing(mean=(124.0, 117.0, 104.0), std=(1 / 0.0167, 1 / 0.0167, 1 / 0.0167))


class NormedConvolution(nn.Module):
    """Batch norm, ReLU, convolution.

    Attributes:
        width: channels.
        kernel: side of the kernel, odd; the map is padded by half of it.
        stride: factor by which the map shrinks.
        groups: number of groups of channels that are convolved apart.
        dtype: of the computation.
    """

    width: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Return features [b, h / stride, w / stride, width] of features [b, h, w, d]."""
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
        return conv(layers.ReLU()(layers.batch_norm("bn", train, self.dtype, _EPSILON)(x)))


class DualPathBlock(nn.Module):
    """Convolutions of 1x1, 3x3 in groups, 1x1; part of their map is added to the shortcut, the rest is joined to it.

    The first `width` channels are the residual path, all others the dense one.

    Attributes:
        width: channels of the residual path.
        inside: channels of the first two convolutions.
        increment: number of channels that are joined.
        groups: of the 3x3 convolution.
        stride: factor by which the map shrinks.
        shortcut: name of the convolution on the shortcut; '' where there is none.
        dtype: of the computation.
    """

    width: int
    inside: int
    increment: int
    groups: int
    stride: int
    shortcut: str
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Return features [b, h / stride, w / stride, d'] of features [b, h, w, d]."""
        conv = partial(NormedConvolution, dtype=self.dtype)
        shortcut = x
        if self.shortcut:
            shortcut = conv(self.width + 2 * self.increment, stride=self.stride, name=self.shortcut)(x, train)
        y = conv(self.inside, name="c1x1_a")(x, train)
        y = conv(self.inside, 3, self.stride, self.groups, name="c3x3_b")(y, train)
        y = conv(self.width + self.increment, name="c1x1_c")(y, train)
        residual, dense = jnp.split(shortcut, [self.width], axis=-1)
        added, joined = jnp.split(y, [self.width], axis=-1)
        return jnp.concatenate([residual + added, dense, joined], axis=-1)


class DPN(nn.Module):
    """A convolution, a max-pool, and four groups of dual path blocks, each of which halves the map except the first.

    Its stages are conv1_1 (after the ReLU, before the pool), conv2, ..., conv5, and conv5_bn_ac, after batch norm and
    ReLU. (timm ends with an ELU in versions before 0.9, with this ReLU since.) With a `stride` of 16 the last group
    keeps the size of the map, with 8 the last two.

    Attributes:
        depths: blocks of each group.
        increments: number of channels that a block of each group joins.
        stem: channels of the first convolution.
        stem_kernel: side of its kernel.
        width: channels of the residual path of the first group; they double from group to group.
        inside: channels of the 3x3 convolutions of the first group; they double, too.
        groups: of these convolutions.
        stride: pixels of the photo per cell of the last map: 32, 16 or 8.
        dtype: of the computation; parameters are float32.
        freeze: the last stage that is not trained; '' trains every one.
        hook: see `layers.Hook`.
    """

    added: ClassVar[tuple[str, ...]] = ()
    omitted: ClassVar[tuple[str, ...]] = ()
    published_strides: ClassVar[Mapping[str, int]] = {"conv1_1": 2, "conv2": 2, "conv3": 2, "conv4": 2, "conv5": 2}
    depths: tuple[int, ...] = (4, 8, 28, 3)
    increments: tuple[int, ...] = (16, 32, 32, 128)
    stem: int = 128
    stem_kernel: int = 7
    width: int = 256
    inside: int = 160
    groups: int = 40
    stride: int = 32
    dtype: str = "float32"
    freeze: str = ""
    hook: layers.Hook | None = None

    @property
    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the layers of every stage, in order."""
        groups = {
            f"conv{group}": tuple(f"features.conv{group}_{i}" for i in range(1, depth + 1))
            for group, depth in enumerate(self.depths, start=2)
        }
        first = {"conv1_1": ("features.conv1_1.conv", "features.conv1_1.bn")}
        return first | groups | {"conv5_bn_ac": ("features.conv5_bn_ac.bn",)}

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Return the map of every stage, of preprocessed photos [b, h, w, 3]; see `layers.walk`."""
        norm = partial(layers.batch_norm, dtype=self.dtype, epsilon=_EPSILON)
        strides = layers.strides(self)

        def stage(name: str, x: jax.Array, train: bool) -> jax.Array:
            first, *others = self.stages[name]
            if name == "conv1_1":
                kernel = (self.stem_kernel, self.stem_kernel)
                conv = partial(nn.Conv, padding=self.stem_kernel // 2, use_bias=False, dtype=self.dtype)
                return layers.ReLU()(norm(*others, train)(conv(self.stem, kernel, 2, name=first)(x)))
            if name == "conv5_bn_ac":
                return layers.ReLU()(norm(first, train)(x))
            group = int(name.removeprefix("conv")) - 2
            if group == 0:
                x = convolutions.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
            widths = (self.width * 2**group, self.inside * 2**group, self.increments[group])
            shortcut = "c1x1_w_s2" if group > 0 else "c1x1_w_s1"  # the published names, also without the stride
            for layer in (first, *others):
                stride = strides[name] if layer == first and group > 0 else 1  # conv2 shrinks by its pool
                convolved = shortcut if layer == first else ""
                x = DualPathBlock(*widths, self.groups, stride, convolved, self.dtype, name=layer)(x, train)
            return x

        return layers.walk(self, image, train, self.stride, stage)


def _dpn(depths: tuple[int, ...], increments: tuple[int, ...], **widths: int) -> Architecture:
    backbone = partial(DPN, depths=depths, increments=increments, **widths)
    return Architecture(backbone, "classifier", pointwise=True, preprocessing=MXNET)


DPN68 = _dpn((3, 4, 12, 3), (16, 32, 32, 64), stem=10, stem_kernel=3, width=64, inside=128, groups=32)
DPN92 = _dpn((3, 4, 20, 3), (16, 32, 24, 128), stem=64, inside=96, groups=32)
DPN98 = _dpn((3, 6, 20, 3), (16, 32, 32, 128), stem=96, inside=160, groups=40)
DPN131 = _dpn((4, 8, 28, 3), (16, 32, 32, 128), stem=128, inside=160, groups=40)
