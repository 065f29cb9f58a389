"""How a method runs a network with a backbone, a neck and a head."""

from collections.abc import Callable
from functools import partial
from itertools import takewhile
from typing import Any

import jax
from flax import linen as nn
from ml_collections import ConfigDict

from wsol_jax import boxes
from wsol_jax.backbones.layers import frozen_stages, preprocess
from wsol_jax.backbones.network import BACKBONES, Architecture, Network, build, trunk
from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Variables

AUXILIARY_WEIGHT = 0.3


def make_network(config: ConfigDict, head: str | int, joint: bool = False) -> Network:
    """The network of a training's configuration; see `build`."""
    freeze = config.freeze if config.trainable == "all" else _last_published_stage(config)
    return build(config.arch, head, config.dtype, freeze, joint, **config.arch_kwargs)


def _last_published_stage(config: ConfigDict) -> str:
    """The last stage in front of which a variant of a backbone adds no layer."""
    backbone = trunk(config.arch, config.dtype, **config.arch_kwargs)
    published = takewhile(lambda stage: not set(stage[1]) & set(backbone.added), backbone.stages.items())
    return list(published)[-1][0]


def input_size(config: ConfigDict) -> int:
    """The side of a network's square input, pixels: `size`, or what the architecture's weights were trained with."""
    return config.size or BACKBONES[config.arch].size


def resize_size(config: ConfigDict) -> int:
    """The side to which a whole photo is resized before `input_size` is cut from it, pixels."""
    architecture = BACKBONES[config.arch]
    return round(input_size(config) * architecture.resize / architecture.size)


def preparation(architecture: Architecture, dtype: str) -> Callable[[jax.Array], jax.Array]:
    """uint8 images to what the architecture's weights were trained with, in `dtype`."""
    return partial(preprocess, preprocessing=architecture.preprocessing, dtype=dtype)


def apply(
    network: nn.Module, variables: Variables, image: jax.Array, key: jax.Array | None, train: bool
) -> tuple[Any, Any]:
    """What the network returns, and its batch statistics, which only training changes; `key` draws the dropout."""
    if not train:
        return network.apply(variables, image, False), variables["batch_stats"]
    returned, changed = network.apply(variables, image, True, rngs={"dropout": key}, mutable=["batch_stats"])
    return returned, changed.get("batch_stats", {})


def parameter_group(network: Network, new_head: bool, trainable: str = "all") -> Callable[[tuple[str, ...]], str]:
    """Parameter path -> 'frozen' up to the stage `freeze`, 'new' for what starts anew, 'base' for the rest.

    Args:
        network: that has the parameters.
        new_head: whether the last layers start anew.
        trainable: 'all', or 'head': the neck is frozen too.
    """
    stages = network.backbone.stages
    frozen = {module for stage in frozen_stages(network.backbone) for module in stages[stage]}

    def group(path: tuple[str, ...]) -> str:
        if (path[0] == "backbone" and path[1] in frozen) or (path[0] == "neck" and trainable == "head"):
            return "frozen"
        new = path[0] == "box" or path[1] in network.backbone.added or (new_head and "head" in path[:2])
        return "new" if new else "base"

    return group


def with_auxiliary(loss: Callable[[jax.Array], jax.Array], main: jax.Array, auxiliary: jax.Array | None) -> jax.Array:
    """loss(main) + 0.3 loss(auxiliary), as InceptionV3 is trained (PSOL's code for its localizer too)."""
    return loss(main) if auxiliary is None else loss(main) + AUXILIARY_WEIGHT * loss(auxiliary)


def box_in_photo(box: jax.Array, batch: Batch) -> jax.Array:
    """A box head's left, top, width, height [b, 4] of what the network saw, as xyxy of the original, inside of it."""
    seen = boxes.mirror(boxes.xywh_to_xyxy(box), batch.flip)
    return boxes.clip(boxes.out_of_window(seen, batch.window))
