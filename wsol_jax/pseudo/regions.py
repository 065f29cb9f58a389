"""Map to box: threshold, the largest connected region, its bounds."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from scipy import ndimage

from wsol_jax.errors import InputError
from wsol_jax.evaluation.score_maps import score_map

THRESHOLDS = ("nearest_code", "bilinear_paper")
EIGHT_NEIGHBOURS = np.ones((3, 3), int)
WHOLE_IMAGE = np.array([0.0, 0.0, 1.0, 1.0])
BOX_SIDE = 224  # pixels of the square in which `scored_box` thresholds a map


class RegionBox(NamedTuple):
    """A box that was cut from a map.

    Attributes:
        box: float64 [4], normalised xyxy.
        score: the mean of the map in its region; 0 where there is no region.
        fallback: no cell is above the threshold, and the box is the whole image.
    """

    box: np.ndarray
    score: float
    fallback: bool


NO_REGION = RegionBox(WHOLE_IMAGE, 0.0, True)


def largest_region(mask: np.ndarray) -> np.ndarray:
    """Return the largest 8-connected region of a mask, both bool [h, w]; of equals, the first in raster order."""
    regions, count = ndimage.label(mask, EIGHT_NEIGHBOURS)
    if count == 0:
        return np.zeros_like(mask)
    return regions == 1 + np.bincount(regions.ravel())[1:].argmax()


def bounds(region: np.ndarray) -> np.ndarray:
    """Return the box around a non-empty region bool [h, w], float64 [4], normalised xyxy."""
    h, w = region.shape
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return np.array([columns[0] / w, rows[0] / h, (columns[-1] + 1) / w, (rows[-1] + 1) / h])


def heat_box(heat: np.ndarray, threshold: str, size: int, levels: Sequence[float] = (0.0,)) -> RegionBox:
    """Return the box of a heat map: the mean of the boxes around its largest region above each level.

    Args:
        heat: float [h, w], positive on the object.
        threshold: 'nearest_code': on the map's own grid, so that edges are multiples of a cell, as PSOL's code does;
            'bilinear_paper': after bilinear upsampling to [size, size], as its paper says.
        size: side of the upsampled map, pixels; read by 'bilinear_paper'.
        levels: thresholds, in standard deviations of the map; (0,) as published. A level that no cell exceeds has no
            box; where none has one, the box is the whole image.

    Raises:
        InputError: for another `threshold`.
    """
    if threshold == "bilinear_paper":
        heat = np.asarray(jax.image.resize(heat, (size, size), "bilinear"))
    elif threshold != "nearest_code":
        raise InputError(f"pseudo.threshold is {threshold!r}; expected 'nearest_code' or 'bilinear_paper'")
    cut = [_cut(heat, threshold) for threshold in _thresholds(heat, levels)]
    cut = [one for one in cut if not one.fallback]
    if not cut:
        return NO_REGION
    return RegionBox(np.mean([one.box for one in cut], axis=0), float(np.mean([one.score for one in cut])), False)


def heat_mask(heat: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return the share of the levels at which each cell is in the largest region, float32 [h, w] in [0, 1].

    Args:
        heat: float [h, w], positive on the object.
        levels: as for `heat_box`, whose box is the mean around the same regions.
    """
    regions = [largest_region(heat > threshold) for threshold in _thresholds(heat, levels)]
    return np.mean(regions, axis=0, dtype=np.float32)


def _thresholds(heat: np.ndarray, levels: Sequence[float]) -> list[float]:
    """The levels in units of the heat; zero alone for a constant heat map."""
    if heat.max() == heat.min():
        return [0.0]
    deviation = float(heat.std(dtype=np.float64)) if any(levels) else 0.0
    return [level * deviation for level in levels]


def scored_box(activation: np.ndarray, threshold: float) -> RegionBox:
    """Return the box that CAM's authors draw: around the largest 8-connected region above a share of the maximum.

    Args:
        activation: [h, w], a map as a network gives it.
        threshold: of the maximum, after upsampling and stretching to [0, 1]: 0.2 in the PSOL paper's comparisons.

    Returns:
        The box, whose score is the mean of the stretched map in its region, in [0, 1]; the whole image where the map
        is constant.
    """
    return _cut(score_map(activation, (BOX_SIDE, BOX_SIDE)), threshold)


def _cut(values: np.ndarray, threshold: float) -> RegionBox:
    region = largest_region(values > threshold)
    if not region.any():
        return NO_REGION
    return RegionBox(bounds(region), float(values[region].mean()), False)
