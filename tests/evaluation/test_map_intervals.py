"""Intervals of score maps: every resample against a slow loop that evaluates the drawn photos one after another."""

import numpy as np
import pytest

from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.evaluation import bootstrap, map_boxes, map_pixels, maps

STEP, SIDE, PHOTOS, RESAMPLES = 0.02, 24, 9, 15


@pytest.fixture(scope="module")
def results() -> maps.MapResults:
    """Maps of different maxima; one photo without a true box, one without a mask, one without a predicted class."""
    rng = np.random.default_rng(0)
    boxes, pixels = [], None
    for i in range(PHOTOS):
        x, y = rng.integers(1, 10, 2)
        score_map = rng.uniform(0, 0.6, (SIDE, SIDE))
        score_map[y : y + 9, x : x + 8] += rng.uniform(0.1, 0.4)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[y : y + 10, x : x + 10] = 1
        truth = np.array([[x, y, x + 10, y + 10]]) / SIDE if i != 2 else NO_BOXES
        record = Record(f"{i}.jpg", 0, (SIDE, SIDE), truth)
        boxes.append(map_boxes.measure(record, score_map, np.nan if i == 5 else float(i % 3 > 0)))
        if i != 4:
            state = map_pixels.compact(map_pixels.measure(record.path, score_map, mask, STEP))
            pixels = map_pixels.put(pixels, PHOTOS, i, state)
    return maps.MapResults(map_boxes.merge(boxes), pixels)


def drawn_photos(results: maps.MapResults, photos: np.ndarray) -> maps.MapResults:
    return maps.MapResults(*(type(state)(*(field[photos] for field in state)) for state in results))


def slow(results: maps.MapResults, seed: int, chosen: maps.Chosen) -> list[dict[str, float]]:
    rng = np.random.default_rng(seed)
    drawn = [drawn_photos(results, rng.integers(PHOTOS, size=PHOTOS)) for _ in range(RESAMPLES)]
    return [maps.numbers(one, STEP) | maps.numbers_at(one, chosen, STEP) for one in drawn]


def test_resamples_are_those_of_a_slow_loop(results, monkeypatch):
    monkeypatch.setattr(bootstrap, "AT_ONCE", 4)
    monkeypatch.setattr(bootstrap, "HELD", 200)
    chosen = {maps.VALIDATED: maps.numbers(results, STEP), maps.BY_PSEUDO: maps.pseudo_thresholds(results, STEP)}
    chosen[maps.BY_PSEUDO].pop("piou/threshold")
    fast = bootstrap.resampled(maps.statistic(results, STEP, chosen), PHOTOS, 3, RESAMPLES)
    expected = slow(results, 3, chosen)
    names = {"max_box_acc", "max_box_acc_v2", *map_boxes.PARTS_OF_V2, "top1_loc_map", "piou"}
    validated = {f"val_threshold/{name}" for name in names}
    assert set(fast) == {*names, "pxap", *validated, *(f"pseudo_threshold/{name}" for name in names - {"piou"})}
    for name, values in fast.items():
        np.testing.assert_allclose(values, [one[name] for one in expected], rtol=1e-12)
    assert sum(np.ptp(values) > 0 for values in fast.values()) >= 5


def test_all_photos_once_are_the_numbers(results):
    values, numbers = maps.statistic(results, STEP)(np.ones((1, PHOTOS))), maps.numbers(results, STEP)
    assert {name: value.item() for name, value in values.items()} == pytest.approx(
        {name: numbers[name] for name in values}, rel=1e-12
    )
    ends = bootstrap.intervals(maps.statistic(results, STEP), PHOTOS, 0, 50)
    assert all(ends[f"{name}/low"] <= ends[f"{name}/high"] for name in values) and len(ends) == 2 * len(values)


def test_resamples_without_an_object_are_left_out(results):
    """Of the three photos only the last has a box and a mask; where it is not drawn, nothing is defined."""
    few = drawn_photos(results, np.array([2, 4, 1]))
    few = few._replace(boxes=few.boxes._replace(has_truth=np.array([False, False, True])))
    few = few._replace(pixels=map_pixels.PixelScores(few.pixels.object * [[0], [1], [1]], few.pixels.background))
    values = maps.statistic(few, STEP)(np.array([[1.0, 2, 0], [1, 0, 2]]))
    for name in ("max_box_acc", "pxap", "piou"):
        assert np.isnan(values[name]).tolist() == [True, False], name


def test_weighted_sums_are_exact():
    counts = np.random.default_rng(0).integers(0, 50_000, (300, 5)).astype(np.uint16)
    times = np.random.default_rng(1).integers(0, 5, (7, 300)).astype(np.float64)
    expected = times.astype(np.int64) @ counts.astype(np.int64)
    np.testing.assert_array_equal(bootstrap.weighted_sums(times, counts, np.float64), expected)
