"""An image as hills: every row is a few humps, and humps belong to peaks.

A row of a smooth image is a few humps, each of which rises to its summit and falls. Wherever one of its pixels is above
a threshold, so is the way to the summit; from there the way continues to a hump of the next row that is no lower next
to it, and so on up to a local maximum: the peak that all these humps belong to. So the pixels of a peak above a
threshold are connected, and a connected component is whole peaks, joined by the passes between them. A smooth map of
50,000 pixels has about a thousand humps and dozens of peaks.

All functions are compiled at their first call and then cached on disk; none holds Python's lock.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

ABSENT = 2**31 - 1


class Humps(NamedTuple):
    """The humps of an image uint8 [h, w], from left to right, row by row.

    Attributes:
        begin: int32 [n], the first column of each; it ends where the next one begins, or with the row.
        summit: int32 [n], the last column where it is highest.
        first: int64 [h + 1]; row y has the humps first[y] to first[y + 1].
    """

    begin: np.ndarray
    summit: np.ndarray
    first: np.ndarray


@njit(nogil=True, cache=True)
def find_humps(image: np.ndarray) -> Humps:
    """Return the humps of an image uint8 [h, w]: its rows, cut after their local minima."""
    h, w = image.shape
    begin, summit = np.empty((2, h * w), np.int32)
    first, n = np.zeros(h + 1, np.int64), 0
    rises, falls = np.zeros((2, w), np.bool_)
    for y in range(h):
        row = image[y]
        for x in range(1, w):
            rises[x], falls[x] = row[x] > row[x - 1], row[x] < row[x - 1]
        begin[n], summit[n], falling = 0, w - 1, False
        for x in range(1, w):
            if rises[x] if falling else falls[x]:
                if falling:
                    n += 1
                    begin[n], summit[n] = x, w - 1
                else:
                    summit[n] = x - 1
                falling = not falling
        n += 1
        first[y + 1] = n
    return Humps(begin[:n].copy(), summit[:n].copy(), first)


@njit(nogil=True, cache=True)
def find_peaks(image: np.ndarray, humps: Humps, diagonal: bool) -> tuple[np.ndarray, int]:
    """Return the peak that each hump belongs to, int32 [n], numbered from 0; and the number of peaks.

    Args:
        image: uint8 [h, w].
        humps: of that image.
        diagonal: whether pixels that share a corner alone are neighbours.
    """
    h, w = image.shape
    parent = np.arange(len(humps.begin))
    for y in range(h):
        for i in range(humps.first[y], humps.first[y + 1]):
            right = left = humps.summit[i]
            v = image[y, right]
            while left > humps.begin[i] and image[y, left - 1] == v:
                left -= 1
            left, right = max(left - diagonal, 0), min(right + diagonal, w - 1)
            for neighbour in (y - 1, y + 1):
                if 0 <= neighbour < h and parent[i] == i:
                    _join(parent, i, image[neighbour], v, humps, neighbour, left, right)
    peak, peaks = np.empty(len(parent), np.int32), 0
    for i in range(len(parent)):
        if parent[i] == i:
            peak[i] = peaks
            peaks += 1
    for i in range(len(parent)):
        peak[i] = peak[_root(parent, i)]
    return peak, peaks


@njit(nogil=True, cache=True)
def measure_reach(image: np.ndarray, humps: Humps, peak: np.ndarray, peaks: int) -> np.ndarray:
    """Return the height of each peak in each column and, after those, in each row: uint8 [peaks, w + h].

    Args:
        image: uint8 [h, w].
        humps: of that image.
        peak: int32 [n], of each hump.
        peaks: their number.
    """
    h, w = image.shape
    reach = np.zeros((peaks, w + h), np.uint8)
    for y in range(h):
        for i in range(humps.first[y], humps.first[y + 1]):
            begin, end = humps.begin[i], _end(humps, y, i, w)
            of_peak = reach[peak[i]]
            of_peak[w + y] = max(of_peak[w + y], image[y, humps.summit[i]])
            _raise(of_peak[begin:end], image[y, begin:end])
    return reach


@njit(nogil=True, cache=True)
def measure_shape(image: np.ndarray, humps: Humps, peak: np.ndarray, peaks: int) -> np.ndarray:
    """Return the first pixel of each value and peak, and the area that these pixels add: int32 [256, peaks, 2].

    The pixel is the first in reading order, y * w + x, or ABSENT if there is none. The area is twice that of the
    polygon through the centres of the pixels at the border: of a square of four neighbours it holds half from the third
    highest on and all from the lowest on.

    Args:
        image: uint8 [h, w].
        humps: of that image.
        peak: int32 [n], of each hump.
        peaks: their number.
    """
    h, w = image.shape
    shape = np.zeros((256, peaks, 2), np.int32)
    shape[:, :, 0] = ABSENT
    of = np.empty((h, w), np.int32)
    for y in range(h):
        for i in range(humps.first[y], humps.first[y + 1]):
            of[y, humps.begin[i] :] = peak[i]
        for x in range(w):
            first = shape[image[y, x], of[y, x]]
            first[0] = min(first[0], y * w + x)
            if y == 0 or x == 0:
                continue
            last, third = image[y, x], np.uint8(255)
            of_last = of_third = of[y, x]
            for dy, dx in ((0, 1), (1, 0), (1, 1)):
                v = image[y - dy, x - dx]
                if v < last:
                    last, third = v, last
                    of_last, of_third = of[y - dy, x - dx], of_last
                elif v <= third:
                    third, of_third = v, of[y - dy, x - dx]
            shape[third, of_third, 1] += 1
            shape[last, of_last, 1] += 1
    return shape


@njit(nogil=True, cache=True)
def find_passes(image: np.ndarray, humps: Humps, peak: np.ndarray, diagonal: bool) -> np.ndarray:
    """Return the passes above 0 between humps of different peaks, int32 [m, 3]: the two peaks and the height.

    Args:
        image: uint8 [h, w].
        humps: of that image.
        peak: int32 [n], of each hump.
        diagonal: whether pixels that share a corner alone are neighbours.
    """
    h, w = image.shape
    passes, m = np.empty((3 * len(peak) + h * w, 3), np.int32), 0
    for y in range(h):
        row, above = image[y], image[max(y - 1, 0)]
        for j in range(humps.first[y] + 1, humps.first[y + 1]):
            m = _add(passes, m, peak[j - 1], peak[j], row[humps.begin[j] - 1])
        i, j, x = humps.first[y - 1], humps.first[y], 0
        while y > 0 and x < w:
            end_i, end_j = _end(humps, y - 1, i, w), _end(humps, y, j, w)
            end = min(end_i, end_j)
            if peak[i] != peak[j]:
                m = _add(passes, m, peak[i], peak[j], _best_step(above[x:end], row[x:end]))
            i, j, x = i + (end == end_i), j + (end == end_j), end
        if y > 0 and diagonal and _any_corner(above[:-1], above[1:], row[:-1], row[1:]):
            for x in range(1, w):
                for a, b in ((x - 1, x), (x, x - 1)):
                    v = min(above[a], row[b])
                    if v > max(above[b], row[a]):
                        m = _add(passes, m, peak[_hump_at(humps, y - 1, a)], peak[_hump_at(humps, y, b)], v)
    return passes[:m].copy()


@njit(nogil=True, cache=True)
def _join(parent: np.ndarray, i: int, row: np.ndarray, v: int, humps: Humps, y: int, left: int, right: int) -> None:
    """Join hump i, whose summit is v high, to a hump of row y that is no lower in the columns left to right."""
    j = _hump_at(humps, y, left)
    for x in range(left, right + 1):
        j += x == _end(humps, y, j, len(row))
        if row[x] >= v:
            parent[i] = _root(parent, j)
            if parent[i] != i:
                return


@njit(nogil=True, cache=True)
def _root(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(nogil=True, cache=True)
def _end(humps: Humps, y: int, i: int, w: int) -> int:
    return humps.begin[i + 1] if i + 1 < humps.first[y + 1] else w


@njit(nogil=True, cache=True)
def _hump_at(humps: Humps, y: int, x: int) -> int:
    i = humps.first[y]
    while i + 1 < humps.first[y + 1] and humps.begin[i + 1] <= x:
        i += 1
    return i


@njit(nogil=True, cache=True)
def _raise(reach: np.ndarray, values: np.ndarray) -> None:
    for x in range(len(reach)):
        reach[x] = max(reach[x], values[x])


@njit(nogil=True, cache=True)
def _add(passes: np.ndarray, m: int, p: int, q: int, height: int) -> int:
    if p == q or height == 0:
        return m
    passes[m, 0], passes[m, 1], passes[m, 2] = p, q, height
    return m + 1


@njit(nogil=True, cache=True)
def _best_step(above: np.ndarray, row: np.ndarray) -> int:
    """The height of the highest way from one row straight to the next."""
    best = np.uint8(0)
    for x in range(len(row)):
        best = max(best, min(above[x], row[x]))
    return best


@njit(nogil=True, cache=True)
def _any_corner(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    """Whether in any square (a b / c d) a diagonal leads higher than both ways around it: only then is it a pass."""
    higher = False
    for x in range(len(a)):
        higher |= (min(a[x], d[x]) > max(b[x], c[x])) | (min(b[x], c[x]) > max(a[x], d[x]))
    return higher
