"""What every backbone is made of: preprocessing, batch norm, the walk over its stages."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from wsol_jax.errors import InputError


class Preprocessing(NamedTuple):
    """What a network's weights expect of a photo: (rgb - mean) / std, on the scale 0..255.

    Attributes:
        mean: of red, green, blue.
        std: of red, green, blue.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Preprocessing(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


def preprocess(image: jax.Array, preprocessing: Preprocessing, dtype: str = "float32") -> jax.Array:
    """Photos [b, h, w, 3], uint8 or float in 0..255, as the network wants them: the same shape, in `dtype`."""
    mean, std = (jnp.array(value, jnp.float32).reshape(1, 1, 1, 3) for value in preprocessing)
    return ((image.astype(jnp.float32) - mean) / std).astype(dtype)


def batch_norm(name: str, train: bool, dtype: str, epsilon: float = 1e-5) -> nn.BatchNorm:
    """Batch norm as torch trains it (momentum 0.1 there is 0.9 here), but its running variance is the biased one.

    The variance is computed from centred values: sums of squares cancel in float32.
    """
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=epsilon,
        dtype=dtype,
        use_fast_variance=False,
        name=name,
    )


def frozen_stages(module: nn.Module) -> list[str]:
    """The stages of a backbone that are not trained: all up to `module.freeze`.

    Raises:
        InputError: no stage is called so.
    """
    names = list(module.stages)
    if module.freeze and module.freeze not in names:
        raise InputError(f"freeze={module.freeze!r} is no stage; there are {', '.join(names)}")
    return names[: names.index(module.freeze) + 1] if module.freeze else []


Hook = Callable[[nn.Module, str, jax.Array, bool], jax.Array]
"""(backbone, name of a stage or block, its features, train) -> features: a method's way to change them on their way."""


def hooked(module: nn.Module, name: str, features: jax.Array, train: bool) -> jax.Array:
    """What a backbone's `hook`, if it has one, makes of the features of a stage or block."""
    hook = getattr(module, "hook", None)
    return features if hook is None else hook(module, name, features, train)


def walk(
    module: nn.Module,
    image: jax.Array,
    train: bool,
    smallest: int,
    stage: Callable[[str, jax.Array, bool], jax.Array],
) -> dict[str, jax.Array]:
    """Takes preprocessed photos through a backbone's stages, frozen up to `module.freeze`.

    A frozen stage uses the running averages of its batch norms, leaves them as they are, and gets no gradient.
    Gradients with respect to a stage's map are taken through the collection 'perturbations', {stage: zeros like it}.

    Args:
        module: the backbone; has `stages`, `freeze` and perhaps `hook`.
        image: float [b, h, w, 3].
        train: whether the stages that are not frozen normalise by the batch and remember its averages.
        smallest: the shortest side, in pixels, that leaves one cell of the last map.
        stage: (name, features, train) -> features.

    Returns:
        The map [b, h, w, d] of every stage, in order (which `jax.jit` forgets: it sorts the keys of a dict).

    Raises:
        InputError: the photos are too small, or no stage is called `module.freeze`.
    """
    frozen = len(frozen_stages(module))
    if image.ndim != 4 or image.shape[3] != 3 or min(image.shape[1:3]) < smallest:
        raise InputError(f"photos of shape {image.shape}; expected [b, h, w, 3] with h and w at least {smallest}")
    x, maps = image, {}
    for position, name in enumerate(module.stages, start=1):
        x = hooked(module, name, stage(name, x, train and position > frozen), train)
        if position <= frozen:  # each: an auxiliary head may look at any of them
            x = lax.stop_gradient(x)
        if not module.is_initializing():  # there a stage may not share its name with a layer, as 'conv1' does
            x = module.perturb(name, x)
        maps[name] = x
    return maps
