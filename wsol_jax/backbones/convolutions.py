"""Convolutions and pools in other forms where XLA's CPU compiler is slow."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

LARGE_MAP, STRIP, MOST_STRIPS = 2**23, 2**21, 32
"""Bytes of a map above which lax's weight gradient is slow on CPU, bytes of its strips, and their largest number."""


def convolution(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: tuple[int, int],
    padding: str | list[tuple[int, int]],
    feature_group_count: int = 1,
    **options,
) -> jax.Array:
    """Return `lax.conv_general_dilated` of NHWC and HWIO, in another form where XLA's CPU compiler is slow.

    On CPU a 1x1 convolution is a matrix product (the weight gradient is up to twice as fast), a depthwise one is k * k
    shifted multiply-adds (many times as fast), one without padding gets a spare row of zeros, cut off again (up to five
    times as fast), the weight gradient of one in groups is k * k matrix products for each group (hundreds of times as
    fast), and that of a large map is a sum over strips of its rows (up to three times as fast). The form is chosen when
    the program is lowered for a device; both give the same numbers up to the order of the sums.
    For `nn.Conv(conv_general_dilated=convolution)`.

    Args:
        lhs: features [b, h, w, d].
        rhs: kernel [k, k, d / feature_group_count, d'].
        window_strides: vertical and horizontal stride.
        padding: 'SAME' (TensorFlow's), 'VALID', or (before, after) for both axes.
        feature_group_count: number of groups of channels that are convolved apart.
        **options: the other arguments of `lax.conv_general_dilated`.

    Returns:
        Features [b, h', w', d'].
    """

    def padded_by(pads: list[tuple[int, int]], lhs: jax.Array, rhs: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            lhs, rhs, window_strides, pads, feature_group_count=feature_group_count, **options
        )

    size, strides, pads = rhs.shape[:2], tuple(window_strides), padding
    apart = [options.get(name) or (1, 1) for name in ("lhs_dilation", "rhs_dilation")]
    if isinstance(padding, str):
        sides = zip((lhs.shape[1:3], size), apart, strict=True)
        spread = ([d * (n - 1) + 1 for n, d in zip(*pair, strict=True)] for pair in sides)
        pads = lax.padtype_to_pads(*spread, strides, padding)
    general = partial(padded_by, pads)
    unpadded = all(tuple(p) == (0, 0) for p in pads)
    dilated = any(d != 1 for pair in apart for d in pair)
    grouped = feature_group_count > 1
    pointwise = size == (1, 1) and not grouped and unpadded
    depthwise = grouped and feature_group_count == lhs.shape[-1] == rhs.shape[-1]
    bare = unpadded and not grouped and strides == (1, 1)
    result = jax.eval_shape(general, lhs, rhs)
    is_known = all(isinstance(n, int) for n in result.shape)  # not for any number of photos, which are not trained on
    large = is_known and result.size * result.dtype.itemsize > LARGE_MAP
    if dilated or not (pointwise or grouped or bare or large):
        return general(lhs, rhs)

    def with_spare_row(lhs: jax.Array, rhs: jax.Array) -> jax.Array:
        return padded_by([(0, 1), (0, 0)], lhs, rhs)[:, :-1]

    def on_cpu(lhs: jax.Array, rhs: jax.Array) -> jax.Array:
        if pointwise:
            return _pointwise(lhs, rhs, strides)
        if depthwise:
            return _depthwise(lhs, rhs, strides, pads)
        convolve = with_spare_row if bare else general
        if not (grouped or large):
            return convolve(lhs, rhs)
        of_kernel = _weights_of_groups if grouped else _weights_in_strips
        return _with_weight_gradient(convolve, partial(of_kernel, strides=strides, padding=pads), lhs, rhs)

    return lax.platform_dependent(lhs, rhs, cpu=on_cpu, default=general)


