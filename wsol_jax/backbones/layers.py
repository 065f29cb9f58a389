"""The parts that all backbones share: preprocessing, batch norm, strides, the walk over the stages."""

from collections.abc import Callable
from itertools import accumulate
from operator import mul
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from wsol_jax.errors import InputError


class Preprocessing(NamedTuple):
    """The normalisation of photos that weights were trained with: (rgb - mean) / std, on the scale 0..255.

    Attributes:
        mean: of red, green, blue.
        std: of red, green, blue.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Preprocessing(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))


def preprocess(image: jax.Array, preprocessing: Preprocessing, dtype: str = "float32") -> jax.Array:
    """Return normalised photos.

    Args:
        image: [b, h, w, 3], uint8 or float in 0..255.
        preprocessing: that of the network's weights.
        dtype: of the result.

    Returns:
        [b, h, w, 3], in `dtype`.
    """
    mean, std = (jnp.array(value, jnp.float32).reshape(1, 1, 1, 3) for value in preprocessing)
    return ((image.astype(jnp.float32) - mean) / std).astype(dtype)


class ReLU(nn.Module):
    """The positive part; a module, so that the gradients of every one can be guided, see `methods.stage_gradients`.

    Attributes:
        function: another one that cuts off the negative part, such as `nn.relu6`.
    """

    function: Callable[[jax.Array], jax.Array] = nn.relu

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return features of the same shape."""
        return self.function(x)


def batch_norm(name: str, train: bool, dtype: str, epsilon: float = 1e-5) -> nn.BatchNorm:
    """Return a batch norm like torch's (momentum 0.1 there is 0.9 here), except that its running variance is biased.

    The variance is computed from centred values: sums of squares cancel in float32.

    Args:
        name: of the module.
        train: whether it normalises by the batch and updates its running averages.
        dtype: of its output.
        epsilon: added to the variance.
    """
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=epsilon,
        dtype=dtype,
        use_fast_variance=False,
        name=name,
    )


def strides(module: nn.Module) -> dict[str, int]:
    """Return the stride of every stage that shrinks the map: the published one, or 1 for the last stages.

    The strides of the last stages are left out until a cell of the last map has `module.stride` pixels, so that it has
    more cells (wsolevaluation, DA-WSOL); the weights stay the same.

    Args:
        module: a backbone with `published_strides`, {stage: stride}, in order, and `stride`.

    Example:
        >>> from wsol_jax.backbones.resnet import ResNet
        >>> strides(ResNet(stride=8))
        {'conv1': 2, 'layer1': 2, 'layer2': 2, 'layer3': 1, 'layer4': 1}
    """
    published = module.published_strides
    pixels = accumulate(published.values(), mul)
    return {stage: published[stage] if n <= module.stride else 1 for stage, n in zip(published, pixels, strict=True)}


def frozen_stages(module: nn.Module) -> list[str]:
    """Return the stages of a backbone that are not trained: all up to `module.freeze`.

    Raises:
        InputError: no stage has this name.
    """
    names = list(module.stages)
    if module.freeze and module.freeze not in names:
        raise InputError(f"freeze={module.freeze!r} is no stage; expected one of {', '.join(names)}")
    return names[: names.index(module.freeze) + 1] if module.freeze else []


Hook = Callable[[nn.Module, str, jax.Array, bool], jax.Array]
"""(backbone, name of a stage or layer, its map, train) -> map: changes maps inside of a backbone, for a method."""


def hooked(module: nn.Module, name: str, features: jax.Array, train: bool) -> jax.Array:
    """Return the map of a stage or layer after the backbone's `hook`, if it has one."""
    return features if module.hook is None else module.hook(module, name, features, train)


def walk(
    module: nn.Module,
    image: jax.Array,
    train: bool,
    smallest: int,
    stage: Callable[[str, jax.Array, bool], jax.Array],
) -> dict[str, jax.Array]:
    """Return the map of every stage of a backbone, whose stages are frozen up to `module.freeze`.

    A frozen stage uses the running averages of its batch norms, leaves them as they are, and gets no gradient.
    Gradients with respect to a stage's map are taken through the collection 'perturbations', {stage: zeros like it}.

    Args:
        module: the backbone, with `stages`, `freeze` and `hook`.
        image: preprocessed photos, float [b, h, w, 3].
        train: whether the stages that are not frozen normalise by the batch and update their running averages.
        smallest: the shortest side, in pixels, that leaves one cell of the last map.
        stage: (name, features, train) -> features.

    Returns:
        {stage: map [b, h, w, d]}, in order (which `jax.jit` does not keep: it sorts the keys of a dict).

    Raises:
        InputError: the photos are too small, or no stage is named `module.freeze`.
    """
    frozen = len(frozen_stages(module))
    if image.ndim != 4 or image.shape[3] != 3 or min(image.shape[1:3]) < smallest:
        raise InputError(f"photos of shape {image.shape}; expected [b, h, w, 3] with h and w at least {smallest}")
    x, maps = image, {}
    for position, name in enumerate(module.stages, start=1):
        x = hooked(module, name, stage(name, x, train and position > frozen), train)
        if position <= frozen:  # each of them: an auxiliary head may take the map of any stage
            x = lax.stop_gradient(x)
        if not module.is_initializing():  # there a stage may not share its name with a layer, as 'conv1' does
            x = module.perturb(name, x)
        maps[name] = x
    return maps
