"""The entry of an architecture: its backbone, and all that weights, methods and commands need to know about it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from flax import linen as nn

from wsol_jax.backbones.heads import GlobalPool
from wsol_jax.backbones.layers import IMAGENET, Preprocessing


class AuxiliaryHead(NamedTuple):
    """A head on an earlier stage, for training alone.

    Attributes:
        make: (last layer, dtype) -> module with the attributes `head`, its last layer, and `stage`, the name of the
            stage whose map it takes.
        layers: the prefix of the names of all its layers in torchvision.
        classifier: the name of its last layer.
    """

    make: Callable[[nn.Module, str], nn.Module]
    layers: str
    classifier: str


class SidePlaces(NamedTuple):
    """The places of SPG's side heads in a network.

    Attributes:
        b1: the stage or layer whose map the first side head takes.
        b2: the stage or layer whose map the second side head takes.
        width: channels of their convolutions.
        more: number of 3x3 convolutions of that width after the last map, before classes and third side head.
    """

    b1: str
    b2: str
    width: int
    more: int = 0


def _global_pool(_: nn.Module) -> nn.Module:
    return GlobalPool()


class Architecture(NamedTuple):
    """A backbone and all that goes with it.

    Attributes:
        backbone: (dtype, freeze, hook, its own keyword arguments) -> linen module of (image, train), which returns the
            map of every stage. The module has the attributes `stages`, {stage: names of its layers}, in order;
            `stride`, one of `strides`; `added`, the layers that published weights lack; and `omitted`, prefixes of the
            layers of published weights that this variant lacks. One with parameters other than kernel, bias and scale
            has `initialisers` too, see `initialise`.
        classifier: the name of the last layer in torchvision or timm.
        neck: backbone -> module between the last map and the last layer.
        pointwise: whether the last layer is published as a 1x1 convolution.
        auxiliary: the head on an earlier stage that only training uses; None where there is none.
        preprocessing: the photos that its pretrained weights were trained with.
        size: side of the square input it was trained with, pixels.
        resize: side to which a photo is resized before the central crop of `size`, pixels.
        rename: foreign namings of its entries, {naming: entry -> our name}. The name is None for an entry that the
            network does not use, and unchanged for one that the naming does not know.
        strides: the values of the backbone's argument `stride`, pixels of the photo per cell of the last map. The
            first one is published; smaller ones make maps for localisation, see `layers.strides`.
        adl_after: the stages or layers after which ADL attends; () where no place is published.
        spg: the places of SPG's side heads; None where none are published.
    """

    backbone: Callable[..., nn.Module]
    classifier: str
    neck: Callable[[nn.Module], nn.Module] = _global_pool
    pointwise: bool = False
    auxiliary: AuxiliaryHead | None = None
    preprocessing: Preprocessing = IMAGENET
    size: int = 224
    resize: int = 256
    rename: Mapping[str, Callable[[str], str | None]] = MappingProxyType({})
    strides: tuple[int, ...] = (32, 16, 8)
    adl_after: tuple[str, ...] = ()
    spg: SidePlaces | None = None
