"""MaxBoxAcc, MaxBoxAccV2 and Top-1 localization of score maps, as in wsolevaluation and DA-WSOL.

A threshold t in [0, 1) keeps the pixels above the level int(t max(q)) of the quantised map q, and a photo is right if a
box around the kept ones has IoU >= 30, 50 or 70 % with a true one. The accuracy is that of the best threshold for these
very photos: an oracle, as published. Two protocols:

- the bare names: boxes with inclusive ends ("+1") whose ends are nevertheless x + w and y + h, cut off at the last
  pixel; the truth truncated to the map's pixels. A perfect map of a 60 x 50 object has an IoU of 0.964.
- `exact/`: the same contours and the truth as half-open boxes, neither cut off nor truncated.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation.bootstrap import Statistic, share, weighted_sums
from wsol_jax.evaluation.contours import Contours, best_iou_at_levels, every_contour, largest_contour
from wsol_jax.evaluation.score_maps import STEP, checked, quantise, thresholds

IOUS = (0.3, 0.5, 0.7)
LARGEST, EVERY, LARGEST_EXACT, EVERY_EXACT = range(4)
LEVELS = 255
PARTS_OF_V2 = tuple(f"max_box_acc_v2_iou{percent}" for percent in (30, 50, 70))
PLUS_ONE = np.array([0, 0, 1, 1], np.int32)
# Each metric: its contours and protocol, the number of IOUS that it requires, and whether it requires the right class
# as well. MaxBoxAccV2 is the mean of its three.
METRICS = {
    f"{prefix}{name}": (contours + 2 * exact, reached, with_class)
    for exact, prefix in enumerate(("", "exact/"))
    for name, contours, reached, with_class in (
        ("max_box_acc", LARGEST, 2, False),
        ("max_box_acc_v2_iou30", EVERY, 1, False),
        ("max_box_acc_v2_iou50", EVERY, 2, False),
        ("max_box_acc_v2_iou70", EVERY, 3, False),
        ("top1_loc_map", EVERY, 2, True),
    )
}


class MapBoxes(NamedTuple):
    """The state of the metrics: one entry per photo, a kilobyte each, so that states merge.

    Attributes:
        reached: uint8 [n, 4, 255], the number of IOUS that the best box reaches at each level; the second axis is
            LARGEST, EVERY, LARGEST_EXACT, EVERY_EXACT.
        highest: uint8 [n], the maximum of the quantised map.
        has_truth: bool [n], whether the photo has a true box; the others only count in `maps`.
        top1: float64 [n], 1 where the most probable class is the true one, 0 where not, NaN where none was predicted.
    """

    reached: np.ndarray
    highest: np.ndarray
    has_truth: np.ndarray
    top1: np.ndarray


def measure(
    record: Record, score_map: np.ndarray, top1: float = np.nan, contours: tuple[Contours, Contours] | None = None
) -> MapBoxes:
    """Return the state of one photo.

    Args:
        record: the photo, with or without true boxes.
        score_map: floats [h, w] in [0, 1], of the whole photo at any size; as published, 224 x 224.
        top1: 1 if the most probable class is the true one, 0 if not, NaN if no class was predicted.
        contours: of the map, see `both_contours`; None: they are computed, where the photo has a true box.

    Raises:
        InputError: the map is not a score map, or a true box is negative or inverted.
    """
    image = quantise(checked(record.path, score_map))
    reached = np.zeros((1, 4, LEVELS), np.uint8)
    if len(record.boxes):
        contours = contours or both_contours(image)
        iou = best_ious(image, published_truth(record, image.shape[::-1]), record.boxes, contours)
        reached[0, :, : iou.shape[1]] = sum(iou >= enough for enough in IOUS)
    return MapBoxes(reached, np.array([image.max()]), np.array([len(record.boxes) > 0]), np.array([float(top1)]))


def both_contours(image: np.ndarray) -> tuple[Contours, Contours]:
    """Return the contours of LARGEST and of EVERY of a quantised map, uint8 [h, w]."""
    return largest_contour(image), every_contour(image)


def best_ious(
    image: np.ndarray, published: np.ndarray, truth: np.ndarray, contours: tuple[Contours, Contours]
) -> np.ndarray:
    """Return the best IoU over contours and true boxes, at each level of a map.

    Args:
        image: uint8 [h, w], a quantised map.
        published: int [m, 4], true boxes in its pixels, inclusive, of `published_truth`.
        truth: float64 [m, 4], the same, normalised xyxy.
        contours: of the image, see `both_contours`.

    Returns:
        float64 [4, max(1, max(image))]; the rows are LARGEST, EVERY, LARGEST_EXACT, EVERY_EXACT.
    """
    size = image.shape[::-1]
    of_published = [published_iou(each, published, image) for each in contours]
    of_exact = [best_iou_at_levels(each, truth * np.tile(size, 2), _levels(image)) for each in contours]
    return np.stack(of_published + of_exact)


def published_iou(contours: Contours, truth: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return the best IoU at each level under the published protocol, float64 [max(1, max(image))].

    Inclusive boxes are half-open ones that end one pixel later.

    Args:
        contours: of the image.
        truth: int [m, 4], of `published_truth`.
        image: uint8 [h, w], a quantised map.
    """
    h, w = image.shape
    inclusive = np.minimum(contours.box, np.array([w, h, w - 1, h - 1], np.int32)) + PLUS_ONE
    return best_iou_at_levels(contours._replace(box=inclusive), (truth + PLUS_ONE).astype(np.float64), _levels(image))


