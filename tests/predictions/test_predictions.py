"""The record of predictions: its classes, and the join of two sources."""

import numpy as np

from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.predictions import predictions
from wsol_jax.predictions.predictions import (
    Predictions,
    box_classes,
    concatenate,
    image_sizes,
    join,
    most_probable,
    top_classes,
)


def test_top_classes():
    logits = np.array([[0.0, 3.0, 1.0], [2.0, 2.0, 5.0]], np.float32)
    top = top_classes(logits)
    assert top.top5_class.tolist() == [[1, 2, 0], [2, 0, 1]]  # of equals, the first class
    np.testing.assert_allclose(top.top5_prob.sum(axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(top.top5_prob[0, 0], np.exp(3) / np.exp([0, 3, 1]).sum(), rtol=1e-6)
    many = top_classes(np.arange(14, dtype=np.float32).reshape(2, 7))
    assert many.top5_class.tolist() == [[6, 5, 4, 3, 2]] * 2
    assert (many.top5_class.dtype, many.top5_prob.dtype) == (np.int32, np.float32)


def test_top_classes_of_many_photos_are_those_of_each(monkeypatch):
    logits = np.random.default_rng(0).standard_normal((7, 9)).astype(np.float32)
    whole = top_classes(logits)
    monkeypatch.setattr(predictions, "AT_ONCE", 3)
    parts = top_classes(logits)
    np.testing.assert_array_equal(parts.top5_class, whole.top5_class)
    np.testing.assert_array_equal(parts.top5_prob, whole.top5_prob)
    assert top_classes(logits[:0]).top5_class.shape == (0, 5)


def test_logits_of_any_size_have_finite_probabilities():
    top = top_classes(np.array([[1e4, -1e4, 0.0]], np.float32))
    assert top.top5_class[0, 0] == 0
    np.testing.assert_array_equal(top.top5_prob, [[1, 0, 0]])


def test_most_probable_keeps_the_probabilities():
    top = most_probable(np.array([[0.2, 0.5, 0.3]]))
    assert top.top5_class.tolist() == [[1, 2, 0]]
    np.testing.assert_allclose(top.top5_prob, [[0.5, 0.3, 0.2]], rtol=1e-6)
    assert (top.box, top.score, top.fallback) == (None, None, None)


def test_join():
    box = Predictions(box=np.zeros((2, 4)), score=np.ones(2), top5_class=np.zeros((2, 1)), top5_prob=np.zeros((2, 1)))
    classes = Predictions(box=np.ones((2, 4)), top5_class=np.ones((2, 1)), top5_prob=np.ones((2, 1)))
    both = join(box, classes)
    assert both.box is box.box
    assert both.score is box.score
    assert both.top5_class is classes.top5_class
    assert both.top5_prob is classes.top5_prob
    assert join(box, None).top5_class is None
    assert join(None, classes).box is None
    assert join(None, None) == Predictions()


def test_box_classes_are_labels_or_else_predictions():
    records = [Record("", label, (20, 10), NO_BOXES) for label in (2, -1, 0)]
    top5 = np.array([[1, 2], [4, 3], [3, 0]], np.int32)
    names = list("abcde")
    classes = box_classes(records, Predictions(top5_class=top5), names)
    assert (classes.dtype, classes.tolist()) == (np.int32, [2, 4, 0])
    assert box_classes(records, Predictions(), names).tolist() == [2, -1, 0]
    assert box_classes([], Predictions(), names).tolist() == []
    assert box_classes(records[1:], Predictions(), ["object"]).tolist() == [0, 0]


def test_concatenated_predictions_have_the_fields_of_every_part():
    first = Predictions(box=np.zeros((2, 4)), score=np.zeros(2))
    both = concatenate([first, Predictions(box=np.ones((1, 4)), fallback=np.ones(1, bool))])
    assert both.box.tolist() == [[0] * 4] * 2 + [[1] * 4]
    assert both[1:] == (None,) * 4


def test_image_sizes():
    records = [Record("", 0, size, NO_BOXES) for size in ((20, 10), (7, 9))]
    assert image_sizes(records).tolist() == [[20, 10], [7, 9]]
    assert image_sizes([]).shape == (0, 2)
