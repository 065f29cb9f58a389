"""MaxBoxAcc, MaxBoxAccV2 and Top-1 localization of score maps, as wsolevaluation and DA-WSOL count them.

A threshold t in [0, 1) keeps what is above the level int(t max(q)) of the quantised map q, and a photo is right if a
box around what is left has IoU >= 30, 50 or 70 % with a true one. Accuracy is taken at the best threshold for these
very photos: an oracle, as published. Two protocols stand side by side:

- the bare names: boxes with inclusive ends ("+1") whose ends are nevertheless x + w and y + h, cut off at the last
  pixel; the truth truncated to the map's pixels. A perfect map of a 60 x 50 object has an IoU of 0.964.
- `exact/`: the same contours and the truth as half-open boxes, neither cut off nor truncated.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation.contours import Contours, best_iou_at_levels, every_contour, largest_contour
from wsol_jax.evaluation.score_maps import STEP, checked, quantise, thresholds

IOUS = (0.3, 0.5, 0.7)
LARGEST, EVERY, LARGEST_EXACT, EVERY_EXACT = range(4)
LEVELS = 255
PLUS_ONE = np.array([0, 0, 1, 1], np.int32)
# Each metric: which contours under which protocol, how many of IOUS have to be reached, whether the class has to be
# right as well. MaxBoxAccV2 is the mean of its three.
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
        reached: uint8 [n, 4, 255], how many of IOUS the best box reaches at each level; the second axis is LARGEST,
            EVERY, LARGEST_EXACT, EVERY_EXACT.
        highest: uint8 [n], the maximum of the quantised map.
        has_truth: bool [n], whether the photo has a true box; the others are counted and nothing else.
        top1: float64 [n], 1 where the likeliest class is the true one, 0 where not, NaN where nobody said.
    """

    reached: np.ndarray
    highest: np.ndarray
    has_truth: np.ndarray
    top1: np.ndarray


def measure(record: Record, score_map: np.ndarray, top1: float = np.nan) -> MapBoxes:
    """The state of one photo.

    Args:
        record: the photo; one without true boxes is fine.
        score_map: floats [h, w] in [0, 1], of the whole photo at any size; as published, 224 x 224.
        top1: 1 if the likeliest class is the true one, 0 if not, NaN if nobody said.

    Raises:
        InputError: the map is not a score map, or a true box is negative or inverted.
    """
    image = quantise(checked(record.path, score_map))
    reached = np.zeros((1, 4, LEVELS), np.uint8)
    if len(record.boxes):
        iou = best_ious(image, published_truth(record, image.shape[::-1]), record.boxes)
        reached[0, :, : iou.shape[1]] = sum(iou >= enough for enough in IOUS)
    return MapBoxes(reached, np.array([image.max()]), np.array([len(record.boxes) > 0]), np.array([float(top1)]))


