import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logit

from wsol_jax import boxes
from wsol_jax.methods.mask_boxes import GRID, PROBABILITIES, largest_region, mask_boxes
from wsol_jax.pseudo import regions


@pytest.mark.parametrize("density", [0.0, 0.05, 0.3, 0.45, 0.6, 1.0])
def test_the_largest_region_is_the_one_that_scipy_labels(density):
    masks = np.random.default_rng(int(100 * density)).random((40, 17, 23)) < density
    computed = jax.jit(jax.vmap(largest_region))(masks)
    expected = np.stack([regions.largest_region(mask) for mask in masks])
    np.testing.assert_array_equal(computed, expected)


def test_a_region_may_wind_through_the_whole_mask():
    mask = np.zeros((9, 9), bool)
    mask[::2] = True
    mask[1::4, -1], mask[3::4, 0] = True, True
    np.testing.assert_array_equal(largest_region(jnp.array(mask)), mask)


def test_a_box_is_the_mean_over_the_probabilities_that_have_a_region():
    logits = np.random.default_rng(0).normal(size=(20, 7, 7)).astype(np.float32) * 2
    logits[0], logits[1] = -5, 5
    cut = jax.jit(mask_boxes)(logits)
    upsampled = np.asarray(jax.image.resize(logits, (20, GRID, GRID), "linear", antialias=False))
    for i, mask in enumerate(upsampled):
        at_each = [regions.largest_region(mask > level) for level in logit(np.float32(PROBABILITIES))]
        at_levels = [regions.bounds(region) for region in at_each if region.any()]
        expected = np.mean(at_levels, axis=0) if at_levels else regions.WHOLE_IMAGE
        np.testing.assert_allclose(cut.box[i], expected, atol=1e-6)
        overlaps = [boxes.iou(np.asarray(cut.box[i], np.float64), box) for box in at_levels]
        np.testing.assert_allclose(cut.stability[i], sum(overlaps) / len(PROBABILITIES), atol=1e-5)
    np.testing.assert_array_equal(cut.box[:2], [[0, 0, 1, 1]] * 2)
    np.testing.assert_allclose(cut.stability[:2], [0, 1])
