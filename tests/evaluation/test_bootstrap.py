"""The bootstrap interval: it holds the mean, narrows with n, and is the same every time."""

import numpy as np
import pytest

from wsol_jax.evaluation.bootstrap import interval


def coins(n: int) -> np.ndarray:
    return (np.arange(n) % 10 < 3).astype(np.float64)


def test_it_is_the_binomial_interval():
    """Means of n tosses of a 0.3 coin: 0.3 +- 1.96 sqrt(0.3 0.7 / n)."""
    for n in (100, 10_000):
        low, high = interval(coins(n), seed=0, resamples=2000)
        half = 1.96 * np.sqrt(0.3 * 0.7 / n)
        assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.15 * half)


def test_the_same_seed_draws_the_same_photos():
    values = np.random.default_rng(0).random(50)
    np.testing.assert_array_equal(interval(values, 3), interval(values, 3))
    assert interval(values, 3)[0] != interval(values, 4)[0]


def test_rows_are_drawn_together():
    values = np.random.default_rng(0).random(40)
    low, high = interval(np.stack([values, values, 1 - values]), seed=0)
    assert low[0] == low[1]
    assert low[2] == pytest.approx(1 - high[0], abs=1e-12)
    assert interval(values, seed=0) == pytest.approx((low[0], high[0]))


def test_photos_without_the_metric_are_left_out():
    values = np.where(np.arange(1000) % 2 == 0, 1.0, np.nan)
    assert interval(values, seed=0) == (1, 1)
    rare = np.where(np.arange(20) == 7, 1.0, np.nan)  # most draws miss the one photo that counts
    assert interval(rare, seed=0, resamples=50) == (1, 1)