def best_ious(image: np.ndarray, published: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The best IoU over contours and true boxes, at each level of a map.

    Args:
        image: uint8 [h, w], a quantised map.
        published: int [m, 4], true boxes in its pixels, inclusive, as `published_truth` makes them.
        truth: float64 [m, 4], the same, normalised xyxy.

    Returns:
        float64 [4, max(1, max(image))]; the rows are LARGEST, EVERY, LARGEST_EXACT, EVERY_EXACT.
    """
    size = image.shape[::-1]
    contours = largest_contour(image), every_contour(image)
    of_published = [published_iou(found, published, image) for found in contours]
    of_exact = [best_iou_at_levels(found, truth * np.tile(size, 2), _levels(image)) for found in contours]
    return np.stack(of_published + of_exact)


def published_iou(contours: Contours, truth: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The best IoU at each level under the published protocol, float64 [max(1, max(image))].

    Inclusive boxes are half-open ones that end one pixel later.

    Args:
        contours: of the image.
        truth: int [m, 4], as `published_truth` makes them.
        image: uint8 [h, w], a quantised map.
    """
    h, w = image.shape
    inclusive = np.minimum(contours.box, np.array([w, h, w - 1, h - 1], np.int32)) + PLUS_ONE
    return best_iou_at_levels(contours._replace(box=inclusive), (truth + PLUS_ONE).astype(np.float64), _levels(image))


def published_truth(record: Record, size: tuple[int, int]) -> np.ndarray:
    """True boxes as wsolevaluation has them: truncated to pixels of a map of width and height `size`, int64 [m, 4].

    Raises:
        InputError: a box is negative or inverted.
    """
    if not ((record.boxes >= 0).all() and (record.boxes[:, 2:] >= record.boxes[:, :2]).all()):
        raise InputError(f"{record.path}: true boxes {record.boxes.tolist()}, expected 0 <= x0 <= x1 and 0 <= y0 <= y1")
    frame = np.tile(np.array(record.size, np.float64), 2)
    pixels = np.round(record.boxes * frame, 6)  # whole pixels become whole again, as truncation needs them
    return (pixels * np.tile(size, 2) / frame).astype(np.int64)


def merge(states: Iterable[MapBoxes]) -> MapBoxes:
    """The state of the photos of all states, in their order; of none, the empty state."""
    empty = MapBoxes(np.zeros((0, 4, LEVELS), np.uint8), np.zeros(0, np.uint8), np.zeros(0, bool), np.zeros(0))
    return MapBoxes(*(np.concatenate(fields) for fields in zip(empty, *states, strict=True)))


def curves(state: MapBoxes, step: float = STEP) -> dict[str, np.ndarray]:
    """Each metric of METRICS at every threshold: float64 [k], percent of the photos with true boxes.

    A metric that no photo has anything to say about is left out.
    """
    return {
        name: accuracy_curve(state, contours, reached, with_class, step)
        for name, (contours, reached, with_class) in METRICS.items()
        if (state.has_truth & (~np.isnan(state.top1) | (not with_class))).any()
    }


def accuracy_curve(
    state: MapBoxes, contours: int, reached: int, with_class: bool = False, step: float = STEP
) -> np.ndarray:
    """The share of photos that reach `reached` of IOUS at every threshold: float64 [k], percent.

    Args:
        state: of photos, some of which have true boxes and, for `with_class`, a likeliest class.
        contours: LARGEST, EVERY, LARGEST_EXACT or EVERY_EXACT.
        reached: 1, 2 or 3.
        with_class: whether the likeliest class has to be the true one as well.
        step: between thresholds.
    """
    seen = state.has_truth & (~np.isnan(state.top1) | (not with_class))
    right = (state.reached[:, contours] >= reached) & (seen & ((state.top1 == 1) | (not with_class)))[:, None]
    hits = np.zeros(len(thresholds(step)), np.int64)
    for highest in np.unique(state.highest[seen]):
        of_level = right[state.highest == highest].sum(axis=0)
        hits += of_level[(thresholds(step) * float(highest)).astype(np.int64)]
    return hits * 100.0 / float(seen.sum())


def compute(state: MapBoxes, step: float = STEP) -> dict[str, float]:
    """The numbers at the best threshold for these photos, percent, and NAME/threshold, the lowest that reaches them.

    Returns:
        max_box_acc, max_box_acc_v2 with _iou30, _iou50 and _iou70 (each at its own threshold), top1_loc_map; the same
        with `exact/`; maps, maps_with_boxes: how many maps there are, and how many of them have true boxes.
    """
    metrics = {}
    for name, curve in curves(state, step).items():
        metrics |= {name: float(curve.max()), f"{name}/threshold": float(thresholds(step)[curve.argmax()])}
    counts = {"maps": float(len(state.highest)), "maps_with_boxes": float(state.has_truth.sum())}
    return _with_v2(metrics) | counts


def compute_at(state: MapBoxes, validated: dict[str, float], step: float = STEP) -> dict[str, float]:
    """The numbers at the thresholds that were best for other photos: `val_threshold/NAME`, percent.

    Args:
        state: of the photos to judge.
        validated: `compute` of the photos that choose the thresholds, with the same step.
        step: between thresholds.
    """
    metrics = {
        name: float(curve[np.abs(thresholds(step) - validated[f"{name}/threshold"]).argmin()])
        for name, curve in curves(state, step).items()
        if f"{name}/threshold" in validated
    }
    return {f"val_threshold/{name}": value for name, value in _with_v2(metrics).items()}


def _levels(image: np.ndarray) -> int:
    return max(1, int(image.max()))


def _with_v2(metrics: dict[str, float]) -> dict[str, float]:
    for prefix in ("", "exact/"):
        parts = [f"{prefix}max_box_acc_v2_iou{percent}" for percent in (30, 50, 70)]
        if all(name in metrics for name in parts):
            metrics = metrics | {f"{prefix}max_box_acc_v2": float(np.mean([metrics[name] for name in parts]))}
    return metrics
