"""The boxes of many heat maps and their confidences, in one compiled call: those of single maps, bit for bit."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from wsol_jax import boxes
from wsol_jax.pseudo.confidence import LEVELS, heat_inside, heat_probability
from wsol_jax.pseudo.regions import WHOLE_IMAGE, heat_box, thresholds


class HeatBoxes(NamedTuple):
    """The boxes of n heat maps.

    Attributes:
        box: float64 [n, 4], normalised xyxy.
        score: float64 [n], their confidences.
        fallback: bool [n], no cell is above the threshold, and the box is the whole image.
    """

    box: np.ndarray
    score: np.ndarray
    fallback: np.ndarray


def heat_boxes(heat: np.ndarray, threshold: str, size: int, levels: Sequence[float]) -> HeatBoxes:
    """Return `regions.heat_box` and `confidence.heat_confidence` of every map.

    Args:
        heat: float32 [n, h, w], positive on objects.
        threshold: see `regions.heat_box`; with 'bilinear_paper' each map is upsampled by itself.
        size: see `regions.heat_box`.
        levels: see `regions.heat_box`.
    """
    heat = np.ascontiguousarray(heat)
    of_levels, found = _at_levels(heat, LEVELS)
    of_levels = np.where(found[..., None], of_levels, WHOLE_IMAGE)
    if threshold == "nearest_code":
        each, found = _at_levels(heat, levels)
        count = found.sum(axis=1)
        total = np.zeros((len(heat), 4))
        for level in range(len(levels)):
            total += np.where(found[:, level, None], each[:, level], 0.0)
        box = np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], WHOLE_IMAGE)
        fallback = count == 0
    else:
        cut = [heat_box(one, threshold, size, levels) for one in heat]
        box = np.array([one.box for one in cut]).reshape(-1, 4)
        fallback = np.array([one.fallback for one in cut], bool)
    inside = np.array([heat_inside(of_photo, of_box) for of_photo, of_box in zip(heat, box, strict=True)])
    score = heat_probability(inside, box, boxes.iou(of_levels, box[:, None]))
    return HeatBoxes(box, np.where(fallback, 0.0, score), fallback)


def _at_levels(heat: np.ndarray, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The box around the largest region of each map above each level, [n, k, 4], and whether there is one, [n, k]."""
    n, h, w = heat.shape
    cut = np.zeros((n, len(levels)), heat.dtype)
    for i, one in enumerate(heat):
        cut[i] = thresholds(one, levels)  # a constant map has one for all
    bounds = _bounds(heat, cut)
    return bounds / np.array([w, h, w, h]), bounds[..., 2] > 0


@njit(nogil=True, cache=True)
def _bounds(heat: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """The largest 8-connected region of each of heat [n, h, w] above each of cut [n, k]; the first of equal ones.

    Its left, top, right and bottom in cells, int64 [n, k, 4]; zeros where no cell is above.
    """
    n, h, w = heat.shape
    bounds = np.zeros((n, cut.shape[1], 4), np.int64)
    seen, stack = np.empty((h, w), np.bool_), np.empty(h * w, np.int64)
    for i in range(n):
        for k in range(cut.shape[1]):
            seen[:] = False
            most = 0
            for start in range(h * w):
                if seen[start // w, start % w] or not heat[i, start // w, start % w] > cut[i, k]:
                    continue
                seen[start // w, start % w] = True
                stack[0], waiting, area = start, 1, 0
                left, top, right, bottom = w, h, 0, 0
                while waiting:
                    waiting -= 1
                    y, x = stack[waiting] // w, stack[waiting] % w
                    area += 1
                    left, top, right, bottom = min(left, x), min(top, y), max(right, x + 1), max(bottom, y + 1)
                    for v in range(max(y - 1, 0), min(y + 2, h)):
                        for u in range(max(x - 1, 0), min(x + 2, w)):
                            if not seen[v, u] and heat[i, v, u] > cut[i, k]:
                                seen[v, u] = True
                                stack[waiting] = v * w + u
                                waiting += 1
                if area > most:
                    most = area
                    bounds[i, k, 0], bounds[i, k, 1], bounds[i, k, 2], bounds[i, k, 3] = left, top, right, bottom
    return bounds
