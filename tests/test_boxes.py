"""Boxes by hand, their inverses, and the same results from numpy and jax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wsol_jax import boxes


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    """Boxes with sides of at least 0.1, some of them over the edge."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(-0.2, 0.8, (*shape, 2))
    return np.concatenate([low, low + rng.uniform(0.1, 0.6, (*shape, 2))], axis=-1)


def test_formats():
    box = np.array([0.1, 0.2, 0.5, 0.9])
    np.testing.assert_allclose(boxes.xyxy_to_xywh(box), [0.1, 0.2, 0.4, 0.7])
    np.testing.assert_allclose(boxes.xywh_to_xyxy(boxes.xyxy_to_xywh(drawn(50))), drawn(50))


def test_scale_takes_width_then_height():
    box, size = np.array([0.1, 0.2, 0.5, 0.9]), np.array([200, 100])
    np.testing.assert_allclose(boxes.scale(box, size), [20, 20, 100, 90])
    many = boxes.scale(np.stack([box, box]), np.array([[200, 100], [10, 20]]))
    np.testing.assert_allclose(many, [[20, 20, 100, 90], [1, 4, 5, 18]])


def test_into_a_window():
    box, window = np.array([0.5, 0.25, 0.75, 0.5]), np.array([0.5, 0.0, 1.0, 0.5])
    np.testing.assert_allclose(boxes.into_window(box, window), [0, 0.5, 0.5, 1])
    np.testing.assert_allclose(boxes.into_window(window, window), [0, 0, 1, 1])


def test_into_a_window_and_out_of_it_is_the_identity():
    box, window = drawn(200), drawn(200, seed=1)
    np.testing.assert_allclose(boxes.out_of_window(boxes.into_window(box, window), window), box, atol=1e-12)
    np.testing.assert_allclose(boxes.into_window(boxes.out_of_window(box, window), window), box, atol=1e-12)
    whole = np.array([[0.0, 0.0, 1.0, 1.0]])
    np.testing.assert_array_equal(boxes.into_window(box, whole), box)


def test_mirror():
    box = np.array([[0.1, 0.2, 0.5, 0.9]] * 2)
    np.testing.assert_allclose(boxes.mirror(box, np.array([True, False])), [[0.5, 0.2, 0.9, 0.9], box[0]])
    flip = np.arange(50) % 2 == 0
    np.testing.assert_allclose(boxes.mirror(boxes.mirror(drawn(50), flip), flip), drawn(50))


def test_clip():
    np.testing.assert_array_equal(boxes.clip(np.array([-0.1, 0.2, 0.5, 1.5])), [0, 0.2, 0.5, 1])
    np.testing.assert_array_equal(boxes.clip(np.array([-1.0, 2, 5, 9]), 0, 4), [0, 2, 4, 4])


def test_an_inverted_box_has_no_area():
    some = np.array([[0.1, 0.2, 0.5, 0.7], [0.5, 0.2, 0.1, 0.7], [0.5, 0.7, 0.1, 0.2], [0.3, 0.3, 0.3, 0.9]])
    np.testing.assert_allclose(boxes.area(some), [0.2, 0, 0, 0])


def test_iou_counts_pixels():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 12, (2, 300, 2, 2))
    a, b = (np.concatenate([c.min(axis=1), c.max(axis=1)], axis=-1) for c in corners)

    def covered(box):
        mask = np.zeros((12, 12), bool)
        mask[box[1] : box[3], box[0] : box[2]] = True
        return mask

    for one, other, overlap in zip(a, b, boxes.iou(a.astype(float), b.astype(float)), strict=True):
        both, either = covered(one) & covered(other), covered(one) | covered(other)
        assert overlap == pytest.approx(both.sum() / max(either.sum(), 1))


def test_iou_is_symmetric_and_one_with_itself():
    a, b = drawn(7, 1), drawn(1, 5, seed=1)
    assert boxes.iou(a, b).shape == (7, 5)
    np.testing.assert_array_equal(boxes.iou(a, b), boxes.iou(b, a))
    np.testing.assert_allclose(boxes.iou(a, a), 1)


@pytest.mark.parametrize(
    "call",
    [
        lambda a, b: boxes.xyxy_to_xywh(a),
        lambda a, b: boxes.xywh_to_xyxy(a),
        lambda a, b: boxes.scale(a, b[..., 2:]),
        lambda a, b: boxes.into_window(a, b),
        lambda a, b: boxes.out_of_window(a, b),
        lambda a, b: boxes.mirror(a, a[..., 0] > b[..., 0]),
        lambda a, b: boxes.clip(a),
        lambda a, b: boxes.area(a),
        lambda a, b: boxes.iou(a, b),
    ],
)
def test_jax_computes_the_same_as_numpy(call):
    a, b = drawn(40).astype(np.float32), drawn(40, seed=1).astype(np.float32)
    expected = call(a, b)
    assert isinstance(expected, np.ndarray)
    result = jax.jit(call)(a, b)
    assert isinstance(result, jax.Array) and result.dtype == expected.dtype
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_empty_boxes_have_no_overlap_and_a_finite_gradient():
    empty = jnp.array([0.3, 0.3, 0.3, 0.3])
    overlap, gradient = jax.value_and_grad(boxes.iou)(empty, empty)
    assert overlap == 0
    assert np.isfinite(gradient).all()
