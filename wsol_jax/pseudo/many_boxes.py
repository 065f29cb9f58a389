"""The boxes of many maps and their scores, cut by compiled code: those of single maps, bit for bit."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from wsol_jax import boxes
from wsol_jax.evaluation.score_maps import score_map
from wsol_jax.progress import track
from wsol_jax.pseudo.confidence import LEVELS, heat_inside, heat_probability
from wsol_jax.pseudo.regions import BOX_SIDE, WHOLE_IMAGE, heat_box, thresholds
from wsol_jax.threads import in_threads

AT_ONCE = 512  # maps whose boxes are cut in one call


class CutBoxes(NamedTuple):
    """The boxes of n maps.

    Attributes:
        box: float64 [n, 4], normalised xyxy.
        score: float64 [n], of heat maps their confidences, of score maps the means of their regions.
        fallback: bool [n], no cell is above the threshold, and the box is the whole image.
    """

    box: np.ndarray
    score: np.ndarray
    fallback: np.ndarray


def cut_boxes(cut: Callable[[np.ndarray], CutBoxes], maps: np.ndarray, name: str) -> CutBoxes:
    """Return the boxes of any number of maps, cut by one thread for each core, and show the progress.

    Args:
        cut: some of the maps -> their boxes.
        maps: [n, h, w], at least one.
        name: of the loop, for the progress.
    """
    parts = in_threads(lambda start: cut(maps[start : start + AT_ONCE]), range(0, len(maps), AT_ONCE))
    parts = track(parts, len(maps), name, unit="maps", weight=AT_ONCE)
    return CutBoxes(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def heat_boxes(heat: np.ndarray, threshold: str, size: int, levels: Sequence[float]) -> CutBoxes:
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
    return CutBoxes(box, np.where(fallback, 0.0, score), fallback)


def scored_boxes(activation: np.ndarray, threshold: float) -> CutBoxes:
    """Return `regions.scored_box` of every map.

    Args:
        activation: [n, h, w], maps as a network gives them.
        threshold: see `regions.scored_box`.
    """
    box, score = np.tile(WHOLE_IMAGE, (len(activation), 1)), np.zeros(len(activation))
    fallback = np.ones(len(activation), bool)
    # For all maps: to allocate memory of this size takes longer than to upsample into it.
    values, inside, runs = np.empty((BOX_SIDE, BOX_SIDE)), np.empty(BOX_SIDE**2), _space(BOX_SIDE, BOX_SIDE)
    for i, one in enumerate(activation):
        bounds, area = _values_inside(score_map(one, (BOX_SIDE, BOX_SIDE), values), threshold, runs, inside)
        if area:
            box[i], score[i], fallback[i] = np.array(bounds) / BOX_SIDE, inside[:area].mean(), False
    return CutBoxes(box, score, fallback)


def _at_levels(heat: np.ndarray, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The box around the largest region of each map above each level, [n, k, 4], and whether there is one, [n, k]."""
    n, h, w = heat.shape
    cut = np.zeros((n, len(levels)), heat.dtype)
    for i, one in enumerate(heat):
        cut[i] = thresholds(one, levels)  # a constant map has one for all
    bounds = _bounds(heat, cut, _space(h, w))
    return bounds / np.array([w, h, w, h]), bounds[..., 2] > 0


def _space(h: int, w: int) -> np.ndarray:
    """Space for the most runs that a map can have, see `_largest`."""
    return np.empty((h * ((w + 1) // 2), 5), np.int64)


@njit(nogil=True, cache=True)
def _bounds(heat: np.ndarray, cut: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """The bounds of the largest region of each of heat [n, h, w] above each of cut [n, k], int64 [n, k, 4]."""
    n, k = cut.shape
    bounds = np.empty((n, k, 4), np.int64)
    for i in range(n):
        for j in range(k):
            found, _, _ = _largest(heat[i], cut[i, j], runs)
            bounds[i, j, 0], bounds[i, j, 1], bounds[i, j, 2], bounds[i, j, 3] = found
    return bounds


@njit(nogil=True, cache=True)
def _values_inside(
    values: np.ndarray, cut: float, runs: np.ndarray, inside: np.ndarray
) -> tuple[tuple[int, int, int, int], int]:
    """The bounds of the largest region of a map [h, w] and its cells' number; their values, in order, in `inside`."""
    bounds, region, count = _largest(values, cut, runs)
    area = 0
    for i in range(count):
        if runs[i, 3] == region:
            y, start, stop = runs[i, 0], runs[i, 1], runs[i, 2]
            inside[area : area + stop - start] = values[y, start:stop]
            area += stop - start
    return bounds, area


@njit(nogil=True, cache=True)
def _largest(values: np.ndarray, cut: float, runs: np.ndarray) -> tuple[tuple[int, int, int, int], int, int]:
    """The largest 8-connected region of values [h, w] above a threshold; of equals, the first in raster order.

    Args:
        values: the map.
        cut: the threshold.
        runs: the row, the first column, the column after the last one and the region of each run of cells in a row,
            and the area of each region, int64 [at least as many, 5]; they are written. A region has the number of its
            first run.

    Returns:
        Its left, top, right and bottom in cells, zeros where no cell is above; its number; the number of runs.
    """
    count = _joined_runs(values, cut, runs)
    largest = 0
    for i in range(count):
        runs[i, 4] = 0
        region = runs[i, 3] = runs[runs[i, 3], 3]  # an earlier run, whose region is known by now
        runs[region, 4] += runs[i, 2] - runs[i, 1]
    for i in range(count):
        if runs[i, 4] > runs[largest, 4]:
            largest = i
    left, top, right, bottom = values.shape[1], values.shape[0], 0, 0
    for i in range(count):
        if runs[i, 3] == largest:
            left, right = min(left, runs[i, 1]), max(right, runs[i, 2])
            top, bottom = min(top, runs[i, 0]), max(bottom, runs[i, 0] + 1)
    return (left, top, right, bottom) if count else (0, 0, 0, 0), largest, count


@njit(nogil=True, cache=True)
def _joined_runs(values: np.ndarray, cut: float, runs: np.ndarray) -> int:
    """Write the runs of `_largest` and, as the region of each, an earlier run of the same region, or itself.

    Return their number.
    """
    h, w = values.shape
    count = above = 0  # runs so far; the first one of the row above that may touch the next one
    for y in range(h):
        row, x = count, 0
        while x < w:
            if not values[y, x] > cut:
                x += 1
                continue
            start = x
            while x < w and values[y, x] > cut:
                x += 1
            runs[count, 0], runs[count, 1], runs[count, 2], runs[count, 3] = y, start, x, count
            while above < row and runs[above, 2] < start:
                above += 1
            touching = above
            while touching < row and runs[touching, 1] <= x:
                _join(runs, touching, count)
                touching += 1
            count += 1
        above = row
    return count


@njit(nogil=True, cache=True)
def _join(runs: np.ndarray, one: int, other: int) -> None:
    """Let two runs be of the same region: the first run of it is that of the earlier one."""
    while runs[one, 3] != one:
        one = runs[one, 3]
    while runs[other, 3] != other:
        other = runs[other, 3]
    runs[max(one, other), 3] = min(one, other)
