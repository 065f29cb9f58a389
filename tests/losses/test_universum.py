"""The Universum's L1: over which values, and over none."""

import jax
import numpy as np
import pytest

from wsol_jax.errors import InputError
from wsol_jax.losses import universum

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(3, 4, 5)).astype(np.float32)
CHOSEN = np.array([[True, False, True, True], [False] * 4, [False, False, True, False]])


@pytest.mark.parametrize("reduction, size", [("mean", 4 * 5), ("sum", 1)])
def test_only_chosen_pixels_count_all_channels_of_the_whole_batch(reduction, size):
    value, gradient = jax.value_and_grad(universum.l1)(FEATURES, CHOSEN, reduction)
    np.testing.assert_allclose(value, np.abs(FEATURES[CHOSEN]).sum() / size, rtol=1e-6)
    np.testing.assert_allclose(gradient, np.sign(FEATURES) * CHOSEN[:, :, None] / size, rtol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_other_pixels_have_no_influence(reduction):
    other = np.where(CHOSEN[:, :, None], FEATURES, np.nan)
    expected = jax.value_and_grad(universum.l1)(FEATURES, CHOSEN, reduction)
    jax.tree.map(np.testing.assert_array_equal, jax.value_and_grad(universum.l1)(other, CHOSEN, reduction), expected)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_nothing_chosen_is_zero_without_gradient(reduction):
    value, gradient = jax.value_and_grad(universum.l1)(FEATURES, np.zeros_like(CHOSEN), reduction)
    assert value == 0
    assert (gradient == 0).all()


def test_another_reduction_is_refused():
    with pytest.raises(InputError, match=r"^universum: reduction is 'median'; expected 'mean' or 'sum'$"):
        universum.l1(FEATURES, CHOSEN, "median")
