"""C2AM: foregrounds of different photos are pulled together, so are backgrounds; the two are pushed apart (CVPR 2022).

C2AM: Class-agnostic Activation Map; Xie et al. The formulas are those of the published code.
"""

import jax
import jax.numpy as jnp

LOWEST, HIGHEST = 5e-4, 0.9995  # of a cosine similarity, so that no logarithm is infinite
SHORTEST = 1e-12  # length of a vector below which its direction counts as zero


def contrast(background: jax.Array, foreground: jax.Array, alpha: float) -> jax.Array:
    """Return the loss of C2AM: Pos(background) + Neg(background, foreground) + Pos(foreground).

    Args:
        background: [b, d], the mean of (1 - P) F over the cells of each photo, of its features F and its map P.
        foreground: [b, d], the mean of P F.
        alpha: see `pull`.
    """
    return pull(background, alpha) + push(background, foreground) + pull(foreground, alpha)


def pull(vectors: jax.Array, alpha: float) -> jax.Array:
    """Return Pos: the mean over all pairs of -log(s_ij) exp(-alpha rank_ij).

    Args:
        vectors: [b, d].
        alpha: how much less the dissimilar pairs count. rank_ij is the place of j among the vectors most similar to i,
            with i itself at -1 and the next one at 0.

    Returns:
        A scalar. The published code counts a vector's pair with itself too, which adds a constant.
    """
    similarity = similarities(vectors, vectors)
    order = jnp.argsort(-jax.lax.stop_gradient(similarity), axis=1)
    rank = jnp.argsort(order, axis=1).astype(jnp.float32) - 1
    return (-jnp.log(similarity) * jnp.exp(-alpha * rank)).mean()


def push(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return Neg: the mean over all pairs of -log(1 - s_ij).

    Args:
        a: [n, d].
        b: [m, d].
    """
    return -jnp.log(1 - similarities(a, b)).mean()


def similarities(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the cosine similarities of all pairs, held in [0.0005, 0.9995], float32 [n, m].

    Args:
        a: [n, d].
        b: [m, d].
    """
    cosines = jnp.matmul(_directions(a), _directions(b).T, precision="highest")
    return jnp.clip(cosines, LOWEST, HIGHEST)


def _directions(vectors: jax.Array) -> jax.Array:
    """Vectors of length 1; zeros, and no gradient of NaN, where a vector has no direction."""
    x = vectors.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum((x * x).sum(axis=1, keepdims=True), SHORTEST**2))
