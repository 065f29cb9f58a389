"""Box of a mask's logits on the devices: the mean of the boxes around its largest region above five probabilities."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from wsol_jax import boxes

GRID = 56  # cells a side of the mask that is cut
PROBABILITIES = (0.3, 0.4, 0.5, 0.6, 0.7)
WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0)


class MaskBoxes(NamedTuple):
    """Boxes that were cut from masks.

    Attributes:
        box: float32 [b, 4], normalised xyxy; the whole image where no cell reaches the lowest probability.
        stability: float32 [b], the mean IoU of the box with the boxes at the five probabilities, 0 for one without a
            region.
    """

    box: jax.Array
    stability: jax.Array


def mask_boxes(logits: jax.Array) -> MaskBoxes:
    """Return the boxes of masks.

    Args:
        logits: float32 [b, h, w], of each cell.
    """
    mask = jax.image.resize(logits, (logits.shape[0], GRID, GRID), "linear", antialias=False)
    levels = jax.scipy.special.logit(jnp.array(PROBABILITIES, jnp.float32))
    region = jax.vmap(jax.vmap(largest_region))(mask[:, None] > levels[None, :, None, None])
    exists = region.any(axis=(2, 3))
    at_levels = jnp.where(exists[..., None], bounds(region), 0.0)
    count = exists.sum(axis=1, keepdims=True)
    box = jnp.where(count > 0, at_levels.sum(axis=1) / jnp.maximum(count, 1), jnp.array([WHOLE_IMAGE], jnp.float32))
    overlap = jnp.where(exists, boxes.iou(box[:, None], at_levels), 0.0)
    return MaskBoxes(box, overlap.mean(axis=1))


def largest_region(mask: jax.Array) -> jax.Array:
    """Return the largest 8-connected region of a mask, both bool [h, w]; of equals, the first in raster order.

    Every cell takes the lowest number in its neighbourhood until nothing changes: then a region's cells have the number
    of its first cell. The result is that of `pseudo.regions.largest_region`.
    """
    nothing = mask.size
    number = jnp.arange(mask.size, dtype=jnp.int32).reshape(mask.shape)

    def spread(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        before, _ = state
        rows = jnp.pad(before, ((1, 1), (0, 0)), constant_values=nothing)
        rows = jnp.minimum(jnp.minimum(rows[:-2], rows[1:-1]), rows[2:])
        cells = jnp.pad(rows, ((0, 0), (1, 1)), constant_values=nothing)
        cells = jnp.minimum(jnp.minimum(cells[:, :-2], cells[:, 1:-1]), cells[:, 2:])
        after = jnp.where(mask, cells, nothing)
        return after, (after != before).any()

    start = jnp.where(mask, number, nothing), jnp.array(True)
    regions, _ = jax.lax.while_loop(lambda state: state[1], spread, start)
    sizes = jnp.zeros(nothing + 1, jnp.int32).at[regions.ravel()].add(1).at[nothing].set(0)
    return mask & (regions == jnp.argmax(sizes))


def bounds(region: jax.Array) -> jax.Array:
    """Return the boxes float32 [..., 4], normalised xyxy, around non-empty regions bool [..., h, w]."""
    h, w = region.shape[-2:]
    rows, columns = region.any(axis=-1), region.any(axis=-2)
    first = [jnp.argmax(line, axis=-1) for line in (columns, rows)]
    last = [line.shape[-1] - jnp.argmax(line[..., ::-1], axis=-1) for line in (columns, rows)]
    return jnp.stack([edge / side for edge, side in zip([*first, *last], (w, h, w, h), strict=True)], axis=-1)
