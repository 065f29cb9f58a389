"""Box regression losses, each a scalar of boxes [b, 4] and their targets."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from wsol_jax import boxes

BoxLoss = Callable[[jax.Array, jax.Array], jax.Array]
"""(box, target), both [b, 4], left, top, width, height in the frame of the network's input -> a scalar."""


def squared_error(box: jax.Array, target: jax.Array) -> jax.Array:
    """Return the mean squared error over photos and coordinates (PSOL, section 3.2.2).

    Args:
        box: [b, 4], left, top, width, height in the frame of the network's input.
        target: [b, 4], the same of the pseudo box.

    Returns:
        A scalar; the published code weighs it with 50.
    """
    return jnp.square(box.astype(jnp.float32) - target).mean()


def absolute_error(box: jax.Array, target: jax.Array) -> jax.Array:
    """Return the mean absolute error over photos and coordinates, on which a wrong pseudo box has less influence.

    Args:
        box: [b, 4], left, top, width, height.
        target: [b, 4], the same of the pseudo box.
    """
    return jnp.abs(box.astype(jnp.float32) - target).mean()


def generalised_iou(box: jax.Array, target: jax.Array) -> jax.Array:
    """Return the mean of 1 - GIoU (Rezatofighi et al., CVPR 2019, algorithm 1), in [0, 2].

    Args:
        box: [b, 4], left, top, width, height.
        target: [b, 4], the same of the pseudo box.
    """
    a, b = boxes.xywh_to_xyxy(box.astype(jnp.float32)), boxes.xywh_to_xyxy(target)
    low, high = jnp.minimum(a[:, :2], b[:, :2]), jnp.maximum(a[:, 2:], b[:, 2:])
    hull = (high - low).prod(axis=-1)
    inner = (jnp.minimum(a[:, 2:], b[:, 2:]) - jnp.maximum(a[:, :2], b[:, :2])).clip(0).prod(axis=-1)
    union = boxes.area(a) + boxes.area(b) - inner
    iou = jnp.where(union > 0, inner / jnp.where(union > 0, union, 1), 0)
    empty = jnp.where(hull > 0, (hull - union) / jnp.where(hull > 0, hull, 1), 0)
    return (1 - iou + empty).mean()


def absolute_and_iou(box: jax.Array, target: jax.Array) -> jax.Array:
    """Return the sum of `absolute_error` and half of `generalised_iou`."""
    return absolute_error(box, target) + 0.5 * generalised_iou(box, target)


BOX_LOSSES: dict[str, BoxLoss] = {"squared": squared_error, "l1": absolute_error, "l1_giou": absolute_and_iou}
"""Name -> loss; 'squared' is PSOL's."""