def _pointwise(features: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
    """The product of two matrices: with more axes XLA would copy and transpose the gradient for the kernel's."""
    cells = features[:, :: strides[0], :: strides[1]]
    return (cells.reshape(-1, cells.shape[-1]) @ kernel[0, 0]).reshape(*cells.shape[:-1], -1)


def _shifted(
    features: jax.Array, size: tuple[int, int], strides: tuple[int, int], padding: list
) -> Iterator[tuple[tuple[int, int], jax.Array]]:
    """Yield each (row, column) of a kernel of this size, and the features [b, h', w', d] that it multiplies."""
    padded = jnp.pad(features, ((0, 0), *padding, (0, 0)))
    (down, right), (kh, kw) = strides, size
    height, width = ((n - k) // s + 1 for n, k, s in zip(padded.shape[1:3], size, strides, strict=True))
    for i in range(kh):
        for j in range(kw):
            yield (i, j), padded[:, i : i + down * height : down, j : j + right * width : right]


def _depthwise(features: jax.Array, kernel: jax.Array, strides: tuple[int, int], padding: list) -> jax.Array:
    shifted = _shifted(features, kernel.shape[:2], strides, padding)
    return sum(x * kernel[position].reshape(1, 1, 1, -1) for position, x in shifted)


def _with_weight_gradient(
    general: Callable[[jax.Array, jax.Array], jax.Array],
    of_kernel: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
    features: jax.Array,
    kernel: jax.Array,
) -> jax.Array:
    """The convolution `general`, its weight gradient by the function (features, kernel, gradient) -> gradient."""

    def forward(features: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        return general(features, kernel), (features, kernel)

    def backward(saved: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        features, kernel = saved
        (of_features,) = jax.vjp(lambda features: general(features, kernel), features)[1](gradient)
        return of_features, of_kernel(features, kernel, gradient)

    convolve = jax.custom_vjp(general)
    convolve.defvjp(forward, backward)
    return convolve(features, kernel)


def _weights_of_groups(
    features: jax.Array, kernel: jax.Array, gradient: jax.Array, strides: tuple[int, int], padding: list
) -> jax.Array:
    depth = kernel.shape[2]
    groups = features.shape[-1] // depth
    by_group = gradient.reshape(*gradient.shape[:3], groups, -1)
    of_kernel = [
        jnp.einsum("bhwgc,bhwgd->cgd", x.reshape(*x.shape[:3], groups, depth), by_group)
        for _, x in _shifted(features, kernel.shape[:2], strides, padding)
    ]
    return jnp.stack(of_kernel).reshape(kernel.shape)


def _weights_in_strips(
    features: jax.Array, kernel: jax.Array, gradient: jax.Array, strides: tuple[int, int], padding: list
) -> jax.Array:
    """The sum of lax's own weight gradients over strips of rows, unrolled: in a loop, XLA's convolutions are slow."""
    (above, _), sides = padding
    rows = gradient.shape[1]
    height = -(-rows // min(MOST_STRIPS, gradient.nbytes // STRIP))
    total = jnp.zeros(kernel.shape, jnp.promote_types(kernel.dtype, jnp.float32))
    for top in range(0, rows, height):
        part = gradient[:, top : top + height]
        first = strides[0] * top - above
        last = first + strides[0] * (part.shape[1] - 1) + kernel.shape[0]
        rows_of_strip = features[:, max(first, 0) : last]
        pads = [(max(-first, 0), max(last - features.shape[1], 0)), sides]

        def strip(kernel: jax.Array, x: jax.Array = rows_of_strip, pads: list = pads) -> jax.Array:
            return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))

        total += jax.vjp(strip, kernel)[1](part)[0]
    return total.astype(kernel.dtype)


def max_pool(
    features: jax.Array,
    window_shape: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    padding: str | Sequence[tuple[int, int]] = "VALID",
) -> jax.Array:
    """Return `nn.max_pool`, in another form where XLA's CPU compiler is slow: its gradient is ten times as fast.

    On CPU it is the largest of k * k shifted maps, in the order in which lax walks through a window: of equal values
    the first one gets the gradient, as with lax, so that both give the same numbers.

    Args:
        features: [b, h, w, d].
        window_shape: height and width of a window.
        strides: vertical and horizontal stride.
        padding: 'SAME' (TensorFlow's), 'VALID', or (before, after) for both axes.

    Returns:
        Features [b, h', w', d].
    """

    def general(features: jax.Array) -> jax.Array:
        return nn.max_pool(features, window_shape, strides, padding)

    def on_cpu(features: jax.Array) -> jax.Array:
        pads = padding
        if isinstance(padding, str):
            pads = lax.padtype_to_pads(features.shape[1:3], window_shape, strides, padding)
        padded = jnp.pad(features, ((0, 0), *pads, (0, 0)), constant_values=-jnp.inf)
        return reduce(_larger, (x for _, x in _shifted(padded, window_shape, strides, [(0, 0), (0, 0)])))

    return lax.platform_dependent(features, cpu=on_cpu, default=general)


def _larger(first: jax.Array, second: jax.Array) -> jax.Array:
    """The larger of two numbers, the first if they are equal, NaN if either is."""
    return jnp.where((second > first) | jnp.isnan(second), second, first)
