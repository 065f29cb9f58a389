"""One method's map of a photo, with its box or region at the threshold that is best over all photos."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from wsol_jax import boxes
from wsol_jax.data.records import Dataset, Record
from wsol_jax.evaluation import failures
from wsol_jax.evaluation.maps import MapSource
from wsol_jax.evaluation.score_maps import box_at
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.report.cards import OBJECT, View
from wsol_jax.report.domain_figures import Lines

Assignments = Callable[[int], np.ndarray]
"""Number of a record -> DA-WSOL's set of each pixel of its map, int8 [h, w]; see `target_samples.SETS`."""


class MapRun(NamedTuple):
    """The maps of the photos of a split by one method, with its predictions and metrics.

    Attributes:
        method: its name.
        source: the maps, in the order of the records.
        predictions: box (at the fixed threshold) and classes, in the same order.
        metrics: the names and numbers of its metrics.json.
        curves: those of its curves.json: metric -> x and y.
        threshold: with the highest MaxBoxAcc; None if that was not evaluated.
        pixel_threshold: with the highest pIoU; None if that was not evaluated.
        watched: its measurements of domain adaptation by epoch; () if there are none.
        assignments: DA-WSOL's sets of the pixels, in the order of the records; None without DA-WSOL.
    """

    method: str
    source: MapSource
    predictions: Predictions
    metrics: Mapping[str, float]
    curves: Mapping[str, Any]
    threshold: float | None
    pixel_threshold: float | None
    watched: Lines = ()
    assignments: Assignments | None = None


def view_of(run: MapRun, dataset: Dataset, record: Record, i: int) -> View:
    """Return the map of one photo with its box, evaluated by the true boxes, or else its region, by the true mask.

    Args:
        run: the maps of one method.
        dataset: gives the masks.
        record: the photo.
        i: its number in the records of `run`.

    Returns:
        The view; without a threshold, or without true boxes and masks, nothing in it is evaluated.
    """
    score_map, truth, right_class = run.source(i), record.boxes, is_right_class(record, run.predictions, i)
    fixed = None if run.predictions.box is None else run.predictions.box[i]
    view = View(run.method, score_map, fixed=fixed, assignment=run.assignments and run.assignments(i))
    if len(truth) and run.threshold is not None:
        box = box_at(score_map, run.threshold)
        kind = failures.kind_of_box(box, truth, right_class)
        return view._replace(box=box, iou=float(boxes.iou(truth, box).max()), kind=kind)
    if not len(truth) and record.masks and run.pixel_threshold is not None:
        mask = dataset.read_mask(record, len(score_map))
        region, known = score_map >= run.pixel_threshold, mask <= OBJECT
        shared, either = region & (mask == OBJECT), (region & known) | (mask == OBJECT)
        kind = failures.kind_of_region(region & known, mask == OBJECT, right_class)
        return view._replace(region=region, iou=np.count_nonzero(shared) / max(np.count_nonzero(either), 1), kind=kind)
    return view


def is_right_class(record: Record, predictions: Predictions, i: int) -> bool | None:
    """Return whether the most probable class is the photo's own; None where either is unknown.

    Args:
        record: the photo.
        predictions: of all photos of its split.
        i: its number among them.
    """
    if predictions.top5_class is None or record.label < 0:
        return None
    return bool(predictions.top5_class[i, 0] == record.label)
