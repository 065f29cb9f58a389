"""The best baseline that sees no photo: one centred box for all."""

from collections.abc import Sequence

import numpy as np

from wsol_jax import boxes
from wsol_jax.data.records import Record
from wsol_jax.evaluation.direct_boxes import flat_truth


def best_center_box(records: Sequence[Record]) -> tuple[np.ndarray, float]:
    """Return the centred box that is right most often on these very photos, and its accuracy: an oracle.

    It covers the same fraction s of the width and of the height, s from 0.01 to 1 in steps of 0.01; of equals, the
    smallest. Photos without true boxes are left out.

    Args:
        records: the photos, at least one of them with a true box.

    Returns:
        The box, float64 [4], normalised xyxy, and its gt_known_loc (IoU >= 0.5 with the best true box) in percent.

    Raises:
        ValueError: no photo has a true box.
    """
    truth, owner = flat_truth(records)
    if len(truth) == 0:
        raise ValueError("no photo has a true box to compare a centred one with")
    half = np.arange(1, 101) / 200
    candidates = np.stack([0.5 - half, 0.5 - half, 0.5 + half, 0.5 + half], axis=-1)
    fitting = (owner[boxes.iou(truth, box) >= 0.5] for box in candidates)
    right = [int(np.count_nonzero(np.diff(of_photos, prepend=-1))) for of_photos in fitting]  # each photo once
    best = int(np.argmax(right))
    return candidates[best], 100 * right[best] / len(np.unique(owner))
