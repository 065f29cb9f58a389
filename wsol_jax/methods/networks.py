"""How a method runs a network with a backbone, a neck and a head."""

from collections.abc import Callable
from functools import partial
from itertools import dropwhile, takewhile
from typing import Any

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from wsol_jax import boxes
from wsol_jax.backbones.heads import GlobalPool
from wsol_jax.backbones.layers import frozen_stages, preprocess
from wsol_jax.backbones.network import BACKBONES, Architecture, Network, build, trunk
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.methods.method import Variables

AUXILIARY_WEIGHT = 0.3


class MapNetwork(nn.Module):
    """A backbone and a head that looks at its maps, and in training at the labels; see `Network`.

    Attributes:
        backbone: photos -> maps of its stages.
        head: (maps, labels or None) -> whatever its method needs.
    """

    backbone: nn.Module
    head: nn.Module

    def __call__(self, image: jax.Array, train: bool, label: jax.Array | None = None) -> tuple[dict, Any]:
        """Preprocessed photos, float [b, h, w, 3], to the map of every stage and what the head makes of them."""
        maps = self.backbone(image, train)
        return maps, self.head(maps, label)


def make_network(config: ConfigDict, head: str | int, joint: bool = False, **changes: Any) -> Network:
    """The network of a training's configuration, its backbone with other arguments; see `build`."""
    return build(config.arch, head, config.dtype, _freeze(config), joint, **config.arch_kwargs, **changes)


def check_pooling(network: Network, config: ConfigDict) -> None:
    """That a method may ask the classifier about the cells of the last map.

    Raises:
        InputError: what it classifies is not the mean of them, but what other layers make of them.
    """
    if not isinstance(network.neck, GlobalPool):
        raise InputError(
            f"method {config.method}: {config.arch} has layers between its last map and its classes; "
            "expected a network that classifies the map's mean, as vgg_gap"
        )


def make_trunk(config: ConfigDict, **changes: Any) -> nn.Module:
    """Its backbone alone; see `trunk`."""
    return trunk(config.arch, config.dtype, freeze=_freeze(config), **config.arch_kwargs, **changes)


def _freeze(config: ConfigDict) -> str:
    return config.freeze if config.trainable == "all" else _last_published_stage(config)


def _last_published_stage(config: ConfigDict) -> str:
    """The last stage in front of which a variant of a backbone adds no layer."""
    backbone = trunk(config.arch, config.dtype, **config.arch_kwargs)
    published = takewhile(lambda stage: not set(stage[1]) & set(backbone.added), backbone.stages.items())
    return list(published)[-1][0]


def input_size(config: ConfigDict) -> int:
    """The side of a network's square input, pixels: `size`, or what the architecture's weights were trained with."""
    return config.size or BACKBONES[config.arch].size


def resize_size(config: ConfigDict) -> int:
    """The side to which a whole photo is resized before `input_size` is cut from it, pixels.

    It is in the ratio that the architecture's weights were trained with; wsolevaluation's is 256 to 224 for all.
    """
    if config.augment == "wsol":
        return round(input_size(config) * 256 / 224)
    architecture = BACKBONES[config.arch]
    return round(input_size(config) * architecture.resize / architecture.size)


def preparation(architecture: Architecture, dtype: str) -> Callable[[jax.Array], jax.Array]:
    """uint8 images to what the architecture's weights were trained with, in `dtype`."""
    return partial(preprocess, preprocessing=architecture.preprocessing, dtype=dtype)


def apply(
    network: nn.Module, variables: Variables, image: jax.Array, key: jax.Array | None, train: bool, *more: Any
) -> tuple[Any, Any]:
    """What the network returns, and its batch statistics, which only training changes; `key` draws the dropout."""
    if not train:
        return network.apply(variables, image, False, *more), variables["batch_stats"]
    returned, changed = network.apply(variables, image, True, *more, rngs={"dropout": key}, mutable=["batch_stats"])
    return returned, changed.get("batch_stats", {})


def parameter_group(
    network: Network | MapNetwork, new_head: bool, trainable: str = "all", new_from: str = ""
) -> Callable[[tuple[str, ...]], str]:
    """Parameter path -> 'frozen' up to the stage `freeze`, 'new' for what starts anew, 'base' for the rest.

    Args:
        network: that has the parameters.
        new_head: whether the last layers start anew.
        trainable: 'all', or 'head': the neck is frozen too.
        new_from: a stage from which on the layers count as new too; '' for none.

    Raises:
        InputError: no stage is called `new_from`.
    """
    stages = network.backbone.stages
    frozen = {layer for stage in frozen_stages(network.backbone) for layer in stages[stage]}
    if new_from and new_from not in stages:
        raise InputError(f"new_from={new_from!r} is no stage; there are {', '.join(stages)}")
    late = dropwhile(lambda stage: stage != new_from, stages) if new_from else ()
    new = {layer for stage in late for layer in stages[stage]} | set(network.backbone.added)

    def group(path: tuple[str, ...]) -> str:
        if (path[0] == "backbone" and path[1] in frozen) or (path[0] == "neck" and trainable == "head"):
            return "frozen"
        is_new = path[0] == "box" or path[1] in new or (new_head and "head" in path[:2])
        return "new" if is_new else "base"

    return group


def with_auxiliary(loss: Callable[[jax.Array], jax.Array], main: jax.Array, auxiliary: jax.Array | None) -> jax.Array:
    """loss(main) + 0.3 loss(auxiliary), as InceptionV3 is trained (PSOL's code for its localizer too)."""
    return loss(main) if auxiliary is None else loss(main) + AUXILIARY_WEIGHT * loss(auxiliary)


def box_in_photo(box: jax.Array, batch: Batch) -> jax.Array:
    """A box head's left, top, width, height [b, 4] of what the network saw, as xyxy of the original, inside of it."""
    seen = boxes.mirror(boxes.xywh_to_xyxy(box), batch.flip)
    return boxes.clip(boxes.out_of_window(seen, batch.window))
