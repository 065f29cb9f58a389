"""Score maps: of a class, and in 0..1."""

import jax.numpy as jnp
import numpy as np

from wsol_jax.methods.class_maps import class_maps, of_class, unit_range


def test_the_mean_of_a_class_map_is_its_logit():
    rng = np.random.default_rng(0)
    features, kernel = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(5, 6))
    for shape in ((5, 6), (1, 1, 5, 6)):
        head = {"fc": {"kernel": jnp.float32(kernel.reshape(shape)), "bias": jnp.ones(6)}}
        maps = class_maps(jnp.float32(features), head)
        np.testing.assert_allclose(maps.mean(axis=(1, 2)), features.mean(axis=(1, 2)) @ kernel, rtol=1e-4, atol=1e-5)


def test_each_photo_has_the_map_of_its_class():
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    found = of_class(jnp.asarray(maps), jnp.array([4, 1]))
    np.testing.assert_array_equal(found, np.stack([maps[0, :, :, 4], maps[1, :, :, 1]]))


def test_every_map_reaches_from_zero_to_one_and_a_constant_one_is_zeros():
    maps = np.random.default_rng(0).normal(3, 10, size=(3, 4, 5)).astype(np.float32)
    maps[1] = 7
    found = np.asarray(unit_range(jnp.asarray(maps)))
    assert found[[0, 2]].min(axis=(1, 2)).tolist() == [0, 0] and found[[0, 2]].max(axis=(1, 2)).tolist() == [1, 1]
    assert not found[1].any()
    order = np.argsort(maps[0].ravel())
    np.testing.assert_array_equal(np.argsort(found[0].ravel()), order)
