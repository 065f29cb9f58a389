"""Maximum mean discrepancy between source and target features of each photo (DA-WSOL, section 3.4, Eq. 9)."""

import jax
import jax.numpy as jnp

KERNELS = 5
"""Number of Gaussian kernels in the sum; each is twice as wide as the one before, the middle one fits the spread."""


def linear(source: jax.Array, target: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the estimator of linear time that DA-WSOL's code trains with, and the number of flat photos.

    Per photo mean_i k(s_i, s_i+1) + k(t_i, t_i+1) - k(s_i, t_i+1) - k(s_i+1, t_i), indices mod n. It may be negative,
    and it depends on the order of the samples.

    Args:
        source: [b, n, d].
        target: [b, n, d], as many samples as the source has.
        mask: bool [b], the photos that count; the values of the others, even NaN, have no influence.

    Returns:
        The mean over the photos that count, 0 if none does, and the number of flat ones among them, int32: all their
        samples are one point, so they add 0. The published code gives NaN for either.
    """
    source, target, spread = _in_units_of_spread(source, target, mask)
    source_next, target_next = (jnp.roll(x, -1, axis=1) for x in (source, target))
    within = _kernel_of_pairs(source, source_next) + _kernel_of_pairs(target, target_next)
    across = _kernel_of_pairs(source, target_next) + _kernel_of_pairs(source_next, target)
    return _mean_over_photos((within - across).mean(axis=1), mask, spread)


def quadratic(source: jax.Array, target: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the estimator of quadratic time (Eq. 9, in DA-WSOL's code but unused), and the number of flat photos.

    Per photo mean k(s, s') + mean k(t, t') - 2 mean k(s, t) over all pairs, a sample with itself too; never negative.

    Args:
        source: [b, n, d].
        target: [b, m, d].
        mask: bool [b], the photos that count; the values of the others, even NaN, have no influence.

    Returns:
        The same as `linear`.
    """
    source, target, spread = _in_units_of_spread(source, target, mask)
    n, m = source.shape[1], target.shape[1]
    samples = jnp.concatenate([source, target], axis=1)
    gram = jnp.einsum("bid,bjd->bij", samples, samples, precision="highest")
    norm = jnp.diagonal(gram, axis1=1, axis2=2)  # so that the distance of a sample to itself is exactly zero
    kernel = _kernel(norm[:, :, None] + norm[:, None, :] - 2 * gram)
    sign = jnp.concatenate([jnp.full(n, 1 / n), jnp.full(m, -1 / m)])
    return _mean_over_photos(jnp.einsum("i,bij,j->b", sign, kernel, sign, precision="highest"), mask, spread)


def _in_units_of_spread(
    source: jax.Array, target: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Both sets moved and scaled so that the narrowest kernel of a photo is exp(-squared distance).

    The published bandwidth is the mean squared distance between two samples, a constant to the gradient, over
    2^(KERNELS // 2). That mean is twice the scatter around the centre over N - 1, so no distances are needed.

    Returns:
        source [b, n, d] and target [b, m, d], float32, and bool [b], whether the samples of a photo that counts are
        more than one point; where not, both sets are zeros.
    """
    source, target = (jnp.where(mask[:, None, None], x.astype(jnp.float32), 0) for x in (source, target))
    samples = jax.lax.stop_gradient(jnp.concatenate([source, target], axis=1))
    first = samples[:, :1]  # subtracted first, so that equal samples have a scatter of exactly zero
    centre = first + (samples - first).mean(axis=1, keepdims=True)
    scatter = jnp.square(samples - centre).sum(axis=(1, 2), keepdims=True)
    bandwidth = 2 * scatter / (samples.shape[1] - 1) / 2 ** (KERNELS // 2)
    spread = bandwidth != 0  # a broken feature stays NaN
    scale = jnp.where(spread, jax.lax.rsqrt(jnp.where(spread, bandwidth, 1)), 0)
    return (source - centre) * scale, (target - centre) * scale, spread[:, 0, 0]


def _kernel_of_pairs(a: jax.Array, b: jax.Array) -> jax.Array:
    return _kernel(jnp.square(a - b).sum(axis=-1))


def _kernel(distance: jax.Array) -> jax.Array:
    return sum(jnp.exp(-distance / 2**j) for j in range(KERNELS))


def _mean_over_photos(value: jax.Array, mask: jax.Array, spread: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The mean of value [b] over mask, zero where there is no spread, and the number of mask without spread."""
    return jnp.where(spread, value, 0).sum() / jnp.maximum(mask.sum(), 1), (mask & ~spread).sum()
