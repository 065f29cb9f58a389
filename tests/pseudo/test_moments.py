import jax.numpy as jnp
import numpy as np
import pytest

from wsol_jax.pseudo import moments
from wsol_jax.pseudo.moments import Moments


def features(seed: int, photos: int = 4, offset: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(offset, 1.0, (photos, 3, 5, 6)).astype(np.float32)


def of(x: np.ndarray, weight: np.ndarray | None = None) -> Moments:
    weight = np.ones(len(x), np.float32) if weight is None else weight
    return moments.of(jnp.asarray(x), jnp.asarray(weight))


def close(a: Moments, b: Moments, tolerance: float = 1e-5) -> None:
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


def test_of_is_the_textbook_definition():
    x = features(0)
    cells = x.reshape(-1, 6).astype(np.float64)
    centred = cells - cells.mean(0)
    close(of(x), Moments(len(cells), cells.mean(0), centred.T @ centred), 1e-4)


def test_a_weight_of_zero_is_absence():
    x = features(1, photos=5)
    close(of(x, np.array([1, 0, 1, 0, 1], np.float32)), of(x[::2]))


@pytest.mark.parametrize("split", [1, 2, 3])
def test_merging_parts_equals_the_whole(split):
    x = features(2)
    close(moments.merge(of(x[:split]), of(x[split:])), of(x), 1e-4)


def test_merge_is_associative_with_an_empty_identity():
    a, b, c = (of(features(seed, photos=seed)) for seed in (1, 2, 3))
    close(moments.merge(moments.merge(a, b), c), moments.merge(a, moments.merge(b, c)), 1e-9)
    close(moments.merge(a, moments.empty(6)), a, 0)
    close(moments.merge(moments.empty(6), a), a, 1e-12)
    assert moments.merge(moments.empty(6), moments.empty(6)).count == 0


def test_a_large_offset_does_not_cancel():
    x = features(4, photos=8, offset=1000.0)
    cells = x.reshape(-1, 6).astype(np.float64)
    merged = moments.merge(of(x[:4]), of(x[4:]))
    np.testing.assert_allclose(merged.scatter, np.cov(cells.T, bias=True) * len(cells), rtol=1e-3, atol=0.05)


def test_photos_without_weight_have_no_moments():
    nothing = of(features(5), np.zeros(4, np.float32))
    assert nothing.count == 0
    assert not np.isnan(nothing.scatter).any()
