"""ResNet with bottlenecks (He et al., 2016), with torchvision's names."""

from collections.abc import Mapping
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax

from wsol_jax.backbones import convolutions, layers
from wsol_jax.backbones.architecture import Architecture, SidePlaces


class Bottleneck(nn.Module):
    """Convolutions of 1x1, 3x3 and 1x1 around a shortcut; the last has four times the channels.

    Attributes:
        width: channels of the first two convolutions.
        stride: factor by which the map shrinks.
        stride_on_first: whether the stride is on the first convolution (v1) instead of the second (v1.5).
        dtype: of the computation.
    """

    width: int
    stride: int
    stride_on_first: bool
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Return features [b, h / stride, w / stride, 4 width] of features [b, h, w, d]."""
        conv = partial(nn.Conv, use_bias=False, dtype=self.dtype, conv_general_dilated=convolutions.convolution)
        norm = partial(layers.batch_norm, train=train, dtype=self.dtype)
        first, second = (self.stride, 1) if self.stride_on_first else (1, self.stride)
        y = conv(self.width, (1, 1), strides=first, name="conv1")(x)
        y = layers.ReLU()(norm("bn1")(y))
        y = conv(self.width, (3, 3), strides=second, padding=1, name="conv2")(y)
        y = layers.ReLU()(norm("bn2")(y))
        y = norm("bn3")(conv(4 * self.width, (1, 1), name="conv3")(y))
        if x.shape != y.shape:
            x = conv(4 * self.width, (1, 1), strides=self.stride, name="downsample.0")(x)
            x = norm("downsample.1")(x)
        return layers.ReLU()(x + y)


class ResNet(nn.Module):
    """A convolution, a max-pool, and groups of bottlenecks, each of which halves the map except the first.

    Its stages are conv1 (after the ReLU, before the pool), layer1, layer2, ... With a `stride` of 16 the last group
    keeps the size of the map, with 8 the last two (wsolevaluation, DA-WSOL).

    Attributes:
        depths: bottlenecks of each group.
        width: channels of conv1; group i has 4 * width * 2^i.
        stride_on_first: True for v1; False for v1.5, which torchvision has.
        stride: pixels of the photo per cell of the last map: 32, 16 or 8.
        dtype: of the computation; parameters are float32.
        freeze: the last stage that is not trained; '' trains every one.
        hook: see `layers.Hook`.
    """

    added: ClassVar[tuple[str, ...]] = ()
    omitted: ClassVar[tuple[str, ...]] = ()
    published_strides: ClassVar[Mapping[str, int]] = {"conv1": 2, "layer1": 2, "layer2": 2, "layer3": 2, "layer4": 2}
    depths: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    stride_on_first: bool = False
    stride: int = 32
    dtype: str = "float32"
    freeze: str = ""
    hook: layers.Hook | None = None

    @property
    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the layers of every stage, in order."""
        groups = enumerate(self.depths, start=1)
        return {"conv1": ("conv1", "bn1")} | {
            f"layer{group}": tuple(f"layer{group}.{i}" for i in range(depth)) for group, depth in groups
        }

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Return the map of every bottleneck and stage, of preprocessed photos [b, h, w, 3]; see `layers.walk`."""
        blocks, strides = {}, layers.strides(self)

        def stage(name: str, x: jax.Array, learns: bool) -> jax.Array:
            if name == "conv1":
                conv = partial(nn.Conv, use_bias=False, dtype=self.dtype, conv_general_dilated=convolutions.convolution)
                x = conv(self.width, (7, 7), 2, padding=3, name="conv1")(x)
                return layers.ReLU()(layers.batch_norm("bn1", learns, self.dtype)(x))
            group = int(name.removeprefix("layer"))
            if group == 1:
                x = convolutions.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
            for i, layer in enumerate(self.stages[name]):
                stride = strides[name] if i == 0 and group > 1 else 1  # layer1 shrinks by its pool
                width = self.width * 2 ** (group - 1)
                x = Bottleneck(width, stride, self.stride_on_first, self.dtype, name=layer)(x, learns)
                x = blocks[layer] = layers.hooked(self, layer, x, train)
            return x

        maps = layers.walk(self, image, train, self.stride, stage)
        return blocks | maps


RESNET50 = Architecture(  # ADL and SPG: wsolevaluation
    ResNet, "fc", adl_after=("layer3.0", "layer4.0", "layer4.2"), spg=SidePlaces("layer3.0", "layer3", 1024)
)
RESNET50_V1 = RESNET50._replace(backbone=partial(ResNet, stride_on_first=True))
