"""Kinds of failure of a box or a mask: a part only, too large, another object, wrong class."""

from collections import Counter

import numpy as np

from wsol_jax import boxes

RIGHT = "right"
WRONG_CLASS = "wrong class"
PART = "a part only"
TOO_LARGE = "too large"
ANOTHER = "another object"
NOT_TIGHT = "not tight"
KINDS = (RIGHT, WRONG_CLASS, PART, TOO_LARGE, ANOTHER, NOT_TIGHT)

IOU = 0.5  # the least of a right prediction
NO_IOU = 0.1  # below, it hardly touches the object
INSIDE = 0.75  # the least share of one that lies mostly inside the other
COVERED = 0.5  # less of the object is only a part; a box filled less by the object is too large


def kind(overlap: float, predicted: float, true: float, right_class: bool | None = None) -> str:
    """Return the kind of failure of a prediction, from three areas in one unit.

    A prediction of IoU 0.5 and above is `right`, or `wrong class`. Of the others `a part only` lies mostly inside the
    truth and covers less than half of it; `too large` has the truth mostly inside and is more than twice as large;
    `another object`, or nothing at all, has an IoU below 0.1; the rest is `not tight`.

    Args:
        overlap: the area that both share.
        predicted: the area of the prediction.
        true: the area of the object, above 0.
        right_class: whether the most probable class is the true one; None if no class was predicted.

    Returns:
        One of `KINDS`.
    """
    if overlap >= IOU * (predicted + true - overlap):
        return WRONG_CLASS if right_class is False else RIGHT
    if 0 < INSIDE * predicted <= overlap < COVERED * true:
        return PART
    if overlap >= INSIDE * true and true < COVERED * predicted:
        return TOO_LARGE
    return ANOTHER if overlap < NO_IOU * (predicted + true - overlap) else NOT_TIGHT


def kind_of_box(box: np.ndarray, truth: np.ndarray, right_class: bool | None = None) -> str | None:
    """Return `kind` of a box [4] against the true box of [m, 4] that it fits best; None without a true box."""
    if not boxes.area(truth).any():
        return None
    best = truth[boxes.iou(truth, box).argmax()]
    shared = np.concatenate([np.maximum(best[:2], box[:2]), np.minimum(best[2:], box[2:])])
    return kind(*(float(boxes.area(of)) for of in (shared, box, best)), right_class)


def kinds_of_boxes(
    box: np.ndarray, truth: np.ndarray, owner: np.ndarray, right_class: np.ndarray | None = None
) -> Counter[str]:
    """Return the number of photos of each `kind_of_box`, without those that have no true box.

    Args:
        box: float64 [n, 4], of n photos.
        truth: float64 [m, 4], their true boxes.
        owner: int [m], the photo of each true box, in ascending order.
        right_class: bool [n], see `kind`; None for photos without one.
    """
    iou = boxes.iou(truth, box[owner])
    best, has_area = np.full(len(box), -1.0), np.zeros(len(box), bool)
    np.maximum.at(best, owner, iou)
    has_area[owner[boxes.area(truth) > 0]] = True
    fits = np.flatnonzero(iou == best[owner])
    photos, first = np.unique(owner[fits], return_index=True)
    photos, chosen = photos[has_area[photos]], truth[fits[first[has_area[photos]]]]
    shared = np.concatenate(
        [np.maximum(chosen[:, :2], box[photos, :2]), np.minimum(chosen[:, 2:], box[photos, 2:])], axis=1
    )
    areas = (boxes.area(of).tolist() for of in (shared, box[photos], chosen))
    is_right = [None] * len(photos) if right_class is None else right_class[photos].tolist()
    return Counter(map(kind, *areas, is_right))


def kind_of_region(region: np.ndarray, truth: np.ndarray, right_class: bool | None = None) -> str | None:
    """Return `kind` of a region against the object's pixels, both bool [h, w]; None where the object has none."""
    areas = (float(np.count_nonzero(of)) for of in (region & truth, region, truth))
    return kind(*areas, right_class) if truth.any() else None
