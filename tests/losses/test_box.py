"""The box regression losses, by hand."""

import jax
import numpy as np

from wsol_jax.losses.box import absolute_and_iou, absolute_error, generalised_iou, squared_error

BOX = np.array([[0.1, 0.2, 0.5, 0.4], [0.9, 0.3, 0.2, 0.6]], np.float32)
TARGET = np.array([[0.2, 0.2, 0.1, 0.7], [0.4, 0.3, 0.2, 0.6]], np.float32)


def test_the_mean_is_over_photos_and_coordinates():
    assert squared_error(TARGET, TARGET) == 0
    np.testing.assert_allclose(squared_error(BOX, TARGET), (0.1**2 + 0.4**2 + 0.3**2 + 0.5**2) / 8, rtol=1e-6)


def test_the_gradient_pulls_every_coordinate_to_its_target():
    gradient = jax.grad(squared_error)(BOX, TARGET)
    np.testing.assert_allclose(gradient, 2 * (BOX - TARGET) / 8, rtol=1e-6)


def test_the_absolute_error_is_the_mean_over_photos_and_coordinates():
    np.testing.assert_allclose(absolute_error(BOX, TARGET), (0.1 + 0.4 + 0.3 + 0.5) / 8, rtol=1e-6)
    apart = BOX != TARGET
    gradient = jax.grad(absolute_error)(BOX, TARGET)[apart]
    np.testing.assert_allclose(gradient, np.sign(BOX - TARGET)[apart] / 8, rtol=1e-6)


def test_generalised_iou_by_hand():
    box, target = np.array([[0.0, 0.0, 0.4, 0.4]], np.float32), np.array([[0.2, 0.2, 0.4, 0.4]], np.float32)
    union, hull = 0.16 + 0.16 - 0.04, 0.36
    np.testing.assert_allclose(generalised_iou(box, target), 1 - 0.04 / union + (hull - union) / hull, rtol=1e-5)
    np.testing.assert_allclose(generalised_iou(TARGET, TARGET), 0, atol=1e-6)
    apart = np.array([[0.8, 0.8, 0.1, 0.1]], np.float32)
    assert 1 < generalised_iou(box, apart) < 2


def test_its_gradient_is_finite_where_boxes_are_empty_and_pulls_boxes_that_do_not_meet():
    nothing = np.zeros((1, 4), np.float32)
    assert np.isfinite(jax.grad(generalised_iou)(nothing, nothing)).all()
    apart = np.array([[0.8, 0.8, 0.1, 0.1]], np.float32)
    assert (jax.grad(generalised_iou)(apart, np.array([[0.1, 0.1, 0.2, 0.2]], np.float32))[0, :2] > 0).all()


def test_both_terms_count():
    np.testing.assert_allclose(
        absolute_and_iou(BOX, TARGET), absolute_error(BOX, TARGET) + 0.5 * generalised_iou(BOX, TARGET), rtol=1e-6
    )
