"""The uncertainty of a number over the choice of photos: the percentile bootstrap."""

import numpy as np


def interval(values: np.ndarray, seed: int, resamples: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % percentile interval of the mean of each row, over photos drawn with replacement (Efron, 1979).

    All rows use the same draws, so that rows can be compared. One resample is held at a time: memory grows with n,
    not with `resamples`.

    Args:
        values: float [..., n], a row per metric, a column per photo; NaN where a metric is not defined for a photo.
            Every row needs a number somewhere.
        seed: of the draws.
        resamples: the number of means behind the percentiles.

    Returns:
        low [...] and high [...], in the unit of `values`.
    """
    return ratio_interval(np.nan_to_num(values), (~np.isnan(values)).astype(np.float64), seed, resamples)


def ratio_interval(
    parts: np.ndarray, wholes: np.ndarray, seed: int, resamples: int = 1000
) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of the ratio of two sums over photos, of each row, with the draws of `interval`.

    Args:
        parts: float [..., n], what each photo adds to the numerator.
        wholes: float [..., n], to the denominator; somewhere positive in every row.
        seed: of the draws.
        resamples: the number of ratios behind the percentiles.

    Returns:
        low [...] and high [...].
    """
    photos = parts.shape[-1]
    rng = np.random.default_rng(seed)
    sums, weights = np.zeros((2, resamples, *parts.shape[:-1]))
    for r in range(resamples):
        times = np.bincount(rng.integers(photos, size=photos), minlength=photos).astype(np.float64)
        sums[r], weights[r] = parts @ times, wholes @ times
    means = np.divide(sums, weights, out=np.full_like(sums, np.nan), where=weights > 0)
    low, high = np.nanpercentile(means, [2.5, 97.5], axis=0)
    return low, high
