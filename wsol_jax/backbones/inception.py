"""InceptionV3 (Szegedy et al., 2016), with torchvision's names, its auxiliary head, and its variant for score maps.

torchvision's weights come from TensorFlow and expect (x - 0.5) / 0.5; its `transform_input=True` computes that from a
photo normalised with ImageNet's mean. Here the photo is normalised so at once, and nothing is transformed.
"""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from wsol_jax.backbones import convolutions, layers
from wsol_jax.backbones.architecture import Architecture, AuxiliaryHead, SidePlaces
from wsol_jax.backbones.heads import GlobalPool
from wsol_jax.backbones.layers import Preprocessing
from wsol_jax.errors import InputError

_EPSILON = 1e-3  # of batch norm, as in TensorFlow's weights
_ROW, _COLUMN = (1, 7), (7, 1)
_SMALLEST = {32: 75, 16: 15, 8: 11}  # stride -> the shortest side of a photo that leaves one cell of the last map

Branches = Mapping[str, tuple[tuple, ...]]
"""{branch: its convolutions}: (channels, kernel), or (channels, kernel, kernel) for two side by side."""

STEM = {  # stage: channels, side of the kernel, stride, padding
    "Conv2d_1a_3x3": (32, 3, 2, "VALID"),
    "Conv2d_2a_3x3": (32, 3, 1, "VALID"),
    "Conv2d_2b_3x3": (64, 3, 1, "SAME"),
    "Conv2d_3b_1x1": (80, 1, 1, "VALID"),
    "Conv2d_4a_3x3": (192, 3, 1, "VALID"),
}


def _mixed_5(pool: int) -> Branches:
    return {
        "branch1x1": ((64, 1),),
        "branch5x5": ((48, 1), (64, 5)),
        "branch3x3dbl": ((64, 1), (96, 3), (96, 3)),
        "branch_pool": ((pool, 1),),
    }


def _mixed_6(inside: int) -> Branches:
    return {
        "branch1x1": ((192, 1),),
        "branch7x7": ((inside, 1), (inside, _ROW), (192, _COLUMN)),
        "branch7x7dbl": ((inside, 1), (inside, _COLUMN), (inside, _ROW), (inside, _COLUMN), (192, _ROW)),
        "branch_pool": ((192, 1),),
    }


def _mixed_7() -> Branches:
    both = (384, (1, 3), (3, 1))
    return {
        "branch1x1": ((320, 1),),
        "branch3x3": ((384, 1), both),
        "branch3x3dbl": ((448, 1), (384, 3), both),
        "branch_pool": ((192, 1),),
    }


BLOCKS: dict[str, Branches] = {
    "Mixed_5b": _mixed_5(32),
    "Mixed_5c": _mixed_5(64),
    "Mixed_5d": _mixed_5(64),
    "Mixed_6a": {"branch3x3": ((384, 3),), "branch3x3dbl": ((64, 1), (96, 3), (96, 3))},
    "Mixed_6b": _mixed_6(128),
    "Mixed_6c": _mixed_6(160),
    "Mixed_6d": _mixed_6(160),
    "Mixed_6e": _mixed_6(192),
    "Mixed_7a": {"branch3x3": ((192, 1), (320, 3)), "branch7x7x3": ((192, 1), (192, _ROW), (192, _COLUMN), (192, 3))},
    "Mixed_7b": _mixed_7(),
    "Mixed_7c": _mixed_7(),
}