def published_truth(record: Record, size: tuple[int, int]) -> np.ndarray:
    """Return true boxes truncated to pixels of a map of width and height `size`, int64 [m, 4], as in wsolevaluation.

    Raises:
        InputError: a box is negative or inverted.
    """
    if not ((record.boxes >= 0).all() and (record.boxes[:, 2:] >= record.boxes[:, :2]).all()):
        raise InputError(f"{record.path}: true boxes {record.boxes.tolist()}, expected 0 <= x0 <= x1 and 0 <= y0 <= y1")
    frame = np.tile(np.array(record.size, np.float64), 2)
    pixels = np.round(record.boxes * frame, 6)  # whole pixels become exactly whole before they are truncated
    return (pixels * np.tile(size, 2) / frame).astype(np.int64)


def zeros(photos: int) -> MapBoxes:
    """Return the state of so many photos without true boxes, whose rows `put` fills."""
    reached = np.zeros((photos, 4, LEVELS), np.uint8)
    return MapBoxes(reached, np.zeros(photos, np.uint8), np.zeros(photos, bool), np.zeros(photos))


def put(photos: MapBoxes, i: int, state: MapBoxes) -> None:
    """Write the state of photo number `i` of `zeros`, so that the states of all photos are never held twice."""
    for rows, (row,) in zip(photos, state, strict=True):
        rows[i] = row


def merge(states: Iterable[MapBoxes]) -> MapBoxes:
    """Return the state of the photos of all states, in their order; of no states, the empty state."""
    return MapBoxes(*(np.concatenate(fields) for fields in zip(zeros(0), *states, strict=True)))


def curves(state: MapBoxes, step: float = STEP) -> dict[str, np.ndarray]:
    """Return each metric of METRICS at every threshold: float64 [k], percent of the photos with true boxes.

    A metric that is defined for no photo is left out.
    """
    return {
        name: accuracy_curve(state, contours, reached, with_class, step)
        for name, (contours, reached, with_class) in METRICS.items()
        if (state.has_truth & (~np.isnan(state.top1) | (not with_class))).any()
    }


def accuracy_curve(
    state: MapBoxes, contours: int, reached: int, with_class: bool = False, step: float = STEP
) -> np.ndarray:
    """Return the share of photos that reach `reached` of IOUS at every threshold: float64 [k], percent.

    Args:
        state: of photos, some of which have true boxes and, for `with_class`, a predicted class.
        contours: LARGEST, EVERY, LARGEST_EXACT or EVERY_EXACT.
        reached: 1, 2 or 3.
        with_class: whether the most probable class has to be the true one as well.
        step: between thresholds.
    """
    right, seen = _right(state, contours, reached, with_class)
    hits = np.zeros(len(thresholds(step)), np.int64)
    for highest in np.unique(state.highest[seen]):
        of_level = right[state.highest == highest].sum(axis=0)
        hits += of_level[(thresholds(step) * float(highest)).astype(np.int64)]
    return hits * 100.0 / float(seen.sum())


