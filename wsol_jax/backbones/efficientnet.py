"""EfficientNet-Lite0 (Tan and Le, 2019; the Lite variant has no squeeze-and-excitation), with timm's names."""

from functools import partial
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax

from wsol_jax.backbones import layers

_EPSILON = 1e-3  # of batch norm, as in TensorFlow's weights


class Group(NamedTuple):
    """One row of the paper's table 1; widths and depths are the network's own.

    Attributes:
        kernel: side of the depthwise kernel.
        stride: of the group's first block.
        expansion: how many times wider a block is inside.
    """

    kernel: int
    stride: int
    expansion: int


GROUPS = (
    Group(3, 1, 1),
    Group(3, 2, 6),
    Group(5, 2, 6),
    Group(3, 2, 6),
    Group(5, 1, 6),
    Group(5, 2, 6),
    Group(3, 1, 6),
)


class Block(nn.Module):
    """Widen (1x1), depthwise k x k, narrow (1x1, no ReLU); a shortcut where the shape stays.

    Attributes:
        width: channels of the output.
        stride: by which the map shrinks.
        group: its kernel and expansion; one that does not expand has no first convolution.
        dtype: what the map is computed in.
    """

    width: int
    stride: int
    group: Group
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Features [b, h, w, d] to [b, h / stride, w / stride, width]."""
        kernel, inside = (self.group.kernel, self.group.kernel), x.shape[-1] * self.group.expansion
        conv = partial(_convolution, dtype=self.dtype)
        norm = partial(layers.batch_norm, train=train, dtype=self.dtype, epsilon=_EPSILON)
        expands = self.group.expansion > 1
        inner_norm, narrow, outer_norm = ("bn2", "conv_pwl", "bn3") if expands else ("bn1", "conv_pw", "bn2")
        y = nn.relu6(norm("bn1")(conv(inside, (1, 1), name="conv_pw")(x))) if expands else x
        y = conv(inside, kernel, strides=self.stride, feature_group_count=inside, name="conv_dw")(y)
        y = nn.relu6(norm(inner_norm)(y))
        y = norm(outer_norm)(conv(self.width, (1, 1), name=narrow)(y))
        return x + y if x.shape == y.shape else y


def _convolution(features: int, kernel: tuple[int, int], **options) -> nn.Conv:
    return nn.Conv(
        features,
        kernel,
        padding="SAME",  # TensorFlow's, which pads more on the right and below
        use_bias=False,
        conv_general_dilated=layers.convolution,
        **options,
    )


class EfficientNet(nn.Module):
    """A convolution, seven groups of blocks, and a 1x1 convolution; the last map has 1/32 of the photo's side.

    Its stages are conv_stem, blocks.0, ..., blocks.6, conv_head.

    Attributes:
        widths: channels of each group.
        depths: blocks of each group.
        stem: channels of the first convolution.
        top: channels of the last.
        dtype: what the maps are computed in; parameters are float32.
        freeze: the last stage that is not trained; '' trains every one.
    """

    added: ClassVar[tuple[str, ...]] = ()
    omitted: ClassVar[tuple[str, ...]] = ()
    widths: tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)
    depths: tuple[int, ...] = (1, 2, 2, 3, 3, 4, 1)
    stem: int = 32
    top: int = 1280
    dtype: str = "float32"
    freeze: str = ""

    @property
    def stages(self) -> dict[str, tuple[str, ...]]:
        """Every stage, in order, and the layers that belong to it."""
        groups = {f"blocks.{g}": tuple(f"blocks.{g}.{i}" for i in range(d)) for g, d in enumerate(self.depths)}
        return {"conv_stem": ("conv_stem", "bn1"), **groups, "conv_head": ("conv_head", "bn2")}

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Preprocessed photos [b, h, w, 3] to the map of every stage; see `layers.walk`."""
        rows = dict(zip(self.stages, (None, *zip(self.widths, GROUPS, strict=True), None), strict=True))

        def stage(name: str, x: jax.Array, train: bool) -> jax.Array:
            if name == "conv_stem":
                x = _convolution(self.stem, (3, 3), strides=2, dtype=self.dtype, name=name)(x)
                return nn.relu6(layers.batch_norm("bn1", train, self.dtype, _EPSILON)(x))
            if name == "conv_head":
                x = _convolution(self.top, (1, 1), dtype=self.dtype, name=name)(x)
                return nn.relu6(layers.batch_norm("bn2", train, self.dtype, _EPSILON)(x))
            width, group = rows[name]
            for i, layer in enumerate(self.stages[name]):
                x = Block(width, group.stride if i == 0 else 1, group, self.dtype, name=layer)(x, train)
            return x

        return layers.walk(self, image, train, 32, stage)


def from_efficientnet_pytorch(name: str) -> str:
    """The name in timm of an entry of the PyPI package efficientnet_pytorch's EfficientNet-Lite0."""
    whole = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    narrow = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    wide = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    wide |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    blocks = [layer for stage, names in EfficientNet().stages.items() if stage.startswith("blocks") for layer in names]
    ours = dict(whole)
    for i, block in enumerate(blocks):
        inner = wide if i else narrow
        ours |= {f"_blocks.{i}.{theirs}": f"{block}.{layer}" for theirs, layer in inner.items()}
    layer, _, leaf = name.rpartition(".")
    return f"{ours[layer]}.{leaf}" if layer in ours else name
