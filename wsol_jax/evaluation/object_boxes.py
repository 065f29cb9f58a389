"""Metrics of any number of boxes per photo: recall and precision at IoU 0.5, matched one to one as COCO does."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wsol_jax import boxes
from wsol_jax.data.records import Record
from wsol_jax.evaluation import bootstrap

ENOUGH = 0.5  # the IoU from which on a box is right


class ObjectResults(NamedTuple):
    """The state of the metrics: one entry per photo with true boxes.

    Attributes:
        right: int64 [n], the boxes that are matched to a true one.
        predicted: int64 [n], the number of boxes.
        true: int64 [n], the number of true boxes.
    """

    right: np.ndarray
    predicted: np.ndarray
    true: np.ndarray


def measure(records: Sequence[Record], photo: np.ndarray, box: np.ndarray, score: np.ndarray) -> ObjectResults:
    """Return the results of boxes against the true ones; photos without a true box are left out.

    Args:
        records: n records.
        photo: int [m], the number of the photo that each box is in.
        box: float64 [m, 4], normalised xyxy.
        score: [m], by which the boxes of a photo take their turns.
    """
    order = np.lexsort((-score, photo))
    of_photos = np.split(box[order], np.searchsorted(photo[order], np.arange(1, len(records))))
    rows = [
        (matched(own, record.boxes), len(own), len(record.boxes))
        for own, record in zip(of_photos, records, strict=True)
        if len(record.boxes)
    ]
    return ObjectResults(*np.array(rows, np.int64).reshape(-1, 3).T)


def matched(box: np.ndarray, truth: np.ndarray) -> int:
    """Return how many boxes are right: in turn, each takes the free true box with the highest IoU of at least 0.5.

    Args:
        box: float64 [m, 4], the surest first.
        truth: float64 [k, 4], in the same frame.
    """
    iou, count = boxes.iou(box[:, None], truth[None]), 0
    for of_box in iou:
        best = of_box.argmax()
        if of_box[best] >= ENOUGH:
            iou[:, best] = 0
            count += 1
    return count


def compute(results: ObjectResults) -> dict[str, float]:
    """Return the metrics, percent of all boxes of all photos.

    Returns:
        object_recall_iou50: true boxes that have a box; left out without true boxes.
        object_precision_iou50: boxes that have a true one; left out without boxes.
        objects, true_objects: the numbers of boxes and of true boxes.
    """
    named = {name: 100 * part.sum() / whole.sum() for name, (part, whole) in _ratios(results).items()}
    counts = {"objects": results.predicted.sum(), "true_objects": results.true.sum()}
    return {name: float(value) for name, value in (named | counts).items()}


def intervals(results: ObjectResults, seed: int, resamples: int = 1000) -> dict[str, float]:
    """Return NAME/low and NAME/high, the 95 % bootstrap interval over photos of recall and precision, percent.

    Args:
        results: of n photos.
        seed: of the draws.
        resamples: see `bootstrap.intervals`.
    """
    named = {name: (100 * part, whole) for name, (part, whole) in _ratios(results).items()}
    return bootstrap.intervals(bootstrap.ratios(named), len(results.true), seed, resamples)


def _ratios(results: ObjectResults) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    named = {
        "object_recall_iou50": (results.right, results.true),
        "object_precision_iou50": (results.right, results.predicted),
    }
    return {name: (part, whole) for name, (part, whole) in named.items() if whole.sum() > 0}
