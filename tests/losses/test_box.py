"""The box regression loss, by hand."""

import jax
import numpy as np

from wsol_jax.losses.box import squared_error

BOX = np.array([[0.1, 0.2, 0.5, 0.4], [0.9, 0.3, 0.2, 0.6]], np.float32)
TARGET = np.array([[0.2, 0.2, 0.1, 0.7], [0.4, 0.3, 0.2, 0.6]], np.float32)


def test_the_mean_is_over_photos_and_coordinates():
    assert squared_error(TARGET, TARGET) == 0
    np.testing.assert_allclose(squared_error(BOX, TARGET), (0.1**2 + 0.4**2 + 0.3**2 + 0.5**2) / 8, rtol=1e-6)


def test_the_gradient_pulls_every_coordinate_to_its_target():
    gradient = jax.grad(squared_error)(BOX, TARGET)
    np.testing.assert_allclose(gradient, 2 * (BOX - TARGET) / 8, rtol=1e-6)
