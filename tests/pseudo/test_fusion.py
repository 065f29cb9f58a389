"""Fused heat maps: one view stays as it is, several count alike whatever their units and grids."""

import numpy as np

from wsol_jax.pseudo.fusion import GRID, fuse


def heat(seed: int, side: int, photos: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((photos, side, side)).astype(np.float32)


def test_one_view_is_not_touched():
    assert fuse([heat(0, 14)]) is not None
    np.testing.assert_array_equal(fuse([heat(0, 14)]), heat(0, 14))


def test_each_view_counts_in_its_own_standard_deviations():
    a, b = heat(0, 14), heat(1, 20)
    fused = fuse([a, b])
    assert fused.shape == (5, GRID, GRID) and fused.dtype == np.float32
    np.testing.assert_allclose(fuse([1000 * a, b]), fused, atol=1e-5)
    np.testing.assert_allclose(fuse([b, a]), fused, atol=1e-6)


def test_a_view_without_a_direction_adds_nothing():
    a = heat(0, 14)
    np.testing.assert_allclose(2 * fuse([a, np.zeros((5, 10, 10), np.float32)]), fuse([a, a]), atol=1e-6)


def test_resizing_is_linear_interpolation_between_centres():
    ramp = np.tile(np.arange(14, dtype=np.float32), (1, 14, 1))
    fused = fuse([ramp, ramp])[0] * ramp.std()
    centres = np.clip((np.arange(GRID) + 0.5) / 4 - 0.5, 0, 13)
    np.testing.assert_allclose(fused, np.tile(centres, (GRID, 1)), atol=1e-5)


def test_many_photos_are_resized_as_few_are():
    many = heat(2, 7, photos=600)
    np.testing.assert_array_equal(fuse([many, many])[550:], fuse([many[550:], many[550:]]))
