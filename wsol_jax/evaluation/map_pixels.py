"""PxAP (wsolevaluation) and peak IoU (DA-WSOL) of score maps against true masks.

Both are computed from two histograms of scores, one of the object's pixels and one of the background's, pooled over all
photos: no map is kept, and histograms of parts add up to those of the whole. For the bootstrap those of each photo are
kept, with as few bytes a number as they need: 4 KB a photo of 224 x 224 pixels and 1000 thresholds.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numba import njit

from wsol_jax.errors import InputError
from wsol_jax.evaluation.bootstrap import Statistic, share, weighted_sums
from wsol_jax.evaluation.score_maps import STEP, checked, thresholds

BACKGROUND, OBJECT, IGNORED = 0, 1, 255  # in the masks of data/masks.py


class PixelScores(NamedTuple):
    """The state of the metrics: the number of pixels with a score in each bin.

    Attributes:
        object, background: int64 [k + 2], for k thresholds; the bins begin at the thresholds, 1 and 2, and the last
            ends at 3. A score of 1 is in [1, 2); the last bin is empty, as published. Of each of n photos: [n, k + 2],
            whole numbers of any type.
    """

    object: np.ndarray
    background: np.ndarray


def measure(name: str, score_map: np.ndarray, mask: np.ndarray, step: float = STEP) -> PixelScores:
    """Return the state of one photo.

    Args:
        name: of the photo, for errors.
        score_map: floats [h, w] in [0, 1].
        mask: uint8 [h, w] of OBJECT, BACKGROUND and IGNORED.
        step: between thresholds.

    Raises:
        InputError: the map is not a score map, or not of the mask's size.
    """
    scores = checked(name, score_map, mask.shape[::-1])
    edges = np.append(thresholds(step), [1.0, 2.0, 3.0])
    return PixelScores(*_histograms(scores.ravel(), mask.ravel(), edges, step))


def merge(states: Iterable[PixelScores]) -> PixelScores:
    """Return the state of the photos of all states, at least one, all with the same step."""
    total, *others = states
    for state in others:
        total = PixelScores(total.object + state.object, total.background + state.background)
    return total


def compact(state: PixelScores) -> PixelScores:
    """Return a state in the smallest type that holds its numbers; it can be `put` in a row, not merged."""
    return PixelScores(*(counts.astype(np.min_scalar_type(counts.max())) for counts in state))


def put(photos: PixelScores | None, count: int, i: int, state: PixelScores) -> PixelScores:
    """Return the compact states of `count` photos as rows, that of photo number `i` among them.

    Args:
        photos: of the photos before it; None if it is the first that has a mask. Rows of no state are zero.
        count: the number of photos.
        i: its row.
        state: compact.

    Returns:
        The same arrays with one more row filled; in a larger type where its numbers need one.
    """
    photos = photos or PixelScores(*(np.zeros((count, len(counts)), counts.dtype) for counts in state))
    types = [np.promote_types(rows.dtype, counts.dtype) for rows, counts in zip(photos, state, strict=True)]
    photos = PixelScores(*(rows.astype(dtype, copy=False) for rows, dtype in zip(photos, types, strict=True)))
    for rows, counts in zip(photos, state, strict=True):
        rows[i] = counts
    return photos


def pooled(photos: PixelScores) -> PixelScores:
    """Return the state of all photos together, of `put`."""
    return PixelScores(*(counts.sum(axis=0, dtype=np.int64) for counts in photos))


def compute(state: PixelScores, step: float = STEP) -> dict[str, float]:
    """Return PxAP and peak IoU, percent, and the threshold of the latter.

    Args:
        state: of the photos.
        step: between thresholds.

    Returns:
        pxap: the area under precision over recall, one step for each bin from the highest score to the lowest.
        piou: the best IoU, over thresholds, of the pixels at or above the threshold with all object pixels of all
        photos together; piou/threshold: the highest such threshold.

    Raises:
        InputError: no pixel belongs to an object.
    """
    precision, recall = precision_recall(state)
    some = state.object[::-1].cumsum() + state.background[::-1].cumsum() != 0
    iou = iou_curve(state)
    return {
        "pxap": float(100 * (precision[1:] * np.diff(recall))[some[1:]].sum()),
        "piou": float(iou.max()),
        "piou/threshold": float(_descending(step)[iou.argmax()]),
    }


def compute_at(state: PixelScores, chosen: Mapping[str, float], step: float = STEP) -> dict[str, float]:
    """Return `piou`: the IoU, percent, at the threshold that was chosen elsewhere, piou/threshold."""
    at = np.abs(_descending(step) - chosen["piou/threshold"]).argmin()
    return {"piou": float(iou_curve(state)[at])}


def statistic(photos: PixelScores, step: float = STEP, chosen: Mapping[str, float] | None = None) -> Statistic:
    """Return the statistic of PxAP and peak IoU, percent, for the bootstrap: each resample pools its photos' pixels.

    The best threshold of the IoU is chosen anew in each resample, see `map_boxes.statistic`.

    Args:
        photos: of `put`.
        step: between thresholds.
        chosen: a fixed threshold for the IoU, piou/threshold, and no PxAP, which needs none; None: the best one.
    """

    def values(times: np.ndarray) -> dict[str, np.ndarray]:
        pixels = PixelScores(*(weighted_sums(times, counts, np.float64) for counts in photos))
        right, wrong = (counts[:, ::-1].cumsum(axis=1) for counts in pixels)
        objects = right[:, -1:]
        iou = share(100 * right, np.where(objects > 0, wrong + objects, 0))
        if chosen is not None:
            return {"piou": iou[:, np.abs(_descending(step) - chosen["piou/threshold"]).argmin()]}
        precision, recall = np.nan_to_num(share(right, right + wrong)), share(right, objects)
        return {"pxap": 100 * (precision[:, 1:] * np.diff(recall)).sum(axis=1), "piou": iou.max(axis=1)}

    return values


def precision_recall(state: PixelScores) -> tuple[np.ndarray, np.ndarray]:
    """Return precision and recall as more and more bins count as object, the highest first: two float64 [k + 2], 0..1.

    Precision is NaN until there is a pixel.

    Raises:
        InputError: no pixel belongs to an object.
    """
    right, wrong, missed = _counts(state)
    with np.errstate(invalid="ignore"):
        return right / (right + wrong), right / (right + missed)


def iou_curve(state: PixelScores) -> np.ndarray:
    """Return the IoU as more and more bins count as object, the highest first: float64 [k + 2], percent.

    Raises:
        InputError: no pixel belongs to an object.
    """
    right, wrong, missed = _counts(state)
    return right / (right + wrong + missed) * 100


def _counts(state: PixelScores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    right, wrong = (pixels[::-1].cumsum().astype(np.float64) for pixels in state)
    if right[-1] == 0:
        raise InputError("true masks: none of their pixels belongs to an object; expected some, for PxAP and peak IoU")
    return right, wrong, right[-1] - right


def _descending(step: float) -> np.ndarray:
    return np.append(thresholds(step), [1.0, 2.0])[::-1]


@njit(nogil=True, cache=True)
def _histograms(scores: np.ndarray, mask: np.ndarray, edges: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """np.histogram of both kinds of pixels: the bin is estimated from its width, then corrected by the edges."""
    objects, background = np.zeros(len(edges) - 1, np.int64), np.zeros(len(edges) - 1, np.int64)
    for i in range(len(scores)):
        b = min(int(scores[i] / step), len(edges) - 3)
        while scores[i] < edges[b]:
            b -= 1
        while scores[i] >= edges[b + 1]:
            b += 1
        if mask[i] == OBJECT:
            objects[b] += 1
        elif mask[i] == BACKGROUND:
            background[b] += 1
    return objects, background
