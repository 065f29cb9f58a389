"""Recall and precision of any number of boxes a photo."""

import numpy as np
import pytest

from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.evaluation.object_boxes import compute, intervals, matched, measure

LEFT, RIGHT, HIGH, WHOLE = np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1], [0, 0, 0.5, 0.6], [0, 0, 1, 1.0]])


def record(*truth):
    return Record("a", 0, (10, 10), np.array(truth).reshape(-1, 4) if truth else NO_BOXES)


@pytest.mark.parametrize(
    ("box", "truth", "right"),
    [
        ([LEFT, RIGHT], [RIGHT, LEFT], 2),
        ([LEFT, HIGH], [LEFT], 1),  # a true box is taken once
        ([HIGH, LEFT], [LEFT, HIGH], 2),
        ([WHOLE, LEFT, RIGHT], [LEFT, RIGHT], 2),  # an IoU of exactly 0.5 is enough, and the surest takes the first
        ([WHOLE, LEFT], [LEFT, RIGHT], 1),
        ([RIGHT], [HIGH], 0),
    ],
)
def test_boxes_take_their_turns(box, truth, right):
    assert matched(np.array(box), np.array(truth)) == right


def test_numbers_are_of_all_boxes_of_all_photos():
    records = [record(LEFT, RIGHT), record(), record(HIGH), record(LEFT)]
    photo, box, score = np.array([0, 0, 0, 1, 2]), np.array([RIGHT, HIGH, LEFT, LEFT, RIGHT]), np.arange(5) / 5
    results = measure(records, photo, box, score)
    np.testing.assert_array_equal(results, [[2, 0, 0], [3, 1, 0], [2, 1, 1]])
    numbers = compute(results)
    assert numbers == {"object_recall_iou50": 50, "object_precision_iou50": 50, "objects": 4, "true_objects": 4}
    ends = intervals(results, seed=0, resamples=200)
    assert ends.keys() == {f"object_{name}_iou50/{end}" for name in ("recall", "precision") for end in ("low", "high")}
    assert 0 <= ends["object_recall_iou50/low"] < 50 < ends["object_recall_iou50/high"] <= 100


def test_without_boxes_or_truth_a_number_is_left_out():
    none = np.zeros(0, int), np.zeros((0, 4)), np.zeros(0)
    assert compute(measure([record(LEFT)], *none)) == {"object_recall_iou50": 0, "objects": 0, "true_objects": 1}
    assert compute(measure([record()], *none)) == {"objects": 0, "true_objects": 0}