class Convolution(nn.Module):
    """Convolution, batch norm, ReLU.

    Attributes:
        width: channels.
        kernel: its height and width, or its side.
        stride: factor by which the map shrinks.
        padding: 'SAME', 'VALID', or the number of cells on every side.
        dtype: of the computation.
    """

    width: int
    kernel: int | tuple[int, int]
    stride: int = 1
    padding: str | int = "SAME"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Return features [b, h', w', width] of features [b, h, w, d]."""
        kernel = (self.kernel, self.kernel) if isinstance(self.kernel, int) else self.kernel
        conv = partial(nn.Conv, use_bias=False, dtype=self.dtype, conv_general_dilated=convolutions.convolution)
        x = conv(self.width, kernel, strides=self.stride, padding=self.padding, name="conv")(x)
        return layers.ReLU()(layers.batch_norm("bn", train, self.dtype, _EPSILON)(x))


class Mixed(nn.Module):
    """Branches of convolutions, side by side; their maps are joined.

    'branch_pool' begins with a 3x3 mean. A block without it has a 3x3 max-pool as one more branch, and may shrink the
    map: in that pool and in the last convolution of every branch.

    Attributes:
        branches: with the published channels.
        width: channels of the network's first convolution, 32 as published; all others are proportional to it.
        stride: factor by which the map shrinks.
        padding: of the layers that may shrink.
        dtype: of the computation.
    """

    branches: Branches
    width: int
    stride: int
    padding: str
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Return features [b, h', w', d'] of features [b, h, w, d]."""
        joined = []
        for branch, steps in self.branches.items():
            y = nn.avg_pool(x, (3, 3), padding="SAME") if branch == "branch_pool" else x
            for i, (channels, *kernels) in enumerate(steps, start=1):
                name = f"{branch}_{i}" if len(steps) > 1 else branch
                shape = (self.stride, self.padding) if i == len(steps) else (1, "SAME")
                conv = partial(Convolution, scaled(channels, self.width), dtype=self.dtype)
                letters = "ab" if len(kernels) > 1 else ("",)
                ys = [conv(k, *shape, name=name + letter)(y, train) for k, letter in zip(kernels, letters, strict=True)]
                y = jnp.concatenate(ys, axis=-1)
            joined.append(y)
        if "branch_pool" not in self.branches:
            joined.append(convolutions.max_pool(x, (3, 3), (self.stride, self.stride), self.padding))
        return jnp.concatenate(joined, axis=-1)


