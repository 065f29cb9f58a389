"""ConvNeXt (Liu et al., 2022), with torchvision's names.

Training here leaves out stochastic depth (the paper: up to a tenth of the blocks of the tiny network). The published
classifier normalises the mean of the last map, so its logits are not the mean of a map of them. The network for score
maps, with a `stride` below 32, normalises every cell of the map instead, by the same weights, and then takes the mean.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsol_jax.backbones import convolutions, layers
from wsol_jax.backbones.architecture import Architecture
from wsol_jax.backbones.heads import GlobalPool

_LAST_NORM = "classifier.0"
_LAYER_SCALE = 1e-6  # before training


def _layer_norm(name: str, dtype: str) -> nn.LayerNorm:
    return nn.LayerNorm(epsilon=1e-6, dtype=dtype, use_fast_variance=False, name=name)


class Block(nn.Module):
    """A depthwise 7x7 convolution, layer norm, two linear layers with GELU between them, and a scaled residual.

    Attributes:
        dtype: of the computation.
    """

    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return features [b, h, w, d] of features [b, h, w, d]."""
        width = x.shape[-1]
        conv = partial(nn.Conv, dtype=self.dtype, conv_general_dilated=convolutions.convolution)
        y = conv(width, (7, 7), padding=3, feature_group_count=width, name="block.0")(x)
        y = _layer_norm("block.2", self.dtype)(y)
        y = nn.Dense(4 * width, dtype=self.dtype, name="block.3")(y)
        y = nn.Dense(width, dtype=self.dtype, name="block.5")(nn.gelu(y, approximate=False))
        scale = self.param("layer_scale", nn.initializers.constant(_LAYER_SCALE), (width,))
        return x + y * scale.astype(y.dtype).reshape(1, 1, 1, -1)


class ConvNeXt(nn.Module):
    """A 4x4 convolution of stride 4 and four stages of blocks, with a 2x2 convolution that halves the map between them.

    Its stages are stem, stages.0, ..., stages.3 (timm's words), the 2x2 convolution belongs to the stage after it. With
    a `stride` of 16 that of stages.3 keeps the size of the map, with 8 that of stages.2 too; both end with one more
    stage, norm, the layer norm of the published classifier applied to every cell.

    Attributes:
        depths: blocks of each stage.
        widths: channels of each stage.
        stride: pixels of the photo per cell of the last map: 32, 16 or 8.
        dtype: of the computation; parameters are float32.
        freeze: the last stage that is not trained; '' trains every one.
        hook: see `layers.Hook`.
    """

    added: ClassVar[tuple[str, ...]] = ()
    omitted: ClassVar[tuple[str, ...]] = ()
    initialisers: ClassVar[Mapping[str, float]] = {"layer_scale": _LAYER_SCALE}
    published_strides: ClassVar[Mapping[str, int]] = {"stem": 4, "stages.1": 2, "stages.2": 2, "stages.3": 2}
    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    stride: int = 32
    dtype: str = "float32"
    freeze: str = ""
    hook: layers.Hook | None = None

    @property
    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the layers of every stage, in order."""
        stages = {"stem": ("features.0.0", "features.0.1")}
        for i, depth in enumerate(self.depths):
            down = (f"features.{2 * i}.0", f"features.{2 * i}.1") if i else ()
            stages[f"stages.{i}"] = (*down, *(f"features.{2 * i + 1}.{block}" for block in range(depth)))
        return stages if self.stride == 32 else stages | {"norm": (_LAST_NORM,)}

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Return the map of every stage, of preprocessed photos [b, h, w, 3]; see `layers.walk`."""
        strides = layers.strides(self)
        norm = partial(_layer_norm, dtype=self.dtype)
        conv = partial(nn.Conv, dtype=self.dtype, conv_general_dilated=convolutions.convolution)

        def stage(name: str, x: jax.Array, _: bool) -> jax.Array:
            names = self.stages[name]
            if name == "norm":
                return norm(*names)(x)
            if name == "stem":
                return norm(names[1])(conv(self.widths[0], (4, 4), 4, padding="VALID", name=names[0])(x))
            i = int(name.removeprefix("stages."))
            if i > 0:
                first, second, *names = names
                # without its stride it sees one more row and column of zeros, and gives the same at every second cell
                padding = "VALID" if strides[name] > 1 else [(0, 1), (0, 1)]
                x = conv(self.widths[i], (2, 2), strides[name], padding=padding, name=second)(norm(first)(x))
            for block in names:
                x = Block(self.dtype, name=block)(x)
            return x

        return layers.walk(self, image, train, self.stride, stage)


class NormedPool(nn.Module):
    """The mean over space, then layer norm: the published classifier without its last layer.

    Attributes:
        dtype: of the backbone; the norm is computed in float32 at least.
    """

    dtype: str

    @property
    def layers(self) -> tuple[str, ...]:
        """Return the names of its layers."""
        return (_LAST_NORM,)

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """Return the vectors [b, d] of the last map [b, h, w, d]."""
        return _layer_norm(_LAST_NORM, jnp.promote_types(self.dtype, jnp.float32))(features.mean(axis=(1, 2)))


def from_timm(name: str) -> str:
    """Return our name, which is torchvision's, of an entry of timm's ConvNeXt."""
    parts = {"conv_dw": "block.0", "norm": "block.2", "mlp.fc1": "block.3", "mlp.fc2": "block.5"}
    if name.startswith("stem."):
        return f"features.0.{name.removeprefix('stem.')}"
    if name.startswith(("head.norm.", "head.fc.")):
        return name.replace("head.norm.", "classifier.0.").replace("head.fc.", "classifier.2.")
    if match := re.fullmatch(r"stages\.(\d)\.downsample\.(.+)", name):
        return f"features.{2 * int(match[1])}.{match[2]}"
    if match := re.fullmatch(r"stages\.(\d)\.blocks\.(\d+)\.(?:(gamma)|(.+)\.(\w+))", name):
        leaf = "layer_scale" if match[3] else f"{parts.get(match[4], match[4])}.{match[5]}"
        return f"features.{2 * int(match[1]) + 1}.{match[2]}.{leaf}"
    return name


CONVNEXT_TINY = Architecture(
    ConvNeXt,
    "classifier.2",
    neck=lambda backbone: NormedPool(backbone.dtype) if backbone.stride == 32 else GlobalPool(),
    resize=236,
    rename={"timm": from_timm},
)
