"""The uncertainty of a number over the choice of photos: the percentile bootstrap."""

from collections.abc import Callable, Mapping

import numpy as np

Statistic = Callable[[np.ndarray], dict[str, np.ndarray]]
"""How often each of n photos is drawn in each of b resamples, float64 [b, n] -> metric -> its value in each, [b]."""

AT_ONCE = 256  # resamples
HELD = 2**24  # numbers of one array


def interval(values: np.ndarray, seed: int, resamples: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % percentile interval of the mean of each row, over photos drawn with replacement (Efron, 1979).

    All rows use the same draws, so that rows can be compared.

    Args:
        values: float [..., n], a row per metric, a column per photo; NaN where a metric is not defined for a photo.
            Every row needs a number somewhere.
        seed: of the draws.
        resamples: the number of means behind the percentiles.

    Returns:
        low [...] and high [...], in the unit of `values`.
    """
    rows = values.reshape(-1, values.shape[-1])
    of_rows = resampled(means({str(i): row for i, row in enumerate(rows)}), values.shape[-1], seed, resamples)
    ends = np.array([percentiles(of_row) for of_row in of_rows.values()])
    low, high = (ends[:, i].reshape(values.shape[:-1]) for i in (0, 1))
    return low, high


def intervals(statistic: Statistic, photos: int, seed: int, resamples: int = 1000) -> dict[str, float]:
    """Return the 95 % interval of every metric of a statistic: NAME/low and NAME/high.

    Args:
        statistic: of the photos.
        photos: their number.
        seed: of the draws.
        resamples: the number of values behind the percentiles.
    """
    named = {}
    for name, values in resampled(statistic, photos, seed, resamples).items():
        named[f"{name}/low"], named[f"{name}/high"] = percentiles(values)
    return named


def resampled(statistic: Statistic, photos: int, seed: int, resamples: int = 1000) -> dict[str, np.ndarray]:
    """Return the metrics of photos drawn with replacement: metric -> float64 [resamples].

    The draws depend on the seed and the number of photos alone. Two results on the same photos are therefore paired:
    the differences of their values are those of a paired bootstrap.

    Args:
        statistic: of the photos.
        photos: their number, at least one.
        seed: of the draws.
        resamples: how often photos are drawn.
    """
    rng, parts = np.random.default_rng(seed), []
    at_once = max(1, min(AT_ONCE, HELD // photos))
    for start in range(0, resamples, at_once):
        drawn = (rng.integers(photos, size=photos) for _ in range(min(at_once, resamples - start)))
        times = np.stack([np.bincount(each, minlength=photos) for each in drawn])
        parts.append(statistic(times.astype(np.float64)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of the 95 % interval of resampled values [resamples], without those that are NaN."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def means(named: Mapping[str, np.ndarray]) -> Statistic:
    """Return the statistic of means over the photos for which a number is defined.

    Args:
        named: metric -> float [n], NaN where it is not defined for a photo.
    """
    values = np.stack(list(named.values()), axis=-1) if named else np.zeros((0, 0))
    known, numbers = (~np.isnan(values)).astype(np.float64), np.nan_to_num(values)

    def statistic(times: np.ndarray) -> dict[str, np.ndarray]:
        shares = share(times @ numbers, times @ known) if named else np.zeros((len(times), 0))
        return {name: shares[:, i] for i, name in enumerate(named)}

    return statistic


def ratios(named: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Statistic:
    """Return the statistic of ratios of two sums over photos.

    Args:
        named: metric -> [n] and [n], what each photo adds to the numerator and to the denominator.
    """

    def statistic(times: np.ndarray) -> dict[str, np.ndarray]:
        return {name: share(times @ part, times @ whole) for name, (part, whole) in named.items()}

    return statistic


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def weighted_sums(times: np.ndarray, counts: np.ndarray, dtype: type) -> np.ndarray:
    """Return the sums of photos' counts in each resample, float64 [b, m]; whole numbers are exact.

    Args:
        times: float64 [b, n], how often each photo is drawn.
        counts: [n, m], of each photo, of any kind of number.
        dtype: of the products, which has to hold the sums: float32 does up to 2^24, float64 up to 2^53.
    """
    rows = max(1, HELD // max(1, counts.shape[1]))
    total = np.zeros((len(times), counts.shape[1]))
    for start in range(0, len(counts), rows):
        part = slice(start, start + rows)
        total += times[:, part].astype(dtype) @ counts[part].astype(dtype)
    return total
