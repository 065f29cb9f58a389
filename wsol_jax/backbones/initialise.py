"""Initial values without running or compiling the network: first the shapes, then the numbers leaf by leaf."""

import math
import os
import zlib
from collections.abc import Mapping
from functools import lru_cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from wsol_jax.backbones.names import parts_of
from wsol_jax.errors import InputError

Variables = dict[str, dict]

CONSTANTS = {"bias": 0.0, "mean": 0.0, "scale": 1.0, "var": 1.0}
"""Name of a leaf -> its initial value, unless it belongs to a linear layer."""


def initialise(key: jax.Array, module: nn.Module, image_shape: tuple[int, ...] = (1, 224, 224, 3)) -> Variables:
    """Return initial variables of a module that takes (image, train).

    Convolutions are He normal by fan-out with zero biases; linear layers and their biases are uniform in
    +-1 / sqrt(fan_in), as in torch. A head that is a 1x1 convolution is Xavier uniform, as in DA-WSOL's code. Scales of
    normalisations are 1. Leaves with other names have a constant of the backbone's attribute `initialisers`, {name of
    the leaf: value}, such as {'layer_scale': 1e-6}. A value depends on the key and its own path alone, not on the rest
    of the network.

    Args:
        key: a jax random key.
        module: the network or backbone.
        image_shape: [b, h, w, 3] of a photo it can take.

    Returns:
        {'params': float32 numpy leaves, 'batch_stats': likewise, {} where there are none}.

    Raises:
        ValueError: a leaf has a name without a rule.
        InputError: the network is larger than the machine's memory.
    """
    leaves = flatten_dict(shapes(module, image_shape))
    needed = 4 * sum(math.prod(leaf.shape) for leaf in leaves.values())
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > present:
        raise InputError(
            f"the network has {needed / 4e9:,.0f} billion numbers, {needed / 2**30:,.0f} GiB, and this machine has "
            f"{present / 2**30:,.0f}; expected a narrower one"
        )
    seed = [int(word) for word in jax.random.key_data(key)]
    constants = CONSTANTS | dict(getattr(getattr(module, "backbone", module), "initialisers", {}))
    filled = {path: _fill(seed, path, leaves, constants) for path in leaves}
    return {"params": {}, "batch_stats": {}} | unflatten_dict(filled)


def shapes(module: nn.Module, image_shape: tuple[int, ...] = (1, 224, 224, 3)) -> Variables:
    """Return the tree of `initialise` with a jax.ShapeDtypeStruct for every leaf."""
    try:
        hash(module)
    except TypeError:  # an attribute is a dict, for example
        return _trace_shapes(module, image_shape)
    return jax.tree.map(lambda leaf: leaf, _kept_shapes(module, image_shape))  # a tree of its own for every caller


def _trace_shapes(module: nn.Module, image_shape: tuple[int, ...]) -> Variables:
    image, collections = jax.ShapeDtypeStruct(image_shape, jnp.float32), ("params", "batch_stats")
    return dict(
        jax.eval_shape(
            lambda key, image: module.init(key, image, train=False, mutable=collections), jax.random.key(0), image
        )
    )


_kept_shapes = lru_cache(maxsize=32)(_trace_shapes)  # the stages of a run need those of the same networks


def _fill(
    seed: list[int],
    path: tuple[str, ...],
    leaves: dict[tuple[str, ...], jax.ShapeDtypeStruct],
    constants: Mapping[str, float],
) -> np.ndarray:
    """Initial numbers of one leaf, float32."""
    shape, leaf = leaves[path].shape, path[-1]
    kernel = leaves.get((*path[:-1], "kernel"))
    rng = np.random.default_rng([*seed, zlib.crc32(".".join(path).encode())])
    if leaf == "kernel" and len(shape) == 4 and not {"head", "domain"}.isdisjoint(parts_of(path)):
        return (2 * rng.random(shape, np.float32) - 1) * np.float32(math.sqrt(6 / (shape[2] + shape[3])))
    if leaf == "kernel" and len(shape) == 4:
        fan_out = math.prod(shape[:2]) * (shape[3] if shape[2] > 1 else 1)  # a depthwise kernel is [k, k, 1, d]
        return rng.standard_normal(shape, np.float32) * np.float32(math.sqrt(2 / fan_out))
    if leaf in ("kernel", "bias") and kernel is not None and len(kernel.shape) == 2:
        return (2 * rng.random(shape, np.float32) - 1) / np.float32(math.sqrt(kernel.shape[0]))
    if leaf in constants:
        return np.full(shape, constants[leaf], np.float32)
    raise ValueError(f"no rule to fill {'.'.join(path)} of shape {shape}")
