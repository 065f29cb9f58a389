"""What every backbone is made of: preprocessing, quick convolutions, batch norm, the walk over its stages."""

from collections.abc import Callable, Iterator
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


def convolution(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: tuple[int, int],
    padding: str | list[tuple[int, int]],
    feature_group_count: int = 1,
    **options,
) -> jax.Array:
    """`lax.conv_general_dilated` on NHWC and HWIO, written otherwise where XLA's CPU compiler is slow.

    On CPU a 1x1 convolution is a matrix product (its weight gradient is up to twice as quick so), a depthwise one is
    k * k shifted multiply-adds (many times as quick), and the weight gradient of one in groups is k * k products of
    matrices for each group (hundreds of times as quick). Which form is used is decided when the program is lowered for
    a device; both give the same numbers up to the order of the sums. For `nn.Conv(conv_general_dilated=convolution)`.

    Args:
        lhs: features [b, h, w, d].
        rhs: kernel [k, k, d / feature_group_count, d'].
        window_strides: vertical and horizontal stride.
        padding: 'SAME' (TensorFlow's), 'VALID', or (before, after) for both axes.
        feature_group_count: groups of channels that do not see each other.
        **options: the other arguments of `lax.conv_general_dilated`.

    Returns:
        Features [b, h', w', d'].
    """

    def general(lhs: jax.Array, rhs: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            lhs, rhs, window_strides, padding, feature_group_count=feature_group_count, **options
        )

    size, strides = rhs.shape[:2], tuple(window_strides)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], size, strides, padding)
    dilated = any(d != 1 for name in ("lhs_dilation", "rhs_dilation") for d in options.get(name) or ())
    pointwise = size == (1, 1) and feature_group_count == 1 and all(p == (0, 0) for p in padding)
    depthwise = 1 < feature_group_count == lhs.shape[-1] == rhs.shape[-1]
    if dilated or not (pointwise or feature_group_count > 1):
        return general(lhs, rhs)

    def on_cpu(lhs: jax.Array, rhs: jax.Array) -> jax.Array:
        if pointwise:
            return _pointwise(lhs, rhs, strides)
        if depthwise:
            return _depthwise(lhs, rhs, strides, padding)
        return _grouped(general, lhs, rhs, strides, padding)

    return lax.platform_dependent(lhs, rhs, cpu=on_cpu, default=general)


def _pointwise(features: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
    return features[:, :: strides[0], :: strides[1]] @ kernel[0, 0]


def _shifted(
    features: jax.Array, size: tuple[int, int], strides: tuple[int, int], padding: list
) -> Iterator[tuple[tuple[int, int], jax.Array]]:
    """Each (row, column) of a kernel of this size, and the features [b, h', w', d] that it meets."""
    padded = jnp.pad(features, ((0, 0), *padding, (0, 0)))
    (down, right), (kh, kw) = strides, size
    height, width = ((n - k) // s + 1 for n, k, s in zip(padded.shape[1:3], size, strides, strict=True))
    for i in range(kh):
        for j in range(kw):
            yield (i, j), padded[:, i : i + down * height : down, j : j + right * width : right]


def _depthwise(features: jax.Array, kernel: jax.Array, strides: tuple[int, int], padding: list) -> jax.Array:
    shifted = _shifted(features, kernel.shape[:2], strides, padding)
    return sum(met * kernel[position].reshape(1, 1, 1, -1) for position, met in shifted)


def _grouped(
    general: Callable[[jax.Array, jax.Array], jax.Array],
    features: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, int],
    padding: list,
) -> jax.Array:
    """`general`, a convolution in groups, with a weight gradient of its own; lax's is the only part that is slow."""

    def forward(features: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        return general(features, kernel), (features, kernel)

    def backward(saved: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        features, kernel = saved
        (of_features,) = jax.vjp(lambda features: general(features, kernel), features)[1](gradient)
        depth = kernel.shape[2]
        groups = features.shape[-1] // depth
        by_group = gradient.reshape(*gradient.shape[:3], groups, -1)
        of_kernel = [
            jnp.einsum("bhwgc,bhwgd->cgd", met.reshape(*met.shape[:3], groups, depth), by_group)
            for _, met in _shifted(features, kernel.shape[:2], strides, padding)
        ]
        return of_features, jnp.stack(of_kernel).reshape(kernel.shape)

    convolve = jax.custom_vjp(general)
    convolve.defvjp(forward, backward)
    return convolve(features, kernel)


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
