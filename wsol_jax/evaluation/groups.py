"""Groups of runs: mean and deviation over the runs of a group, and differences of groups on the same photos."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from wsol_jax.evaluation.bootstrap import Statistic, percentiles, resampled


class Summary(NamedTuple):
    """A metric of a group of runs, percent.

    Attributes:
        values: of each run.
        mean: over the runs.
        deviation: the sample standard deviation over the runs, of n - 1; NaN for one run.
        interval: the 95 % bootstrap interval of the mean, over photos.
        difference: to the first group's mean; NaN if it has none, and for the first group itself.
        difference_interval: its paired 95 % bootstrap interval, over photos.
    """

    values: tuple[float, ...]
    mean: float
    deviation: float
    interval: tuple[float, float]
    difference: float = np.nan
    difference_interval: tuple[float, float] = (np.nan, np.nan)


def summarise(
    groups: Mapping[str, Sequence[Statistic]], photos: int, seed: int, resamples: int = 1000
) -> dict[str, dict[str, Summary]]:
    """Return the summary of every metric that all runs of a group have: group -> metric -> summary.

    All runs are evaluated on the same draws of photos. The intervals are about the choice of the photos, with these
    very runs; the deviation is about the seeds.

    Args:
        groups: name -> the statistics of its runs, all of the same photos in the same order.
        photos: their number.
        seed: of the draws.
        resamples: the number of values behind the percentiles.
    """
    once = np.ones((1, photos))
    summaries: dict[str, dict[str, Summary]] = {}
    first: dict[str, np.ndarray] = {}
    for group, statistics in groups.items():
        values = [{name: float(value[0]) for name, value in each(once).items()} for each in statistics]
        drawn = [resampled(each, photos, seed, resamples) for each in statistics]
        names = [name for name in values[0] if all(name in of_run for of_run in values)]
        means = {name: np.mean([of_run[name] for of_run in drawn], axis=0) for name in names}
        summaries[group] = {name: _summary([of_run[name] for of_run in values], means[name]) for name in names}
        if not first:
            first, reference = means, summaries[group]
            continue
        for name in (name for name in names if name in first):
            summary = summaries[group][name]
            summaries[group][name] = summary._replace(
                difference=summary.mean - reference[name].mean,
                difference_interval=percentiles(means[name] - first[name]),
            )
    return summaries


def _summary(values: Sequence[float], means: np.ndarray) -> Summary:
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
    return Summary(tuple(values), float(np.mean(values)), deviation, percentiles(means))
