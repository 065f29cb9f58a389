"""The boxes of many heat maps are those of each, bit for bit."""

import numpy as np
import pytest

from wsol_jax.pseudo.confidence import heat_confidence
from wsol_jax.pseudo.many_boxes import heat_boxes
from wsol_jax.pseudo.regions import heat_box


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
