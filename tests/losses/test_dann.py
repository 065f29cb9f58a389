"""DANN: the cross-entropy by its definition, the reversed gradient, and how its strength grows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from wsol_jax.losses import dann

RNG = np.random.default_rng(0)
SOURCE = RNG.normal(size=(3, 5)).astype(np.float32)
TARGET = RNG.normal(size=(3, 4)).astype(np.float32)


def test_source_is_called_one_and_target_zero_over_the_samples_that_count():
    loss = dann.adversarial(SOURCE, TARGET, jnp.array([True, False, True]))
    expected = -0.5 * (np.log(expit(SOURCE[::2])).mean() + np.log(1 - expit(TARGET[::2])).mean())
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    np.testing.assert_allclose(dann.adversarial(0 * SOURCE, 0 * TARGET, jnp.array([True] * 3)), np.log(2), rtol=1e-6)


def test_a_classifier_that_is_sure_and_wrong_has_a_finite_loss():
    logits = np.full((1, 2), 200, np.float32)
    np.testing.assert_allclose(dann.adversarial(-logits, logits, jnp.array([True])), 200, rtol=1e-6)


def test_photos_that_do_not_count_change_nothing():
    gradient = jax.value_and_grad(dann.adversarial, (0, 1))
    mask = jnp.array([True, False, True])
    other = [np.where(np.arange(3)[:, None] == 1, np.nan, x) for x in (SOURCE, TARGET)]
    value, gradients = gradient(SOURCE, TARGET, mask)
    same, same_gradients = gradient(*other, mask)
    assert value == same
    for mine, theirs in zip(gradients, same_gradients, strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert (mine[1] == 0).all() and (mine[::2] != 0).all()


def test_no_photo_is_zero_without_gradient():
    value, gradients = jax.value_and_grad(dann.adversarial, (0, 1))(SOURCE, TARGET, jnp.array([False] * 3))
    assert value == 0
    assert all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_gradient_is_reversed_with_a_strength_known_only_in_the_step(dtype):
    x = jnp.asarray(SOURCE, dtype)

    @jax.jit
    def step(x, strength):
        def loss(x, strength):
            return (dann.reverse_gradient(x, strength) ** 2).sum()

        return dann.reverse_gradient(x, strength), *jax.grad(loss, (0, 1))(x, strength)

    for strength in (0.0, 0.25, 2.0):
        same, gradient, of_strength = step(x, jnp.float32(strength))
        np.testing.assert_array_equal(same, x)
        np.testing.assert_array_equal(gradient, -strength * 2 * x)
        assert (gradient.dtype, of_strength) == (x.dtype, 0)


def test_a_plain_number_is_a_strength_too():
    np.testing.assert_array_equal(jax.grad(lambda x: dann.reverse_gradient(x, 0.5).sum())(SOURCE), -0.5 + 0 * SOURCE)


@pytest.mark.parametrize("gamma, end", [(1, 0.46212), (10, 0.99991)])
def test_strength_grows_from_zero_as_published(gamma, end):
    progress = np.linspace(0, 1, 11, dtype=np.float32)
    strength = dann.strength(progress, gamma)
    np.testing.assert_allclose(strength, 2 / (1 + np.exp(-gamma * progress.astype(np.float64))) - 1, atol=1e-6)
    assert strength[0] == 0
    assert (np.diff(strength) > 0).all()
    np.testing.assert_allclose(strength[-1], end, atol=1e-5)
