"""Fused heat maps: the mean of several networks' heat maps of a photo, each in units of its own standard deviation.

Different networks err on different photos, so that their mean localizes better than either; two input sizes of one
network hardly do. One view alone stays as it is.
"""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from wsol_jax.arrays import scratch

GRID = 56  # cells a side of a fused heat map
CHUNK = 512  # photos resized at a time


def fuse(heat_maps: Sequence[np.ndarray], folder: Path | None = None) -> np.ndarray:
    """Return the fused heat maps of n photos.

    Args:
        heat_maps: of each view, float [n, h, w], h and w being the view's own.
        folder: of the file of many maps, see `arrays.scratch`.

    Returns:
        float32 [n, 56, 56], or the heat maps themselves where there is one view. A view whose heat map of a photo is
        constant has no direction there and adds nothing.
    """
    if len(heat_maps) == 1:
        return heat_maps[0]
    fused = scratch(folder, (len(heat_maps[0]), GRID, GRID), np.float32)
    for start in range(0, len(fused), CHUNK):
        part = slice(start, start + CHUNK)
        views = [np.asarray(_resize(_standardised(heat[part]))) for heat in heat_maps]
        fused[part] = np.mean(views, axis=0, dtype=np.float32)
    return fused


def _standardised(heat: np.ndarray) -> np.ndarray:
    """Heat maps [n, h, w] divided by their own standard deviations; zeros where a map is constant."""
    deviation = heat.std(axis=(1, 2), keepdims=True, dtype=np.float64)
    return np.divide(heat, deviation, out=np.zeros_like(heat, np.float32), where=deviation > 0, casting="same_kind")


@jax.jit
def _resize(heat: jax.Array) -> jax.Array:
    # One after another: a product over all photos at once rounds those at its end differently on some processors.
    return jax.lax.map(
        lambda one: jax.image.resize(one, (GRID, GRID), "linear", antialias=False), heat.astype(jnp.float32)
    )