def compute(state: MapBoxes, step: float = STEP) -> dict[str, float]:
    """Return the metrics at the best threshold for these photos, percent, and NAME/threshold, the lowest such one.

    Returns:
        max_box_acc, max_box_acc_v2 with _iou30, _iou50 and _iou70 (each at its own threshold), top1_loc_map; the same
        with `exact/`; maps, maps_with_boxes: the number of maps, and of those with true boxes.
    """
    metrics = {}
    for name, curve in curves(state, step).items():
        metrics |= {name: float(curve.max()), f"{name}/threshold": float(thresholds(step)[curve.argmax()])}
    counts = {"maps": float(len(state.highest)), "maps_with_boxes": float(state.has_truth.sum())}
    return _with_v2(metrics) | counts


def compute_at(state: MapBoxes, chosen: Mapping[str, float], step: float = STEP) -> dict[str, float]:
    """Return the metrics at thresholds that were chosen elsewhere, percent.

    Args:
        state: of the photos to evaluate.
        chosen: NAME/threshold, as `compute` gives it for the photos that choose, with the same step.
        step: between thresholds.
    """
    metrics = {
        name: float(curve[np.abs(thresholds(step) - chosen[f"{name}/threshold"]).argmin()])
        for name, curve in curves(state, step).items()
        if f"{name}/threshold" in chosen
    }
    return _with_v2(metrics)


def statistic(state: MapBoxes, step: float = STEP, chosen: Mapping[str, float] | None = None) -> Statistic:
    """Return the statistic of the bare metrics of `compute`, percent, for the bootstrap.

    The best threshold is chosen anew in each resample, an oracle like the number itself. The interval thus includes
    the choice of the threshold, and lies higher than that of a threshold which is fixed beforehand.

    Args:
        state: of n photos.
        step: between thresholds.
        chosen: metric -> a fixed threshold, NAME/threshold, as `compute` gives it; None: the best one.
    """
    first, levels = _distinct_levels(state.highest, step)
    hits, seen = {}, {}
    for name, metric in METRICS.items():
        threshold = f"{name}/threshold"
        if "/" in name or (chosen is not None and threshold not in chosen):
            continue
        (of_photo, known), columns = _right(state, *metric), np.arange(len(first))
        if not known.any():
            continue
        if chosen is not None:
            nearest = np.abs(thresholds(step) - chosen[threshold]).argmin()
            columns = [np.searchsorted(first, nearest, side="right") - 1]
        seen[name], hits[name] = known, np.zeros((len(known), len(columns)), bool)
        for highest, of_level in levels.items():
            photos = state.highest == highest
            hits[name][photos] = of_photo[photos][:, of_level[columns]]

    def values(times: np.ndarray) -> dict[str, np.ndarray]:
        metrics = {
            name: share(100 * weighted_sums(times, hits[name], np.float32).max(axis=1), times @ seen[name])
            for name in hits
        }
        if set(PARTS_OF_V2) <= set(metrics):
            metrics["max_box_acc_v2"] = np.mean([metrics[name] for name in PARTS_OF_V2], axis=0)
        return metrics

    return values


def _right(state: MapBoxes, contours: int, reached: int, with_class: bool) -> tuple[np.ndarray, np.ndarray]:
    """Whether each photo is right at each level, bool [n, 255], and whether the metric is defined for it, bool [n]."""
    seen = state.has_truth & (~np.isnan(state.top1) | (not with_class))
    right = state.reached[:, contours] >= reached
    return right & (seen & ((state.top1 == 1) | (not with_class)))[:, None], seen


def _distinct_levels(highest: np.ndarray, step: float) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """The thresholds that cut some map at another level than the one before, int [m]; maximum -> levels there [m]."""
    levels = {int(value): (thresholds(step) * float(value)).astype(np.int64) for value in np.unique(highest)}
    changes = np.any([np.diff(each) > 0 for each in levels.values()], axis=0)
    first = np.flatnonzero(np.append(True, changes))
    return first, {value: each[first] for value, each in levels.items()}


def _levels(image: np.ndarray) -> int:
    return max(1, int(image.max()))


def _with_v2(metrics: dict[str, float]) -> dict[str, float]:
    for prefix in ("", "exact/"):
        parts = [f"{prefix}{name}" for name in PARTS_OF_V2]
        if all(name in metrics for name in parts):
            metrics = metrics | {f"{prefix}max_box_acc_v2": float(np.mean([metrics[name] for name in parts]))}
    return metrics
