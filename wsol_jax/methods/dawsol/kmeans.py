"""K-means of one photo's pixels into three clusters, as scikit-learn's `k_means` does it, with fixed shapes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

CLUSTERS = 3
MAX_TURNS = 300
TOLERANCE = 1e-4  # of the mean variance of a channel: the largest squared shift of the centres that ends the iteration


class Clusters(NamedTuple):
    """The clusters of one photo.

    Attributes:
        assignment: int32 [n], the cluster of each pixel.
        centres: [3, d].
        turns: int32, the number of times the centres moved.
    """

    assignment: jax.Array
    centres: jax.Array
    turns: jax.Array


class _Turn(NamedTuple):
    """The clusters after a turn.

    Attributes:
        assignment: int32 [n], to the centres before these; -1 before the first turn.
        centres: [3, d].
        turns: int32, the number of turns that are done.
        settled: bool, the centres moved by less than the tolerance, or no assignment changed.
        unchanged: bool, no assignment changed.
    """

    assignment: jax.Array
    centres: jax.Array
    turns: jax.Array
    settled: jax.Array
    unchanged: jax.Array


def cluster(pixels: jax.Array, start: jax.Array, tied: jax.Array) -> Clusters:
    """Return the K-means clusters of pixels from given centres, by the rules of scikit-learn.

    Distances are squared Euclidean. The iteration stops after 300 turns, when no assignment changes, or when the
    squared shift of all centres is at most 1e-4 of the mean variance of a channel. An empty cluster takes the pixel
    that is farthest from its centre; if all pixels lie on their centres, it takes the centre of the largest cluster.
    Of equal distances the first cluster wins.

    Args:
        pixels: float32 [n, d].
        start: [3, d], the first centres.
        tied: bool, whether the second and the third centre are the same. It is an argument because rounding could
            make two equal centres differ in their distances; a tied third cluster starts empty.

    Returns:
        The clusters, in the order of `start`.
    """
    mean = pixels.mean(axis=0, keepdims=True)
    x = pixels - mean
    squares = (x * x).sum(axis=1)
    tolerance = TOLERANCE * squares.mean() / x.shape[1]

    def nearest(turn: _Turn) -> tuple[jax.Array, jax.Array]:
        """The cluster of each pixel, and its squared distance to that one's centre."""
        # centres first: XLA is a dozen times as slow at x @ centres.T after the product that computes the centres
        products = jnp.matmul(turn.centres, x.T, precision="highest")
        norms = (turn.centres * turn.centres).sum(axis=1, keepdims=True)
        excluded = jnp.where(tied & (turn.turns == 0), jnp.array([0, 0, jnp.inf]), 0)
        distance = squares[None] - 2 * products + norms + excluded[:, None]
        return distance.argmin(axis=0).astype(jnp.int32), distance.min(axis=0)

    def move(turn: _Turn) -> _Turn:
        assignment, distance = nearest(turn)
        centres = jnp.matmul(_means(_relocated(assignment, distance)), x, precision="highest")
        unchanged = (assignment == turn.assignment).all()
        settled = unchanged | (jnp.square(centres - turn.centres).sum() <= tolerance)
        return _Turn(assignment, centres, turn.turns + 1, settled, unchanged)

    no = jnp.zeros((), bool)
    first = _Turn(jnp.full(len(x), -1, jnp.int32), start - mean, jnp.zeros((), jnp.int32), no, no)
    last = jax.lax.while_loop(lambda turn: ~turn.settled & (turn.turns < MAX_TURNS), move, first)
    assignment = jnp.where(last.unchanged, last.assignment, nearest(last)[0])
    return Clusters(assignment, last.centres + mean, last.turns)


def _relocated(assignment: jax.Array, distance: jax.Array) -> jax.Array:
    """Assignments [n] in which an empty cluster has the farthest pixel, and a second empty one the next.

    They are unchanged if all pixels lie on their centres.

    Args:
        assignment: int32 [n].
        distance: [n], squared, of the pixels to their centres.
    """
    is_empty = ~(assignment[:, None] == jnp.arange(CLUSTERS)[None]).any(axis=0)
    farthest = jax.lax.top_k(distance, CLUSTERS - 1)[1]
    rank = jnp.cumsum(is_empty) - 1  # of an empty cluster among the empty ones
    pixel = jnp.where(is_empty & (distance.max() > 0), farthest[jnp.clip(rank, 0, CLUSTERS - 2)], len(assignment))
    return assignment.at[pixel].set(jnp.arange(CLUSTERS, dtype=jnp.int32), mode="drop")


def _means(assignment: jax.Array) -> jax.Array:
    """The weights [3, n] of the pixels in each cluster's mean; an empty cluster has those of the largest."""
    members = (assignment[None] == jnp.arange(CLUSTERS)[:, None]).astype(jnp.float32)
    count = members.sum(axis=1, keepdims=True)
    weights = members / jnp.maximum(count, 1)
    return jnp.where(count > 0, weights, weights[count[:, 0].argmax()][None])
