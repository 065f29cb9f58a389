"""K-means with fixed shapes, against a plain one that follows scikit-learn line by line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsol_jax.methods.dawsol.kmeans import MAX_TURNS, TOLERANCE, cluster

compiled = jax.jit(cluster)


def plainly(pixels, start):
    """scikit-learn's Lloyd iteration in float64: assignment, centres, turns."""
    x = np.float64(pixels) - pixels.mean(0)
    centres = np.float64(start) - pixels.mean(0)
    before, tolerance = None, TOLERANCE * x.var(0).mean()
    for turn in range(1, MAX_TURNS + 1):
        distance = np.square(x[:, None] - centres[None]).sum(-1)
        assignment = distance.argmin(1)
        sums = np.stack([x[assignment == k].sum(0) for k in range(3)])
        count = np.bincount(assignment, minlength=3).astype(float)
        own = distance[np.arange(len(x)), assignment]
        for empty, far in zip(np.flatnonzero(count == 0), np.argsort(-own, kind="stable"), strict=False):
            if own.max() > 0:
                sums[assignment[far]] -= x[far]
                count[assignment[far]] -= 1
                sums[empty], count[empty] = x[far], 1
        new = np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], 0)
        new[count == 0] = new[count.argmax()]
        shift, centres = np.square(new - centres).sum(), new
        if before is not None and (assignment == before).all():
            return assignment, centres + pixels.mean(0), turn
        before = assignment
        if shift <= tolerance:
            break
    return np.square(x[:, None] - centres[None]).sum(-1).argmin(1), centres + pixels.mean(0), turn


def blobs(seed, n, d):
    rng = np.random.default_rng(seed)
    middle = 3 * rng.standard_normal((3, d))
    return (middle[rng.integers(0, 3, n)] + rng.standard_normal((n, d))).astype(np.float32)


@pytest.mark.parametrize("n, d", [(49, 4), (60, 16), (20, 200)])
@pytest.mark.parametrize("seed", range(5))
def test_it_does_what_the_plain_one_does(n, d, seed):
    pixels = blobs(seed, n, d)
    start = pixels[:3] + np.float32(0.1)
    clusters, (assignment, centres, turns) = compiled(pixels, start, False), plainly(pixels, start)
    np.testing.assert_array_equal(clusters.assignment, assignment)
    np.testing.assert_allclose(clusters.centres, centres, atol=1e-5)
    assert clusters.turns == turns


@pytest.mark.parametrize("seed", range(5))
def test_a_tied_cluster_begins_with_the_farthest_pixel(seed):
    pixels = blobs(seed, 50, 8)
    start = np.stack([np.zeros(8, np.float32), pixels.mean(0), pixels.mean(0)])
    clusters, (assignment, centres, _) = compiled(pixels, start, True), plainly(pixels, start)
    np.testing.assert_array_equal(clusters.assignment, assignment)
    np.testing.assert_allclose(clusters.centres, centres, atol=1e-5)
    assert set(np.asarray(clusters.assignment)) == {0, 1, 2}


def test_two_empty_clusters_take_the_two_farthest_pixels():
    pixels = blobs(0, 40, 3)
    start = np.stack([pixels.mean(0), pixels.mean(0) + 100, pixels.mean(0) - 100]).astype(np.float32)
    assignment, centres, _ = plainly(pixels, start)
    clusters = compiled(pixels, start, False)
    np.testing.assert_array_equal(clusters.assignment, assignment)
    np.testing.assert_allclose(clusters.centres, centres, atol=1e-5)


def test_where_all_pixels_are_one_there_is_one_cluster():
    pixels = np.full((9, 4), 2.0, np.float32)
    clusters = compiled(pixels, np.stack([np.zeros(4, np.float32), pixels[0], pixels[0]]), True)
    assert (np.asarray(clusters.assignment) == clusters.assignment[0]).all() and clusters.turns < 4
    np.testing.assert_allclose(clusters.centres, np.full((3, 4), 2.0), atol=1e-6)


def test_its_centres_are_the_means_of_its_clusters():
    pixels = blobs(7, 80, 5)
    clusters = compiled(pixels, pixels[:3], False)
    for which in range(3):
        mine = pixels[np.asarray(clusters.assignment) == which]
        np.testing.assert_allclose(clusters.centres[which], mine.mean(0), atol=1e-5)
    assert np.isfinite(jnp.asarray(clusters.centres)).all()
