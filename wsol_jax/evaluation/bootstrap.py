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
    photos = values.shape[-1]
    known = (~np.isnan(values)).astype(np.float64)
    numbers = np.nan_to_num(values)
    rng = np.random.default_rng(seed)
    sums, weights = np.zeros((2, resamples, *values.shape[:-1]))
    for r in range(resamples):
        times = np.bincount(rng.integers(photos, size=photos), minlength=photos).astype(np.float64)
        sums[r], weights[r] = numbers @ times, known @ times
    means = np.divide(sums, weights, out=np.full_like(sums, np.nan), where=weights > 0)
    low, high = np.nanpercentile(means, [2.5, 97.5], axis=0)
    return low, high
