"""The connected components of an image above every threshold at once, in a few passes over its pixels.

Peaks (humps.py) appear as the threshold falls, grow by the columns and rows they reach, and merge at the highest pass
between them: Kruskal's algorithm over sorted passes. The result is the max-tree of Salembier, Oliveras and Garrido
(1998), of which the boxes are kept.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from wsol_jax.evaluation.humps import ABSENT, find_humps, find_passes, find_peaks, measure_reach, measure_shape

LEFT, TOP, RIGHT, BOTTOM, START, AREA, LOW, HIGH = range(8)
NOTHING = np.array([ABSENT, ABSENT, -1, -1, ABSENT, 0, 0, 0], np.int32)


class Components(NamedTuple):
    """Connected components of the sets {image > t}, one entry for each range of t in which a component is the same.

    Attributes:
        box: int32 [n, 4], its first column and row and its last column and row, both inclusive.
        low, high: int32 [n]; the entry holds for low <= t < high.
        start: int32 [n], its first pixel in reading order, y * w + x.
        area: int32 [n], twice the area of the polygon through the centres of its border pixels, if it has no hole.
    """

    box: np.ndarray
    low: np.ndarray
    high: np.ndarray
    start: np.ndarray
    area: np.ndarray


def components(image: np.ndarray, diagonal: bool, with_shape: bool = False) -> Components:
    """Return every component of {image > t}, for all t in 0..254.

    Args:
        image: uint8 [h, w].
        diagonal: whether pixels that share a corner alone are neighbours (8-connected) or not (4-connected).
        with_shape: whether `start` and `area` are computed; they are undefined otherwise.

    Returns:
        The components, in no particular order.
    """
    humps = find_humps(image)
    peak, peaks = find_peaks(image, humps, diagonal)
    reach = measure_reach(image, humps, peak, peaks)
    shape = measure_shape(image, humps, peak, peaks) if with_shape else np.zeros((256, 0, 2), np.int32)
    rows = _merge_downwards(image.shape[1], reach, shape, find_passes(image, humps, peak, diagonal))
    return Components(rows[:, :START], rows[:, LOW], rows[:, HIGH], rows[:, START], rows[:, AREA])


@njit(nogil=True, cache=True)
def _merge_downwards(w: int, reach: np.ndarray, shape: np.ndarray, passes: np.ndarray) -> np.ndarray:
    """A row for every component, int32 [n, 8], its columns named above, from the measures of `humps`.

    A component changes by a column or row that it reaches, a new first pixel or area, or a pass to another one.
    """
    peaks = len(reach)
    reached, reached_first = _by_value(reach)
    ways, ways_first = _by_value(passes[:, 2:])
    room = len(reached) + len(ways) + peaks + np.sum(shape[:, :, 0] != ABSENT)
    rows, written = np.empty((room, 8), np.int32), 0
    grown = np.empty((peaks, 8), np.int32)
    grown[:] = NOTHING
    parent = np.arange(peaks)
    for v in range(255, 0, -1):
        for k in range(reached_first[v], reached_first[v + 1]):
            component, line = grown[_root(parent, reached[k, 0])], reached[k, 1]
            written = _write_before(v, component, rows, written)
            low, high, at = (LEFT, RIGHT, line) if line < w else (TOP, BOTTOM, line - w)
            component[low], component[high] = min(component[low], at), max(component[high], at)
        for p in range(shape.shape[1]):
            if shape[v, p, 0] != ABSENT:
                component = grown[_root(parent, p)]
                written = _write_before(v, component, rows, written)
                component[START] = min(component[START], shape[v, p, 0])
                component[AREA] += shape[v, p, 1]
        for k in ways[ways_first[v] : ways_first[v + 1], 0]:
            p, q = _root(parent, passes[k, 0]), _root(parent, passes[k, 1])
            if p != q:
                written = _write_before(v, grown[p], rows, written)
                written = _write_before(v, grown[q], rows, written)
                _absorb(grown[p], grown[q])
                parent[q] = p
    for p in range(peaks):
        if parent[p] == p:
            written = _write_before(0, grown[p], rows, written)
    return rows[:written].copy()


@njit(nogil=True, cache=True)
def _by_value(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of the values of an array [a, b], except 0.

    Returns:
        place int32 [m, 2], rows and columns; first int64 [257]: value v is at place[first[v]:first[v + 1]].
    """
    first = np.zeros(258, np.int64)
    for i in range(value.shape[0]):
        for j in range(value.shape[1]):
            if value[i, j]:
                first[value[i, j] + 2] += 1
    first = np.cumsum(first)
    place = np.empty((first[-1], 2), np.int32)
    for i in range(value.shape[0]):
        for j in range(value.shape[1]):
            if value[i, j]:
                k = first[value[i, j] + 1]
                place[k, 0], place[k, 1] = i, j
                first[value[i, j] + 1] += 1
    return place, first[:257]


# Not the one of `humps`: the cache of a compiled function does not notice that another file has changed.
@njit(nogil=True, cache=True)
def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(nogil=True, cache=True)
def _write_before(v: int, component: np.ndarray, rows: np.ndarray, written: int) -> int:
    """Write a row of a component before value v changes it, if it existed above v; return the number of rows."""
    if component[HIGH] > v:
        component[LOW] = v
        rows[written] = component
        written += 1
    component[HIGH] = v
    return written


@njit(nogil=True, cache=True)
def _absorb(component: np.ndarray, other: np.ndarray) -> None:
    for field in (LEFT, TOP, START):
        component[field] = min(component[field], other[field])
    for field in (RIGHT, BOTTOM):
        component[field] = max(component[field], other[field])
    component[AREA] += other[AREA]
