"""EfficientNet-B0 to B7 (Tan and Le, 2019) and Lite0, which can be quantised, with timm's names.

The networks are those whose weights come from TensorFlow (timm's tf_efficientnet_*). Training here drops no blocks (the
paper: up to a fifth of them).
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax

from wsol_jax.backbones import convolutions, layers
from wsol_jax.backbones.architecture import Architecture
from wsol_jax.backbones.heads import GlobalPool
from wsol_jax.backbones.layers import Preprocessing

_EPSILON = 1e-3  # of batch norm, as in TensorFlow's weights


class Group(NamedTuple):
    """A row of the paper's table 1, without widths and depths, which depend on the network's scale.

    Attributes:
        kernel: side of the depthwise kernel.
        expansion: factor by which a block is wider inside.
    """

    kernel: int
    expansion: int


GROUPS = (Group(3, 1), Group(3, 6), Group(5, 6), Group(3, 6), Group(5, 6), Group(5, 6), Group(3, 6))


class Scale(NamedTuple):
    """The scale of a network relative to B0: the paper's compound scaling, with the published constants.

    Attributes:
        width: factor of the channels.
        depth: factor of the depths.
        size: side of the square input it was trained with, pixels.
        dropout: before the last layer.
    """

    width: float
    depth: float
    size: int
    dropout: float


SCALES = {
    "efficientnet_b0": Scale(1.0, 1.0, 224, 0.2),
    "efficientnet_b1": Scale(1.0, 1.1, 240, 0.2),
    "efficientnet_b2": Scale(1.1, 1.2, 260, 0.3),
    "efficientnet_b3": Scale(1.2, 1.4, 300, 0.3),
    "efficientnet_b4": Scale(1.4, 1.8, 380, 0.4),
    "efficientnet_b5": Scale(1.6, 2.2, 456, 0.4),
    "efficientnet_b6": Scale(1.8, 2.6, 528, 0.5),
    "efficientnet_b7": Scale(2.0, 3.1, 600, 0.5),
}


class SqueezeAndExcitation(nn.Module):
    """A factor in 0..1 for each channel, which depends on the means over space of all channels.

    Attributes:
        width: channels of the first of its two 1x1 convolutions.
        dtype: of the computation.
    """

    width: int
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return features [b, h, w, d] times the factors of their channels."""
        conv = partial(nn.Conv, kernel_size=(1, 1), dtype=self.dtype, conv_general_dilated=convolutions.convolution)
        y = nn.silu(conv(self.width, name="conv_reduce")(x.mean(axis=(1, 2), keepdims=True)))
        return x * nn.sigmoid(conv(x.shape[-1], name="conv_expand")(y))


