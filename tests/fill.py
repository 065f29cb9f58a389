"""Deterministic weights, so that a golden needs no weight file: a (name, shape) gives the same numbers everywhere.

`fill(name, shape)` is defined on PyTorch-style names and shapes (OIHW convolutions, [out, in] linear layers).
"""

import math
import zlib

import numpy as np


def fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float64 values for one state-dict entry; integer counters (num_batches_tracked) are not filled."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if name.endswith("running_var"):
        return rng.uniform(0.8, 1.2, shape)
    if name.endswith("running_mean") or name.endswith("bias"):
        return rng.normal(0.0, 0.1, shape)
    if len(shape) == 1:  # the scale of a normalisation layer
        return rng.uniform(0.5, 1.0, shape)
    return rng.normal(0.0, math.sqrt(2.0 / math.prod(shape[1:])), shape)


def image(height: int, width: int) -> np.ndarray:
    """A [1, 3, height, width] float64 input in about [-2, 2]."""
    rng = np.random.Generator(np.random.PCG64(height * 10_000 + width))
    return rng.uniform(-2.0, 2.0, (1, 3, height, width))
