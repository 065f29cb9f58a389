"""MMD: the numbers and gradients of the published code, and the cases that it does not define."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsol_jax.losses import mmd

LOSSES = (mmd.linear, mmd.quadratic)
COMPILED = {loss: (jax.jit(loss), jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))) for loss in LOSSES}


def random_sets(n: int, m: int, photos: int = 3, d: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Features [photos, n, d] and [photos, m, d] of two domains that overlap, each photo on a scale of its own."""
    rng = np.random.default_rng(n + m)
    scale = rng.uniform(0.5, 4, (photos, 1, 1))
    sets = (rng.normal(size=(photos, n, d)) * scale, (rng.normal(size=(photos, m, d)) + 0.7) * scale)
    return tuple(x.astype(np.float32) for x in sets)


def value_of(loss, source, target, mask=(True, True, True)):
    """The loss and the number of flat photos."""
    return COMPILED[loss][0](source, target, jnp.array(mask))


def value_and_gradients(loss, source, target, mask=(True, True, True)):
    """The loss, the number of flat photos, and the gradients of both sets."""
    (value, flat), gradients = COMPILED[loss][1](source, target, jnp.array(mask))
    return value, flat, gradients


def kernel_by_definition(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Five Gaussians of every two samples of one photo, [n + m, n + m], as in the published code."""
    samples = np.concatenate([source, target])
    distance = np.square(samples[:, None] - samples[None]).sum(-1)
    bandwidth = distance.sum() / (len(samples) ** 2 - len(samples)) / 4
    return sum(np.exp(-distance / (bandwidth * 2**j)) for j in range(5))


def linear_by_definition(source: np.ndarray, target: np.ndarray) -> float:
    kernel, n, total = kernel_by_definition(source, target), len(source), 0
    for i in range(n):
        j = (i + 1) % n
        total += kernel[i, j] + kernel[n + i, n + j] - kernel[i, n + j] - kernel[j, n + i]
    return total / n


def quadratic_by_definition(source: np.ndarray, target: np.ndarray) -> float:
    kernel, n = kernel_by_definition(source, target), len(source)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


@pytest.mark.parametrize("case", [0, 1])
@pytest.mark.parametrize("loss, name", [(mmd.linear, "accel"), (mmd.quadratic, "full")])
def test_value_and_gradients_are_the_published_codes(loss, name, case, goldens):
    golden = np.load(goldens / "dawsol" / "mmd.npz")
    sets = (golden[f"{part}_{case}"][None] for part in ("source", "target"))
    value, flat, gradients = value_and_gradients(loss, *sets, [True])
    np.testing.assert_allclose(value, golden[f"{name}_{case}"], rtol=1e-5)
    assert flat == 0
    for gradient, part in zip(gradients, ("gs", "gt"), strict=True):
        expected = golden[f"{name}_{part}_{case}"]
        np.testing.assert_allclose(gradient[0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    "loss, definition, n, m",
    [
        (mmd.linear, linear_by_definition, 7, 7),
        (mmd.quadratic, quadratic_by_definition, 7, 7),
        (mmd.quadratic, quadratic_by_definition, 5, 9),
        (mmd.quadratic, quadratic_by_definition, 9, 1),
    ],
)
def test_value_is_that_of_the_definition_averaged_over_the_photos_that_count(loss, definition, n, m):
    source, target = random_sets(n, m)
    value, flat = value_of(loss, source, target, [True, False, True])
    np.testing.assert_allclose(value, np.mean([definition(source[i], target[i]) for i in (0, 2)]), rtol=1e-5)
    assert (value.dtype, flat.dtype, flat) == (np.float32, np.int32, 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_far_from_the_origin_the_value_is_the_same(loss):
    source, target = (np.round(x * 256) / 256 for x in random_sets(6, 6))
    (near, _), (far, _) = value_of(loss, source, target), value_of(loss, source + 4096, target + 4096)
    np.testing.assert_allclose(far, near, rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_shrink_as_features_grow_and_the_value_stays(loss):
    source, target = random_sets(6, 6)
    value, _, gradients = value_and_gradients(loss, source, target)
    scaled, _, of_scaled = value_and_gradients(loss, 8 * source, 8 * target)
    np.testing.assert_allclose(scaled, value, rtol=1e-6)
    for gradient, after in zip(gradients, of_scaled, strict=True):
        np.testing.assert_allclose(8 * after, gradient, rtol=1e-4, atol=1e-6 * np.abs(gradient).max())


@pytest.mark.parametrize("loss", LOSSES)
def test_photos_that_do_not_count_change_nothing(loss):
    source, target = random_sets(6, 6)
    other = [np.where(np.arange(3)[:, None, None] == 1, np.nan, x) for x in (source, target)]
    value, flat, gradients = value_and_gradients(loss, source, target, [True, False, True])
    same, same_flat, same_gradients = value_and_gradients(loss, *other, [True, False, True])
    kept_value, _, kept_gradients = value_and_gradients(loss, source[::2], target[::2], [True, True])
    assert value == same
    assert flat == same_flat == 0
    np.testing.assert_allclose(value, kept_value, rtol=1e-6)
    for gradient, same_gradient, kept in zip(gradients, same_gradients, kept_gradients, strict=True):
        np.testing.assert_array_equal(gradient, same_gradient)
        assert (gradient[1] == 0).all()
        np.testing.assert_allclose(gradient[::2], kept, rtol=1e-5, atol=1e-7)
        assert (np.abs(gradient[::2]).max(axis=(1, 2)) > 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_no_photo_is_zero_without_gradient(loss):
    value, flat, gradients = value_and_gradients(loss, *random_sets(6, 6), [False] * 3)
    assert (value, flat) == (0, 0)
    assert all((gradient == 0).all() for gradient in gradients)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("n", [6, 7])
def test_a_flat_photo_adds_zero_and_is_counted(loss, n):
    source, target = random_sets(n, n)
    others, _ = value_of(loss, source, target, [False, False, True])
    source[:2] = target[:2] = np.float32(0.1) * np.arange(1, 7, dtype=np.float32)
    value, flat, gradients = value_and_gradients(loss, source, target, [True, False, True])
    np.testing.assert_allclose(value, others / 2, rtol=1e-6)
    assert flat == 1
    assert all((gradient[:2] == 0).all() and np.isfinite(gradient).all() for gradient in gradients)
    assert value_of(loss, source, target, [True, True, False]) == (0, 2)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("scale", 10.0 ** -np.arange(6, 30, 2))
def test_gradients_stay_finite_as_the_spread_vanishes(loss, scale):
    source, target = (x * np.float32(scale) for x in random_sets(6, 6))
    value, _, gradients = value_and_gradients(loss, source, target)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_broken_feature_of_a_photo_that_counts_is_not_hidden(loss):
    source, target = random_sets(6, 6)
    source[1, 2, 3] = np.nan
    value, flat = value_of(loss, source, target)
    assert np.isnan(value)
    assert flat == 0


def test_only_the_linear_estimator_sees_the_order_of_samples():
    source, target = random_sets(6, 6)
    shuffled = source[:, np.random.default_rng(0).permutation(6)]
    change = {loss: abs(value_of(loss, shuffled, target)[0] - value_of(loss, source, target)[0]) for loss in LOSSES}
    assert change[mmd.quadratic] < 1e-5
    assert change[mmd.linear] > 0.01


def test_equal_sets_are_no_distance_apart_and_other_sets_some():
    source, target = random_sets(6, 6)
    for loss in LOSSES:
        np.testing.assert_allclose(value_of(loss, source, source)[0], 0, atol=1e-6)
    assert value_of(mmd.quadratic, source, target)[0] > 0.01


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_features_are_compared_in_float32(loss):
    source, target = (jnp.asarray(x, jnp.bfloat16) for x in random_sets(6, 6))
    value, _, gradients = value_and_gradients(loss, source, target)
    exact, _ = value_of(loss, source.astype(jnp.float32), target.astype(jnp.float32))
    np.testing.assert_allclose(value, exact, rtol=1e-6)  # two programs, which may round differently
    assert all(gradient.dtype == jnp.bfloat16 for gradient in gradients)