class Block(nn.Module):
    """A block that widens (1x1), convolves depthwise (k x k), squeezes and excites, and narrows (1x1).

    SiLU follows the first two convolutions. There is a shortcut where the shape stays the same.

    Attributes:
        width: channels of the output.
        stride: factor by which the map shrinks.
        group: its kernel and expansion; without expansion there is no first convolution.
        lite: True for no squeeze-and-excitation, and ReLU6 instead of SiLU.
        dtype: of the computation.
    """

    width: int
    stride: int
    group: Group
    lite: bool
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Return features [b, h / stride, w / stride, width] of features [b, h, w, d]."""
        kernel, inside = (self.group.kernel, self.group.kernel), x.shape[-1] * self.group.expansion
        conv = partial(_convolution, dtype=self.dtype)
        norm = partial(layers.batch_norm, train=train, dtype=self.dtype, epsilon=_EPSILON)
        expands = self.group.expansion > 1
        inner_norm, narrow, outer_norm = ("bn2", "conv_pwl", "bn3") if expands else ("bn1", "conv_pw", "bn2")
        activation = layers.ReLU(nn.relu6) if self.lite else nn.silu
        y = activation(norm("bn1")(conv(inside, (1, 1), name="conv_pw")(x))) if expands else x
        y = conv(inside, kernel, strides=self.stride, feature_group_count=inside, name="conv_dw")(y)
        y = activation(norm(inner_norm)(y))
        if not self.lite:
            y = SqueezeAndExcitation(max(1, x.shape[-1] // 4), self.dtype, name="se")(y)
        y = norm(outer_norm)(conv(self.width, (1, 1), name=narrow)(y))
        return x + y if x.shape == y.shape else y


def _convolution(features: int, kernel: tuple[int, int], **options) -> nn.Conv:
    return nn.Conv(
        features,
        kernel,
        padding="SAME",  # TensorFlow's, which pads more on the right and below
        use_bias=False,
        conv_general_dilated=convolutions.convolution,
        **options,
    )


class EfficientNet(nn.Module):
    """A convolution, seven groups of blocks, and a 1x1 convolution; the last map has 1/32 of the photo's side.

    Its stages are conv_stem, blocks.0, ..., blocks.6, conv_head. With a `stride` of 16 blocks.5 keeps the size of the
    map, with 8 blocks.3 too.

    Attributes:
        widths: channels of each group.
        depths: blocks of each group.
        stem: channels of the first convolution.
        top: channels of the last one.
        lite: True for no squeeze-and-excitation, and ReLU6 instead of SiLU.
        stride: pixels of the photo per cell of the last map: 32, 16 or 8.
        dtype: of the computation; parameters are float32.
        freeze: the last stage that is not trained; '' trains every one.
        hook: see `layers.Hook`.
    """

    added: ClassVar[tuple[str, ...]] = ()
    omitted: ClassVar[tuple[str, ...]] = ()
    published_strides: ClassVar[Mapping[str, int]] = {
        "conv_stem": 2,
        "blocks.1": 2,
        "blocks.2": 2,
        "blocks.3": 2,
        "blocks.5": 2,
    }
    widths: tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)
    depths: tuple[int, ...] = (1, 2, 2, 3, 3, 4, 1)
    stem: int = 32
    top: int = 1280
    lite: bool = False
    stride: int = 32
    dtype: str = "float32"
    freeze: str = ""
    hook: layers.Hook | None = None

    @property
    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the layers of every stage, in order."""
        groups = {f"blocks.{g}": tuple(f"blocks.{g}.{i}" for i in range(d)) for g, d in enumerate(self.depths)}
        return {"conv_stem": ("conv_stem", "bn1"), **groups, "conv_head": ("conv_head", "bn2")}

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Return the map of every stage, of preprocessed photos [b, h, w, 3]; see `layers.walk`."""
        rows = dict(zip(self.stages, (None, *zip(self.widths, GROUPS, strict=True), None), strict=True))
        activation, strides = layers.ReLU(nn.relu6) if self.lite else nn.silu, layers.strides(self)

        def stage(name: str, x: jax.Array, train: bool) -> jax.Array:
            if name == "conv_stem":
                x = _convolution(self.stem, (3, 3), strides=2, dtype=self.dtype, name=name)(x)
                return activation(layers.batch_norm("bn1", train, self.dtype, _EPSILON)(x))
            if name == "conv_head":
                x = _convolution(self.top, (1, 1), dtype=self.dtype, name=name)(x)
                return activation(layers.batch_norm("bn2", train, self.dtype, _EPSILON)(x))
            width, group = rows[name]
            for i, layer in enumerate(self.stages[name]):
                stride = strides.get(name, 1) if i == 0 else 1
                x = Block(width, stride, group, self.lite, self.dtype, name=layer)(x, train)
            return x

        return layers.walk(self, image, train, self.stride, stage)


def scaled(scale: Scale) -> dict[str, int | tuple[int, ...]]:
    """Return the keyword arguments of an `EfficientNet` that is B0 at some scale.

    Channels are rounded to the nearest multiple of 8 that is not below nine tenths of the exact number, depths are
    rounded up.
    """

    def wide(channels: int) -> int:
        exact = channels * scale.width
        rounded = max(8, int(exact + 4) // 8 * 8)
        return rounded if rounded >= 0.9 * exact else rounded + 8

    b0 = EfficientNet()
    return dict(
        widths=tuple(wide(channels) for channels in b0.widths),
        depths=tuple(math.ceil(depth * scale.depth) for depth in b0.depths),
        stem=wide(b0.stem),
        top=wide(b0.top),
    )


def from_efficientnet_pytorch(name: str, depths: Sequence[int]) -> str:
    """Return our name, which is timm's, of an entry of the PyPI package efficientnet_pytorch.

    Args:
        name: of the entry.
        depths: of the network's groups.
    """
    whole = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    both = {"_depthwise_conv": "conv_dw", "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
    narrow = both | {"_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    wide = both | {"_expand_conv": "conv_pw", "_bn0": "bn1", "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}
    blocks = [(f"blocks.{g}.{i}", GROUPS[g].expansion > 1) for g, depth in enumerate(depths) for i in range(depth)]
    ours = dict(whole)
    for i, (block, expands) in enumerate(blocks):
        inner = wide if expands else narrow
        ours |= {f"_blocks.{i}.{theirs}": f"{block}.{layer}" for theirs, layer in inner.items()}
    layer, _, leaf = name.rpartition(".")
    return f"{ours[layer]}.{leaf}" if layer in ours else name


def _efficientnet(scale: Scale, lite: bool = False) -> Architecture:
    """B0 at some scale. Weights of AdvProp expect other photos, (x - 0.5) / 0.5."""
    size = scaled(scale)
    return Architecture(
        partial(EfficientNet, **size, lite=lite),
        "classifier",
        neck=lambda _: GlobalPool(scale.dropout),
        size=scale.size,
        resize=scale.size + 32,
        rename={"efficientnet_pytorch": partial(from_efficientnet_pytorch, depths=size["depths"])},
    )


EFFICIENTNETS = {name: _efficientnet(scale) for name, scale in SCALES.items()}
EFFICIENTNET_LITE0 = _efficientnet(SCALES["efficientnet_b0"], lite=True)._replace(
    preprocessing=Preprocessing(mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))
)
