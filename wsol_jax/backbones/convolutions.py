"""Convolutions and pools in other forms where XLA's CPU compiler is slow."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from wsol_jax import devices

FEW_CHANNELS = 32
"""Of a kernel's input: below them, as for photos, lax's weight gradient is quicker on CPU than matrix products."""

LARGE_MAP, STRIP, MOST_STRIPS = 2**23, 2**21, 32
"""Bytes of a map above which that is slow again, bytes of its strips, and their largest number."""


def convolution(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: tuple[int, int],
    padding: str | list[tuple[int, int]],
    feature_group_count: int = 1,
    **options,
) -> jax.Array:
    """Return `lax.conv_general_dilated` of NHWC and HWIO, in another form where XLA's CPU compiler is slow.

    On CPU a 1x1 convolution is a matrix product, a depthwise one is k * k shifted multiply-adds (many times as fast),
    and one without padding gets a spare row of zeros, cut off again (up to five times as fast). The weight gradient of
    the others is k * k matrix products (up to three times as fast, in groups hundreds of times), but for few channels
    it is lax's, and of a large map a sum over strips of its rows (up to three times as fast). The form is chosen when
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
    few = not grouped and rhs.shape[2] < FEW_CHANNELS
    if dilated or (few and not (pointwise or bare or large)):
        return general(lhs, rhs)

    def with_spare_row(lhs: jax.Array, rhs: jax.Array) -> jax.Array:
        return padded_by([(0, 1), (0, 0)], lhs, rhs)[:, :-1]

    def on_cpu(lhs: jax.Array, rhs: jax.Array) -> jax.Array:
        if pointwise:
            return _pointwise(lhs, rhs, strides)
        convolve = with_spare_row if bare else general
        if few and not large:
            return convolve(lhs, rhs)
        of_kernel = _weights_in_strips if few else _weights_of_shifts
        of_features = None
        if depthwise:
            convolve, of_kernel = partial(_depthwise, strides=strides, padding=pads), _weights_by_rows
            of_features = partial(_features_by_rows, strides=strides, padding=pads)
        return _with_gradients(convolve, partial(of_kernel, strides=strides, padding=pads), lhs, rhs, of_features)

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


