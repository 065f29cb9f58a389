"""The architectures, and whole networks of a backbone, a neck and heads."""

from dataclasses import fields
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from wsol_jax.backbones.architecture import Architecture
from wsol_jax.backbones.convnext import CONVNEXT_TINY
from wsol_jax.backbones.densenet import DENSENET161
from wsol_jax.backbones.dpn import DPN68, DPN92, DPN98, DPN131
from wsol_jax.backbones.efficientnet import EFFICIENTNET_LITE0, EFFICIENTNETS
from wsol_jax.backbones.heads import Box, Classifier
from wsol_jax.backbones.inception import INCEPTION_V3
from wsol_jax.backbones.layers import Hook, frozen_stages
from wsol_jax.backbones.resnet import RESNET50, RESNET50_V1
from wsol_jax.backbones.vgg import VGG16, VGG_GAP
from wsol_jax.errors import InputError

BACKBONES: dict[str, Architecture] = {
    "vgg16": VGG16,
    "vgg_gap": VGG_GAP,
    "resnet50": RESNET50,
    "resnet50_v1": RESNET50_V1,
    "inception_v3": INCEPTION_V3,
    "densenet161": DENSENET161,
    "dpn68": DPN68,
    "dpn92": DPN92,
    "dpn98": DPN98,
    "dpn131": DPN131,
    "efficientnet_lite0": EFFICIENTNET_LITE0,
    **EFFICIENTNETS,  # efficientnet_b0 to efficientnet_b7
    "convnext_tiny": CONVNEXT_TINY,
}
"""Name of an architecture -> its entry."""


class NetworkOutputs(NamedTuple):
    """The outputs of a network for b photos.

    Attributes:
        maps: {stage: map [b, h, w, d]}.
        head: float32 logits [b, k] or boxes [b, 4].
        box: float32 [b, 4], of the box branch of a -Joint network; None for other networks.
        auxiliary: like `head`, of the auxiliary head; None outside of training and for a network without one.
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
        box: [b, d'] -> box, in addition to a head that gives logits (PSOL's -Joint), or None.
        auxiliary: map of its `stage` -> like `head`, or None.
        domain: [b, d'] -> one logit, or None; the network holds its parameters, DA-WSOL's loss applies it to pixels.
    """

    backbone: nn.Module
    neck: nn.Module
    head: nn.Module
    box: nn.Module | None = None
    auxiliary: nn.Module | None = None
    domain: nn.Module | None = None

    def __call__(self, image: jax.Array, train: bool) -> NetworkOutputs:
        """Return the outputs for preprocessed photos, float [b, h, w, 3].

        Training needs the rng 'dropout' for a network with dropout, and 'batch_stats' to be mutable.
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
    """Return a whole network.

    Args:
        arch: a name in `BACKBONES`.
        head: 'box', or the number of classes.
        dtype: of the computation except the head's, 'float32' or 'bfloat16' (or 'float64' with `jax.enable_x64`);
            parameters are float32.
        freeze: the last stage that is not trained; '' trains every one.
        joint: whether there is a box branch in addition to the head.
        pointwise: whether the head is a 1x1 convolution, whose kernel has another shape than a linear layer's; None for
            the published form.
        **kwargs: arguments of the backbone: widths, depths, stride, ...

    Raises:
        InputError: there is no such architecture, keyword argument or stage.

    Example:
        >>> network = build("resnet50", 200, stride=8)
        >>> image = jax.ShapeDtypeStruct((1, 224, 224, 3), "float32")
        >>> outputs, _ = jax.eval_shape(lambda x: network.init_with_output(jax.random.key(0), x, False), image)
        >>> outputs.maps["layer4"].shape, outputs.head.shape
        ((1, 28, 28, 2048), (1, 200))
    """
    backbone = trunk(arch, dtype, freeze=freeze, **kwargs)
    frozen_stages(backbone)  # raises for a wrong name now rather than when the network first runs
    spec = BACKBONES[arch]
    pointwise = spec.pointwise if pointwise is None else pointwise

    def last_layer(name: str) -> nn.Module:
        return Box(name) if head == "box" else Classifier(head, name, pointwise)

    auxiliary = None
    if spec.auxiliary and spec.auxiliary.layers not in backbone.omitted:
        auxiliary = spec.auxiliary.make(last_layer(spec.auxiliary.classifier), dtype)
    box = Box("box") if joint else None
    return Network(backbone, spec.neck(backbone), last_layer(spec.classifier), box, auxiliary)


def trunk(arch: str, dtype: str = "float32", hook: Hook | None = None, **kwargs: Any) -> nn.Module:
    """Return the backbone alone, a module from photos to maps.

    Args:
        arch: a name in `BACKBONES`.
        dtype: of the computation, 'float32' or 'bfloat16' (or 'float64' with `jax.enable_x64`); parameters are float32.
        hook: changes maps inside of it, for a method.
        **kwargs: arguments of the backbone: widths, depths, stride, freeze, ...

    Raises:
        InputError: there is no such architecture or keyword argument, or a value is of the wrong kind.
    """
    if arch not in BACKBONES:
        raise InputError(f"arch={arch!r} is no backbone; expected one of {', '.join(BACKBONES)}")
    if dtype not in ("float32", "bfloat16") and not (dtype == "float64" and jax.config.jax_enable_x64):
        raise InputError(f"dtype={dtype!r}; expected 'float32' or 'bfloat16'")
    make = BACKBONES[arch].backbone
    ours = ("parent", "name", "dtype", "hook")
    known = {field.name: field.default for field in fields(getattr(make, "func", make)) if field.name not in ours}
    for name, value in kwargs.items():
        _check(arch, name, value, known)
    return make(dtype=dtype, hook=hook, **{k: tuple(v) if isinstance(v, list) else v for k, v in kwargs.items()})


def _check(arch: str, name: str, value: Any, known: dict[str, Any]) -> None:
    """Raise unless a backbone has this argument and its value is like the default: same type and length, positive."""
    if name not in known:
        raise InputError(f"{arch} has no argument {name!r}; expected one of {', '.join(sorted(known))}")
    default, allowed = known[name], BACKBONES[arch].strides
    if name == "stride" and value not in allowed:
        raise InputError(f"{arch}: stride={value!r}; expected one of {', '.join(map(str, allowed))}")
    numbers = list(value) if isinstance(value, tuple | list) else [value]
    like = list(default) if isinstance(default, tuple) else [default]
    alike = len(numbers) == len(like) and all(type(a) is type(b) for a, b in zip(numbers, like, strict=False))
    if not alike or (value != default and any(type(n) is int and n < 1 for n in numbers)):
        raise InputError(f"{arch}: {name}={value!r}; expected something like {default!r}, with positive numbers")
