"""Groups of runs: mean, deviation and paired differences, against a slow loop over draws."""

import numpy as np
import pytest

from wsol_jax.evaluation.bootstrap import means
from wsol_jax.evaluation.groups import summarise

PHOTOS, RESAMPLES, SEED = 30, 60, 4


def hits(seed: int, rate: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(PHOTOS) < 0.1, np.nan, 100.0 * (rng.random(PHOTOS) < rate))


def test_numbers_of_groups_are_those_of_a_slow_loop():
    runs = {"a": [hits(0, 0.4), hits(1, 0.5)], "b": [hits(2, 0.8), hits(3, 0.9), hits(4, 0.7)]}
    statistics = {name: [means({"x": hit}) for hit in of_group] for name, of_group in runs.items()}
    summaries = summarise(statistics, PHOTOS, SEED, RESAMPLES)
    rng, drawn = np.random.default_rng(SEED), {"a": [], "b": []}
    for _ in range(RESAMPLES):
        photos = rng.integers(PHOTOS, size=PHOTOS)
        for name, of_group in runs.items():
            drawn[name].append(np.mean([np.nanmean(hit[photos]) for hit in of_group]))
    for name, of_group in runs.items():
        summary, values = summaries[name]["x"], [np.nanmean(hit) for hit in of_group]
        assert summary.values == pytest.approx(values) and summary.mean == pytest.approx(np.mean(values))
        assert summary.deviation == pytest.approx(np.std(values, ddof=1))
        assert summary.interval == pytest.approx(np.percentile(drawn[name], [2.5, 97.5]))
    differences = np.array(drawn["b"]) - np.array(drawn["a"])
    assert summaries["b"]["x"].difference == pytest.approx(summaries["b"]["x"].mean - summaries["a"]["x"].mean)
    assert summaries["b"]["x"].difference_interval == pytest.approx(np.percentile(differences, [2.5, 97.5]))
    assert np.isnan(summaries["a"]["x"].difference)


def test_a_difference_of_equal_runs_is_zero_and_one_run_has_no_deviation():
    one = means({"x": hits(0, 0.5)})
    summaries = summarise({"a": [one], "b": [one], "c": [means({"x": hits(0, 0.5), "y": hits(1, 0.5)})]}, PHOTOS, 0, 20)
    assert summaries["b"]["x"].difference == 0 and summaries["b"]["x"].difference_interval == (0, 0)
    assert np.isnan(summaries["a"]["x"].deviation) and np.isnan(summaries["c"]["y"].difference)


def test_metrics_that_a_run_of_a_group_lacks_are_left_out():
    both, one = means({"x": hits(0, 0.5), "y": hits(1, 0.5)}), means({"x": hits(2, 0.5)})
    assert set(summarise({"a": [both, one]}, PHOTOS, 0, 5)["a"]) == {"x"}
