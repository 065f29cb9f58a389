"""Kinds of failure, as people would name them."""

from collections import Counter

import numpy as np
import pytest

from wsol_jax import boxes
from wsol_jax.evaluation.failures import (
    ANOTHER,
    KINDS,
    NOT_TIGHT,
    PART,
    RIGHT,
    TOO_LARGE,
    WRONG_CLASS,
    kind,
    kind_of_box,
    kind_of_region,
    kinds_of_boxes,
)

TRUTH = np.array([0.2, 0.2, 0.6, 0.6])


@pytest.mark.parametrize(
    ("box", "right_class", "expected"),
    [
        ([0.2, 0.2, 0.6, 0.6], True, RIGHT),
        ([0.2, 0.2, 0.6, 0.6], None, RIGHT),
        ([0.2, 0.2, 0.6, 0.6], False, WRONG_CLASS),
        ([0.2, 0.2, 0.6, 0.401], None, RIGHT),  # just above half of it
        ([0.2, 0.2, 0.6, 0.399], None, PART),
        ([0.3, 0.3, 0.32, 0.32], None, PART),  # however small
        ([0.15, 0.2, 0.4, 0.4], False, PART),  # four fifths inside; the class is another matter
        ([0.1, 0.2, 0.3, 0.4], None, NOT_TIGHT),  # only half inside
        ([0.0, 0.0, 1.0, 1.0], None, TOO_LARGE),
        ([0.28, 0.2, 1.2, 0.6], None, TOO_LARGE),  # four fifths of the object inside
        ([0.4, 0.2, 1.0, 0.6], None, NOT_TIGHT),
        ([0.7, 0.7, 0.9, 0.9], True, ANOTHER),
        ([0.55, 0.55, 1.0, 1.0], None, ANOTHER),  # touches a corner
        ([0.0, 0.0, 0.0, 0.0], None, ANOTHER),  # nothing at all
        ([0.3, 0.3, 0.3, 0.5], None, ANOTHER),  # nothing, and inside
    ],
)
def test_boxes(box, right_class, expected):
    assert kind_of_box(np.array(box), TRUTH[None], right_class) == expected


def test_right_is_the_same_as_in_the_metrics():
    rng = np.random.default_rng(0)
    corners = rng.random((500, 2, 2, 2)).cumsum(axis=-2).reshape(500, 2, 4) / 2
    for box, truth in corners:
        result = kind_of_box(box, truth[None])
        assert result in KINDS
        assert (result == RIGHT) == (boxes.iou(truth, box) >= 0.5)


def test_the_best_of_several_true_boxes():
    truth = np.array([[0.0, 0.0, 1.0, 1.0], TRUTH, [0.7, 0.7, 0.8, 0.8]])
    assert kind_of_box(TRUTH, truth) == RIGHT
    assert kind_of_box(TRUTH, truth[[0, 2]]) == PART


def test_nothing_to_compare_with():
    assert kind_of_box(TRUTH, np.zeros((0, 4)), True) is None
    assert kind_of_region(np.ones((4, 4), bool), np.zeros((4, 4), bool)) is None


def test_regions_have_the_kinds_of_boxes():
    def pixels(box):
        x0, y0, x1, y1 = (np.array(box) * 50).astype(int)
        return np.pad(np.ones((y1 - y0, x1 - x0), bool), [(y0, 50 - y1), (x0, 50 - x1)])

    cases = {(0.3, 0.3, 0.4, 0.4): PART, (0, 0, 1, 1): TOO_LARGE, (0.7, 0.7, 0.8, 0.8): ANOTHER}
    for box, expected in cases.items():
        assert kind_of_region(pixels(box), pixels(TRUTH), False) == kind_of_box(np.array(box), TRUTH[None]) == expected
    assert kind_of_region(pixels(TRUTH), pixels(TRUTH), False) == WRONG_CLASS


def test_the_unit_does_not_matter():
    assert kind(1, 2, 40) == kind(25, 50, 1000) == ANOTHER
    assert kind(8, 10, 40) == kind(200, 250, 1000) == PART


@pytest.mark.parametrize("with_classes", [True, False])
def test_the_kinds_of_many_boxes_are_those_of_each(with_classes):
    rng = np.random.default_rng(0)
    box, *truth = rng.random((4, 300, 2, 2)).cumsum(axis=-2).reshape(4, 300, 4) / 2
    truth = np.stack(truth, axis=1)
    truth[:20, :, 2:] = truth[:20, :, :2]  # without an area
    truth[20:40, 1] = truth[20:40, 0] = box[20:40]
    counts = rng.integers(0, 4, 300)
    is_right = rng.random(300) < 0.5 if with_classes else None
    each = [
        kind_of_box(box[i], truth[i, : counts[i]], None if is_right is None else bool(is_right[i])) for i in range(300)
    ]
    flat = np.concatenate([truth[i, : counts[i]] for i in range(300)])
    found = kinds_of_boxes(box, flat, np.repeat(np.arange(300), counts), is_right)
    assert found == Counter(filter(None, each)) and len(found) >= 5
