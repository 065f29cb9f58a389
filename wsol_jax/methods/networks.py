"""How a method runs a network with a backbone, a neck and a head."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from flax import linen as nn

from wsol_jax.backbones.layers import frozen_stages, preprocess
from wsol_jax.backbones.network import Architecture, Network
from wsol_jax.methods.method import Variables


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
    """Parameter path -> 'frozen' up to the stage `freeze`, 'new' for a head that starts anew, 'base' for the rest."""
    stages = network.backbone.stages
    frozen = {module for stage in frozen_stages(network.backbone) for module in stages[stage]}

    def group(path: tuple[str, ...]) -> str:
        if path[0] == "backbone" and path[1] in frozen:
            return "frozen"
        return "new" if path[0] == "head" and new_head else "base"

    return group