def scaled(channels: int, width: int) -> int:
    """Return the channels of a layer whose network's first convolution has `width` channels instead of 32."""
    return max(1, channels * width // 32)


class InceptionV3(nn.Module):
    """Five convolutions and eleven blocks of branches; the last map has about 1/32 of the photo's side.

    Its stages are Conv2d_1a_3x3, ..., Mixed_7c; the two pools belong to the stages after them. With `stride` 16 or 8
    it is the network for score maps of wsolevaluation (and DA-WSOL) instead: paddings differ, so that 224 pixels give
    exactly 14 or 28 cells; Mixed_6a keeps the map's size; and all layers after Mixed_6e are replaced by two 3x3
    convolutions with dropout before, between and after them, the stages SPG_A3_1b and SPG_A3_2b. Training it needs the
    rng 'dropout'. (The published code gives it photos normalised with ImageNet's mean.)

    Attributes:
        width: channels of the first convolution; all others are proportional to it.
        stride: pixels of the photo per cell of the last map: 32, 16 or 8.
        dtype: of the computation; parameters are float32.
        freeze: the last stage that is not trained; '' trains every one.
        hook: see `layers.Hook`.
    """

    width: int = 32
    stride: int = 32
    dtype: str = "float32"
    freeze: str = ""
    hook: layers.Hook | None = None

    @property
    def added(self) -> tuple[str, ...]:
        """Return the layers that published weights lack."""
        return ("SPG_A3_1b.0", "SPG_A3_2b.0") if self.stride < 32 else ()

    @property
    def omitted(self) -> tuple[str, ...]:
        """Return the layers of published weights that this variant lacks."""
        return ("Mixed_7a", "Mixed_7b", "Mixed_7c", "AuxLogits") if self.stride < 32 else ()

    @property
    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the layers of every stage, in order."""
        published = {name: (name,) for name in (*STEM, *BLOCKS) if name not in self.omitted}
        return published | {layer.removesuffix(".0"): (layer,) for layer in self.added}

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Return the map of every stage, of preprocessed photos [b, h, w, 3]; see `layers.walk`."""
        for_maps = self.stride < 32
        convolution = partial(Convolution, dtype=self.dtype)

        def stage(name: str, x: jax.Array, train: bool) -> jax.Array:
            if name in ("Conv2d_3b_1x1", "Mixed_5b"):
                x = _pool(x, padding=1) if for_maps else convolutions.max_pool(x, (3, 3), (2, 2))
            if name in STEM:
                channels, kernel, stride, padding = STEM[name]
                padding = 1 if for_maps and name == "Conv2d_1a_3x3" else padding
                return convolution(scaled(channels, self.width), kernel, stride, padding, name=name)(x, train)
            if name in BLOCKS:
                x = _pool(x, padding=0) if name == "Mixed_6a" and self.stride == 16 else x
                shrinks = name == "Mixed_7a" or (name == "Mixed_6a" and not for_maps)
                shape = (2, "VALID") if shrinks else (1, "SAME")
                return Mixed(BLOCKS[name], self.width, *shape, self.dtype, name=name)(x, train)
            dropout = partial(nn.Dropout, 0.5, deterministic=not train)
            conv = partial(nn.Conv, dtype=self.dtype, conv_general_dilated=convolutions.convolution)
            conv = conv(scaled(1024, self.width), (3, 3), padding=1, name=f"{name}.0")
            x = layers.ReLU()(conv(dropout()(x)))
            return dropout()(x) if name == "SPG_A3_2b" else x

        return layers.walk(self, image, train, _SMALLEST[self.stride], stage)


def _pool(features: jax.Array, padding: int) -> jax.Array:
    """A 3x3 max-pool of stride 2 whose last window may reach over the edge, as with torch's ceil_mode=True."""
    pads = [(padding, padding + (side + 1) % 2) for side in features.shape[1:3]]
    return convolutions.max_pool(features, (3, 3), (2, 2), pads)


class Auxiliary(nn.Module):
    """The head on Mixed_6e that only training uses: a 5x5 mean, two convolutions, the mean over space, the last layer.

    Attributes:
        head: the last layer.
        dtype: of the layers before it.
    """

    stage: ClassVar[str] = "Mixed_6e"
    head: nn.Module
    dtype: str

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """Return the output of `head` for the map [b, h, w, d] of Mixed_6e.

        Raises:
            InputError: in training, the map has fewer than 17x17 cells.
        """
        if self.is_initializing() and not train:  # no shape of its layers depends on the map, which may be too small
            features = jnp.zeros((1, 17, 17, features.shape[-1]), features.dtype)
        if train and min(features.shape[1:3]) < 17:
            raise InputError(
                f"map of shape {features.shape}; the auxiliary head expects 17x17 cells or more, from 299x299 pixels"
            )
        depth = features.shape[-1]
        x = nn.avg_pool(features, (5, 5), strides=(3, 3))
        x = Convolution(depth // 6, 1, dtype=self.dtype, name="AuxLogits.conv0")(x, train)
        x = Convolution(depth, 5, padding="VALID", dtype=self.dtype, name="AuxLogits.conv1")(x, train)
        return self.head(x.mean(axis=(1, 2)))


INCEPTION_V3 = Architecture(
    InceptionV3,
    "fc",
    neck=lambda backbone: GlobalPool(dropout=0.0 if backbone.added else 0.5),  # the added layers have their own dropout
    auxiliary=AuxiliaryHead(Auxiliary, layers="AuxLogits", classifier="AuxLogits.fc"),
    preprocessing=Preprocessing(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5)),
    size=299,
    resize=320,
    adl_after=("Mixed_5d", "Mixed_6e", "SPG_A3_2b"),  # wsolevaluation, like the next
    spg=SidePlaces("Mixed_5d", "Mixed_6e", 512),
)