def _with_gradients(
    general: Callable[[jax.Array, jax.Array], jax.Array],
    of_kernel: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
    features: jax.Array,
    kernel: jax.Array,
    of_features: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] | None = None,
) -> jax.Array:
    """The convolution `general`, its gradients by functions (features, kernel, gradient) -> gradient, or its own."""

    def pulled_back(features: jax.Array, kernel: jax.Array, gradient: jax.Array) -> jax.Array:
        return jax.vjp(lambda features: general(features, kernel), features)[1](gradient)[0]

    def backward(saved: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        # One sum over the devices and none in the loop of `of_kernel`, which processes on CPU mix up with other sums.
        of_devices = devices.per_shard(lambda x, g, k: of_kernel(x, k, g)[None], [saved[0], gradient], [saved[1]])
        return (of_features or pulled_back)(*saved, gradient), of_devices.sum(axis=0)

    convolve = jax.custom_vjp(general)
    convolve.defvjp(lambda features, kernel: (general(features, kernel), (features, kernel)), backward)
    return convolve(features, kernel)


def _features_by_rows(
    features: jax.Array, kernel: jax.Array, gradient: jax.Array, strides: tuple[int, int], padding: list
) -> jax.Array:
    """The depthwise convolution of the spread gradient with the kernel turned round, in a loop over rows.

    Outside of a loop, XLA would fuse the operations that lead to the gradient into each of the k * k shifts.
    """
    size, sides = kernel.shape[:2], zip(features.shape[1:3], gradient.shape[1:3], strict=True)
    spread = []
    for k, s, (before, _), (wide, narrow) in zip(size, strides, padding, sides, strict=True):
        low = k - 1 - before
        spread.append((low, wide + k - 1 - low - (s * (narrow - 1) + 1), s - 1))
    padded = lax.pad(gradient, jnp.zeros((), gradient.dtype), [(0, 0, 0), *spread, (0, 0, 0)])
    turned = kernel[::-1, ::-1]

    def add_row(row: jax.Array, rows: jax.Array) -> jax.Array:
        window = lax.dynamic_slice_in_dim(padded, row, size[0], axis=1)
        return lax.dynamic_update_slice_in_dim(rows, _depthwise(window, turned, (1, 1), [(0, 0), (0, 0)]), row, axis=1)

    return lax.fori_loop(0, features.shape[1], add_row, jnp.zeros_like(features))


def _weights_by_rows(
    features: jax.Array, kernel: jax.Array, gradient: jax.Array, strides: tuple[int, int], padding: list
) -> jax.Array:
    """Sums of shifted products of each channel, in a loop over rows: else XLA would keep k * k maps of products."""
    padded = jnp.pad(features, ((0, 0), *padding, (0, 0)))
    size, (b, height, width, d) = kernel.shape[:2], gradient.shape

    def add_row(row: jax.Array, sums: list[jax.Array]) -> list[jax.Array]:
        of_row = lax.dynamic_index_in_dim(gradient, row, axis=1)
        rows = lax.dynamic_slice_in_dim(padded, strides[0] * row, size[0], axis=1)
        shifted = _shifted(rows, size, (1, strides[1]), [(0, 0), (0, 0)])
        return [total + x * of_row for total, (_, x) in zip(sums, shifted, strict=True)]

    zeros = jnp.zeros((b, 1, width, d), jnp.promote_types(kernel.dtype, jnp.float32))
    sums = lax.fori_loop(0, height, add_row, [zeros] * math.prod(size))
    return jnp.stack([total.sum((0, 1, 2)) for total in sums]).reshape(kernel.shape).astype(kernel.dtype)


def _weights_of_shifts(
    features: jax.Array, kernel: jax.Array, gradient: jax.Array, strides: tuple[int, int], padding: list
) -> jax.Array:
    """For each place in the kernel the product of two maps, in each group; it shifts the narrower one if it can.

    In a loop, in which products are as fast as outside: unrolled, XLA would keep the k * k shifted maps all at once.
    """
    size, depth = kernel.shape[:2], kernel.shape[2]
    around = [(k - 1 - before, k - 1 - after) for k, (before, after) in zip(size, padding, strict=True)]
    can_shift_gradient = strides == (1, 1) and min(n for sides in around for n in sides) >= 0
    shift_gradient = can_shift_gradient and gradient.shape[-1] < features.shape[-1]
    moving, still, pads = (gradient, features, around) if shift_gradient else (features, gradient, padding)
    padded = jnp.pad(moving, ((0, 0), *pads, (0, 0)))
    extent = [s * (n - 1) + 1 for s, n in zip(strides, still.shape[1:3], strict=True)]

    def by_group(x: jax.Array) -> jax.Array:
        return x.reshape(math.prod(x.shape[:3]), features.shape[-1] // depth, -1).swapaxes(0, 1)

    def product(position: jax.Array) -> jax.Array:
        window = lax.dynamic_slice(padded, (0, *position, 0), (moving.shape[0], *extent, moving.shape[-1]))
        return turned @ by_group(window[:, :: strides[0], :: strides[1]])

    positions = jnp.indices(size).reshape(2, -1).T
    turned = by_group(still).mT  # once: in the loop, XLA would turn it again for each product
    products = lax.map(product, positions[::-1] if shift_gradient else positions)
    return products.transpose((0, 2, 1, 3) if shift_gradient else (0, 3, 1, 2)).reshape(kernel.shape)


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
        return _largest(padded, window_shape, strides)

    return lax.platform_dependent(features, cpu=on_cpu, default=general)


def _largest(padded: jax.Array, size: tuple[int, int], strides: tuple[int, int]) -> jax.Array:
    """The largest of the shifted maps; the gradient goes to the first of equal ones, or to the last NaN."""

    def shifted(padded: jax.Array, strides: tuple[int, int]) -> list[jax.Array]:
        return [x for _, x in _shifted(padded, size, strides, [(0, 0), (0, 0)])]

    def pool(padded: jax.Array) -> jax.Array:
        return reduce(_larger, shifted(padded, strides))

    if size[0] <= strides[0] and size[1] <= strides[1]:  # no value is compared in two windows
        return pool(padded)

    def which(padded: jax.Array, like: jax.Array) -> jax.Array:
        """The index of the largest one, in a loop over rows: else XLA would compare all again for each of them."""

        def add_row(row: jax.Array, rows: jax.Array) -> jax.Array:
            window = lax.dynamic_slice_in_dim(padded, strides[0] * row, size[0], axis=1)
            largest, *others = shifted(window, (1, strides[1]))
            index = jnp.zeros(largest.shape, rows.dtype)
            for i, x in enumerate(others, start=1):
                index = jnp.where((x > largest) | jnp.isnan(x), i, index)
                largest = _larger(largest, x)
            return lax.dynamic_update_slice_in_dim(rows, index, row, axis=1)

        return lax.fori_loop(0, like.shape[1], add_row, jnp.zeros(like.shape, jnp.int16))

    def backward(padded: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
        index, (maps, pull) = which(padded, gradient), jax.vjp(lambda padded: shifted(padded, strides), padded)
        return pull([jnp.where(index == i, gradient, jnp.zeros_like(gradient)) for i in range(len(maps))])

    largest = jax.custom_vjp(pool)
    largest.defvjp(lambda padded: (pool(padded), padded), backward)
    return largest(padded)


def _larger(first: jax.Array, second: jax.Array) -> jax.Array:
    """The larger of two numbers, the first if they are equal, NaN if either is."""
    return jnp.where((second > first) | jnp.isnan(second), second, first)
