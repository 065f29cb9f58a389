"""The boxes of many maps are those of each, bit for bit."""

from functools import partial

import numpy as np
import pytest

from wsol_jax.pseudo.confidence import heat_confidence
from wsol_jax.pseudo.many_boxes import AT_ONCE, cut_boxes, heat_boxes, scored_boxes
from wsol_jax.pseudo.regions import BOX_SIDE, heat_box, scored_box


def maps() -> np.ndarray:
    """Noise of several kinds, also whole numbers, whose regions are often equally large, and constant maps."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(60, 9, 14)).astype(np.float32)
    noise[20:40] = np.round(noise[20:40] - 1)
    noise[40:50] += np.linspace(-3, 3, 14, dtype=np.float32)
    noise[50], noise[51], noise[52] = 0, 1, -1
    return noise


@pytest.mark.parametrize(
    ("threshold", "levels"), [("nearest_code", (0.0,)), ("nearest_code", (-0.2, 0.1, 3.0)), ("bilinear_paper", (0.0,))]
)
def test_boxes_of_many_maps_are_those_of_each(threshold, levels):
    heat = maps() if threshold == "nearest_code" else maps()[45:55]
    many = heat_boxes(heat, threshold, 32, levels)
    single = [heat_box(one, threshold, 32, levels) for one in heat]
    np.testing.assert_array_equal(many.box, [one.box for one in single])
    np.testing.assert_array_equal(many.fallback, [one.fallback for one in single])
    np.testing.assert_array_equal(many.score, [heat_confidence(*pair) for pair in zip(heat, single, strict=True)])
    assert many.fallback.any() and not many.fallback.all()


def activations(h: int, w: int) -> np.ndarray:
    """Noise, checks, rings, constant maps, one cell, and numbers that are none."""
    maps = np.random.default_rng(0).normal(size=(24, h, w)).astype(np.float32)
    y, x = np.indices((h, w))
    maps[0], maps[1], maps[2] = 0, 1, -1
    maps[3:6] = (y + x) % 2, y % 2, x % 2
    maps[6:8] = np.maximum(abs(y - h // 2), abs(x - w // 2)) % 4 < 2, (y % 4 == 0) | (x % 4 == 0)
    maps[8], maps[9] = (x == 0) & (y == 0), 1e-38 * maps[9]
    maps[10, 0, 0], maps[11, 0, 0], maps[12, 0, 0] = np.nan, np.inf, -np.inf
    maps[13:18] = np.round(maps[13:18])
    maps[18:] += np.linspace(-3, 3, w, dtype=np.float32)
    return maps


# The side of a layer, of a network without downsampling, and shapes that are not square, or a single row.
@pytest.mark.parametrize(("h", "w"), [(14, 14), (BOX_SIDE, BOX_SIDE), (28, 9), (1, 16)])
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.filterwarnings("ignore:invalid value")  # of infinite numbers
def test_boxes_of_many_score_maps_are_those_of_each(h, w, threshold):
    maps = activations(h, w)
    many, single = scored_boxes(maps, threshold), [scored_box(one, threshold) for one in maps]
    for found, expected in zip(many, zip(*single, strict=True), strict=True):
        np.testing.assert_array_equal(found, np.array(expected), strict=True)
    assert many.fallback.any() and many.fallback.all() == (threshold == 1)


def test_more_maps_than_one_call_takes_keep_their_order():
    maps = np.zeros((2 * AT_ONCE + 3, 3, 5), np.float32)
    maps.reshape(len(maps), 15)[np.arange(len(maps)), np.arange(len(maps)) % 15] = 1
    cut = partial(heat_boxes, threshold="nearest_code", size=0, levels=(0.0,))
    for found, expected in zip(cut_boxes(cut, maps, "boxes"), cut(maps), strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)
