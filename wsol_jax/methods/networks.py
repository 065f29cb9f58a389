"""How a method runs a network with a backbone, a neck and a head."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from flax import linen as nn

from wsol_jax import boxes
from wsol_jax.backbones.layers import frozen_stages, preprocess
from wsol_jax.backbones.network import Architecture, Network
from wsol_jax.data.render import Batch
from wsol_jax.methods.method import Variables

AUXILIARY_WEIGHT = 0.3


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


def parameter_group(network: Network, new_head: bool) -> Callable[[tuple[str, ...]], str]:
    """Parameter path -> 'frozen' up to the stage `freeze`, 'new' for what starts anew, 'base' for the rest."""
    stages = network.backbone.stages
    frozen = {module for stage in frozen_stages(network.backbone) for module in stages[stage]}

    def group(path: tuple[str, ...]) -> str:
        if path[0] == "backbone" and path[1] in frozen:
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
