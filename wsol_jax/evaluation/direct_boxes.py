"""Metrics of one box per photo: GT-known, Top-1 and Top-5 localization, as in the PSOL paper.

Two protocols, which never share a name:

- the bare names: IoU >= 0.5 in the frame of the original image, mean over photos (the paper, section 4.1);
- `psol_code/`: as PSOL_inference.py computes. Truth and prediction are compared in the frame of the central crop
  (224 of 256), the truth clipped to it and the prediction not; IoU > 0.5; the mean over classes of each class's mean.
  That script also subtracts 1 pixel from the truth's coordinates, a bug outside ImageNet's 1-based XML; left out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wsol_jax import boxes
from wsol_jax.data.records import Record
from wsol_jax.evaluation import bootstrap
from wsol_jax.predictions.predictions import Predictions

CENTER_CROP = np.array([16, 16, 240, 240]) / 256
UNKNOWN_RANK = -1
ABSENT_RANK = np.iinfo(np.int32).max


class BoxResults(NamedTuple):
    """The state of the metrics: one entry per photo, so that states of parts merge into the state of the whole.

    Attributes:
        label: int32 [n], the true class, -1 where it is unknown.
        iou: float64 [n], IoU in the original frame, best over the photo's true boxes; NaN if no box can be compared.
        iou_code: float64 [n], the same in the frame and with the clipping of `psol_code/`.
        rank: int32 [n], place of the true class among the predicted ones, 0 if it is the most probable; ABSENT_RANK
            if it is not among them, UNKNOWN_RANK if no classes were predicted or the true one is unknown.
    """

    label: np.ndarray
    iou: np.ndarray
    iou_code: np.ndarray
    rank: np.ndarray


def empty() -> BoxResults:
    """Return the results of no photo, the identity of `merge`."""
    return BoxResults(np.zeros(0, np.int32), np.zeros(0), np.zeros(0), np.zeros(0, np.int32))


def measure(records: Sequence[Record], predictions: Predictions) -> BoxResults:
    """Return the results of the predictions of n photos against their true boxes and classes.

    Args:
        records: n records; any of them may lack true boxes.
        predictions: in the same order; without `box` every IoU is NaN, without `top5_class` every rank is unknown.
    """
    truth, owner = flat_truth(records)
    label = np.array([record.label for record in records], np.int32)
    iou = iou_code = np.full(len(records), np.nan)
    if predictions.box is not None:
        iou = best_iou(truth, owner, predictions.box)
        iou_code = best_iou(truth_in_crop(truth), owner, boxes.into_window(predictions.box, CENTER_CROP))
    return BoxResults(label, iou, iou_code, _rank(label, predictions.top5_class))


def merge(a: BoxResults, b: BoxResults) -> BoxResults:
    """Return the results of the photos of both; associative, with `empty()` as its identity."""
    return BoxResults(*(np.concatenate(pair) for pair in zip(a, b, strict=True)))


def compute(results: BoxResults) -> dict[str, float]:
    """Return the metrics, percent, each over the photos for which it is defined.

    Returns:
        gt_known_loc: the box is right.
        top1_loc, top5_loc: the box is right, and the true class is the most probable, or among the top five.
        top1_cls, top5_cls: the true class is the most probable, or among the top five.
        psol_code/...: the same five under that protocol.
        photos, photos_with_boxes: the number of photos, and of those with a predicted and a true box.
        A metric that is defined for no photo is left out.
    """
    metrics = {name: 100 * float(np.nanmean(hit)) for name, hit in hits(results).items()}
    code = _hits(np.where(np.isnan(results.iou_code), np.nan, results.iou_code > 0.5), results.rank)
    metrics |= {f"psol_code/{name}": 100 * _mean_of_class_means(hit, results.label) for name, hit in code.items()}
    counts = {"photos": len(results.label), "photos_with_boxes": int(np.isfinite(results.iou).sum())}
    return metrics | {name: float(count) for name, count in counts.items()}


def intervals(results: BoxResults, seed: int, resamples: int = 1000) -> dict[str, float]:
    """Return the 95 % bootstrap interval over photos of every bare metric of `compute`.

    Args:
        results: of n photos.
        seed: of the draws.
        resamples: see `bootstrap.interval`.

    Returns:
        NAME/low and NAME/high, percent.
    """
    named = hits(results)
    if not named:
        return {}
    low, high = bootstrap.interval(100 * np.stack(list(named.values())), seed, resamples)
    lows = {f"{name}/low": float(value) for name, value in zip(named, low, strict=True)}
    return lows | {f"{name}/high": float(value) for name, value in zip(named, high, strict=True)}


def hits(results: BoxResults) -> dict[str, np.ndarray]:
    """Return each bare metric of every photo: float64 [n], 1 if it is right, 0 if not, NaN where it is not defined.

    A metric that is NaN everywhere is left out.
    """
    return _hits(np.where(np.isnan(results.iou), np.nan, results.iou >= 0.5), results.rank)


def flat_truth(records: Sequence[Record]) -> tuple[np.ndarray, np.ndarray]:
    """Return every true box, float64 [m, 4], normalised xyxy, and the position of its record, int64 [m]."""
    owner = np.repeat(np.arange(len(records)), [len(record.boxes) for record in records])
    return np.concatenate([np.zeros((0, 4)), *(record.boxes for record in records)]), owner


def best_iou(truth: np.ndarray, owner: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the IoU [n] of each photo's box with the best of its true boxes; NaN for a photo that has none.

    Args:
        truth: float64 [m, 4], in the frame of `box`.
        owner: int64 [m], the photo of each true box.
        box: float64 [n, 4].
    """
    best = np.full(len(box), np.nan)
    np.fmax.at(best, owner, boxes.iou(truth, box[owner]))
    return best


def truth_in_crop(truth: np.ndarray) -> np.ndarray:
    """Return true boxes [m, 4] in the frame of the central crop and clipped to it, as PSOL's loader does.

    A box that lies wholly outside becomes inverted; nothing overlaps it.
    """
    truth = boxes.into_window(truth, CENTER_CROP)
    return np.concatenate([np.maximum(truth[:, :2], 0), np.minimum(truth[:, 2:], 1)], axis=-1)


def _rank(label: np.ndarray, top5_class: np.ndarray | None) -> np.ndarray:
    if top5_class is None:
        return np.full(len(label), UNKNOWN_RANK, np.int32)
    same = top5_class == label[:, None]
    rank = np.where(same.any(axis=-1), same.argmax(axis=-1), ABSENT_RANK)
    return np.where(label < 0, UNKNOWN_RANK, rank).astype(np.int32)


def _hits(box: np.ndarray, rank: np.ndarray) -> dict[str, np.ndarray]:
    top1, top5 = (np.where(rank == UNKNOWN_RANK, np.nan, rank < k) for k in (1, 5))
    named = {
        "gt_known_loc": box,
        "top1_loc": box * top1,
        "top5_loc": box * top5,
        "top1_cls": top1,
        "top5_cls": top5,
    }
    return {name: hit for name, hit in named.items() if not np.isnan(hit).all()}


def _mean_of_class_means(hit: np.ndarray, label: np.ndarray) -> float:
    known = ~np.isnan(hit)
    photos = np.bincount(label[known])
    return float(np.mean(np.bincount(label[known], hit[known])[photos > 0] / photos[photos > 0]))
