"""K-means of one photo's pixels into three clusters, as scikit-learn's `k_means` does it, with fixed shapes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

CLUSTERS = 3
MAX_TURNS = 300
TOLERANCE = 1e-4  # of the mean variance of a channel: the squared shift of the centres at which they have settled


class Clusters(NamedTuple):
    """What K-means finds.

    Attributes:
        assignment: int32 [n], the cluster of each pixel.
        centres: [3, d].
        turns: int32, how often the centres moved.
    """

    assignment: jax.Array
    centres: jax.Array
    turns: jax.Array


class _Turn(NamedTuple):
    """Centres as weights of the pixels, so that all distances come from products of pixels with pixels.

    Attributes:
        products: [n, 3], of the centred pixels with the centres.
        norms: [3], squared, of the centres.
        weights: [3, n], of the pixels in each centre.
        assignment: int32 [n], to the centres before these; -1 before the first turn.
        turns: how many are done.
        settled: nothing changes any more.
        strictly: because no assignment changed.
    """

    products: jax.Array
    norms: jax.Array
    weights: jax.Array
    assignment: jax.Array
    turns: jax.Array
    settled: jax.Array
    strictly: jax.Array


def cluster(pixels: jax.Array, start: jax.Array, tied: jax.Array) -> Clusters:
    """K-means from given centres: squared Euclidean distances, at most 300 turns, scikit-learn's rules throughout.

    It stops when no assignment changes, or when the squared shift of all centres is at most 1e-4 of the mean variance
    of a channel. An empty cluster takes the pixel that is farthest from its centre; if all pixels lie on their
    centres, it takes the place of the largest cluster. Of equal distances the first cluster wins.

    Args:
        pixels: float32 [n, d].
        start: [3, d], the first centres.
        tied: bool, the second and the third are the same: told rather than found, since a rounding must not part them.

    Returns:
        The clusters, in the order of `start`.
    """
    mean = pixels.mean(axis=0, keepdims=True)
    x, centres = pixels - mean, start - mean
    squares, products_of = (x * x).sum(axis=1), _products(x)
    tolerance = TOLERANCE * squares.mean() / x.shape[1]
    n = len(x)

    def distances(turn: _Turn) -> jax.Array:
        return squares[:, None] - 2 * turn.products + turn.norms[None]

    def nearest(turn: _Turn) -> jax.Array:
        far = jnp.where(tied & (turn.turns == 0), jnp.array([0, 0, jnp.inf]), 0)
        return (distances(turn) + far[None]).argmin(axis=1).astype(jnp.int32)

    def move(turn: _Turn) -> _Turn:
        assignment = nearest(turn)
        to_own = jnp.take_along_axis(distances(turn), assignment[:, None], axis=1)[:, 0]
        weights = _means(_relocated(assignment, to_own))
        products = products_of(weights)
        norms = (weights * products.T).sum(axis=1)
        shift = (norms - 2 * (weights * turn.products.T).sum(axis=1) + turn.norms).sum()
        strictly = (assignment == turn.assignment).all()
        settled = strictly | (shift <= tolerance)
        return _Turn(products, norms, weights, assignment, turn.turns + 1, settled, strictly)

    first = _Turn(
        jnp.matmul(x, centres.T, precision="highest"),
        (centres * centres).sum(axis=1),
        jnp.zeros((CLUSTERS, n), x.dtype),
        jnp.full(n, -1, jnp.int32),
        jnp.zeros((), jnp.int32),
        jnp.zeros((), bool),
        jnp.zeros((), bool),
    )
    last = jax.lax.while_loop(lambda turn: ~turn.settled & (turn.turns < MAX_TURNS), move, first)
    assignment = jnp.where(last.strictly, last.assignment, nearest(last))
    return Clusters(assignment, jnp.matmul(last.weights, x, precision="highest") + mean, last.turns)


def _products(x: jax.Array):
    """Weights [3, n] of pixels -> products [n, 3] of the pixels x [n, d] with those centres."""
    n, d = x.shape
    if n < d // 4:
        gram = jnp.matmul(x, x.T, precision="highest")
        return lambda weights: jnp.matmul(gram, weights.T, precision="highest")
    return lambda weights: jnp.matmul(x, jnp.matmul(weights, x, precision="highest").T, precision="highest")


def _relocated(assignment: jax.Array, to_own: jax.Array) -> jax.Array:
    """Assignments [n] of which an empty cluster has the farthest pixel, a second empty one the next, if any is off.

    Args:
        assignment: int32 [n].
        to_own: [n], squared distances of the pixels to their centres.
    """
    is_empty = ~(assignment[:, None] == jnp.arange(CLUSTERS)[None]).any(axis=0)
    farthest = jax.lax.top_k(to_own, CLUSTERS - 1)[1]
    rank = jnp.cumsum(is_empty) - 1  # of an empty cluster among the empty ones
    pixel = jnp.where(is_empty & (to_own.max() > 0), farthest[jnp.clip(rank, 0, CLUSTERS - 2)], len(assignment))
    return assignment.at[pixel].set(jnp.arange(CLUSTERS, dtype=jnp.int32), mode="drop")


def _means(assignment: jax.Array) -> jax.Array:
    """Weights [3, n] that make each cluster's mean; of an empty one those of the largest."""
    members = (assignment[None] == jnp.arange(CLUSTERS)[:, None]).astype(jnp.float32)
    count = members.sum(axis=1, keepdims=True)
    weights = members / jnp.maximum(count, 1)
    return jnp.where(count > 0, weights, weights[count[:, 0].argmax()][None])
