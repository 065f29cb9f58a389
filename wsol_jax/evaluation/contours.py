"""The boxes of a score map at all thresholds at once, equal to those that wsolevaluation gets from OpenCV.

Its `compute_bboxes_from_scoremaps` takes floor(255 map), keeps the pixels above a level, and calls cv2.findContours
with RETR_TREE: the outer border of every 8-connected part, nested ones too, and the border of every hole, which are the
pixels around it. Here the same boxes come from two trees of components, one of the map and one of its holes.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from wsol_jax.evaluation.component_tree import components


class Contours(NamedTuple):
    """Bounding boxes of the contours of {image > level}, one entry for each range of levels with the same box.

    Attributes:
        box: int32 [n, 4]: left, top, right, bottom, half-open, pixels: x, y, x + w, y + h of cv2.boundingRect.
        low, high: int32 [n]; it is one of the contours at low <= level < high. Every level in 0..max(image) - 1 has
            some; an image of zeros has none, and is given one box [0, 0, 0, 0] at level 0, as published.
    """

    box: np.ndarray
    low: np.ndarray
    high: np.ndarray


NO_CONTOUR = Contours(np.zeros((1, 4), np.int32), np.zeros(1, np.int32), np.ones(1, np.int32))


def every_contour(image: np.ndarray) -> Contours:
    """Return the contours of MaxBoxAccV2: of every part, and of every hole.

    A hole is a 4-connected component of {image <= level} = {255 - image > 254 - level} that touches no edge of the
    image. Its contour is the pixels around it, one more on each side.

    Args:
        image: uint8 [h, w], a quantised score map.

    Returns:
        The contours, in no particular order.
    """
    if not image.any():
        return NO_CONTOUR
    h, w = image.shape
    parts, holes = components(image, diagonal=True), components(255 - image, diagonal=False)
    left, top, right, bottom = holes.box.T
    closed = (left > 0) & (top > 0) & (right < w - 1) & (bottom < h - 1)
    around = (holes.box + np.array([-1, -1, 2, 2], np.int32))[closed]
    return Contours(
        np.concatenate([parts.box + np.array([0, 0, 1, 1], np.int32), around]),
        np.concatenate([parts.low, (255 - holes.high)[closed]]),
        np.concatenate([parts.high, (255 - holes.low)[closed]]),
    )


def largest_contour(image: np.ndarray) -> Contours:
    """Return the contour of MaxBoxAcc at each level: the one with the largest cv2.contourArea.

    That is the area of the polygon through the centres of the border pixels, so that a line has none. Of equals, it is
    the first in OpenCV's order, whose first pixel in reading order is the last. A hole, and a part in a hole, is
    smaller than the part around it or has the same box; so only parts with their holes filled count.

    Args:
        image: uint8 [h, w], a quantised score map.

    Returns:
        The contours; entry i is that of level i.
    """
    if not image.any():
        return NO_CONTOUR
    parts = components(fill_holes(image), diagonal=True, with_shape=True)
    order = parts.area.astype(np.int64) * image.size + parts.start
    level = np.arange(image.max(), dtype=np.int32)
    chosen = _highest_at_levels(order, parts.low, parts.high, len(level))
    return Contours(parts.box[chosen] + np.array([0, 0, 1, 1], np.int32), level, level + 1)


@njit(nogil=True, cache=True)
def best_iou_at_levels(contours: Contours, truth: np.ndarray, levels: int) -> np.ndarray:
    """Return the best IoU of any contour with any true box, at each level: float64 [levels].

    Args:
        contours: their boxes, [n, 4], half-open.
        truth: float64 [m, 4], half-open, in the same frame; an empty one has IoU 0.
        levels: the number of levels.
    """
    best = np.zeros(levels)
    for i in range(len(contours.box)):
        x0, y0, x1, y1 = contours.box[i, 0], contours.box[i, 1], contours.box[i, 2], contours.box[i, 3]
        iou = 0.0
        for j in range(len(truth)):
            x = min(x1, truth[j, 2]) - max(x0, truth[j, 0])
            y = min(y1, truth[j, 3]) - max(y0, truth[j, 1])
            if x > 0 and y > 0:
                area = (truth[j, 2] - truth[j, 0]) * (truth[j, 3] - truth[j, 1])
                iou = max(iou, x * y / ((x1 - x0) * (y1 - y0) + area - x * y))
        for level in range(contours.low[i], contours.high[i]):
            best[level] = max(best[level], iou)
    return best


@njit(nogil=True, cache=True)
def fill_holes(image: np.ndarray) -> np.ndarray:
    """Return the image whose sets {> t} are those of `image` with their holes filled, for every t.

    The value of a pixel becomes the height of the lowest 4-connected way from it to an edge of the image, in passes
    down and up over those rows whose neighbours have changed.

    Args:
        image: uint8 [h, w].

    Returns:
        uint8 [h, w], nowhere less than `image`.
    """
    h, w = image.shape
    filled = np.full((h, w), 255, np.uint8)
    filled[0], filled[-1], filled[:, 0], filled[:, -1] = image[0], image[-1], image[:, 0], image[:, -1]
    from_above, from_below = np.ones((2, h), np.bool_)
    while from_above[1:-1].any() or from_below[1:-1].any():
        for y in range(1, h - 1):
            if from_above[y]:
                from_above[y] = False
                if _lower_row(filled[y, 1:-1], image[y, 1:-1], filled[y - 1, 1:-1], filled[y, 0]):
                    from_above[y + 1] = from_below[y] = from_below[y - 1] = True
        for y in range(h - 2, 0, -1):
            if from_below[y]:
                from_below[y] = False
                if _lower_row(filled[y, -2:0:-1], image[y, -2:0:-1], filled[y + 1, -2:0:-1], filled[y, -1]):
                    from_below[y - 1] = from_above[y] = from_above[y + 1] = True
    return filled


@njit(nogil=True, cache=True)
def _lower_row(row: np.ndarray, floor: np.ndarray, neighbour: np.ndarray, before: int) -> bool:
    """Lower each pixel to its way out by the neighbouring row or the pixel before it; return whether any changes."""
    changed = 0
    for x in range(len(row)):
        before = max(floor[x], min(row[x], neighbour[x], before))
        changed |= before ^ row[x]
        row[x] = before
    return changed != 0


@njit(nogil=True, cache=True)
def _highest_at_levels(order: np.ndarray, low: np.ndarray, high: np.ndarray, levels: int) -> np.ndarray:
    """The entry with the highest `order` int64 [n] of those that exist at each level: int64 [levels]."""
    chosen = np.full(levels, -1)
    for i in range(len(order)):
        for level in range(low[i], high[i]):
            if chosen[level] == -1 or order[i] > order[chosen[level]]:
                chosen[level] = i
    return chosen
