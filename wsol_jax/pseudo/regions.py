"""Map to boxes: threshold, the largest connected region or every one that holds enough heat, their bounds."""

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


class Region(NamedTuple):
    """One of several regions of a map.

    Attributes:
        box: float64 [4], around it, normalised xyxy.
        mask: bool [h, w], its cells.
        score: the mean of the map in it.
    """

    box: np.ndarray
    mask: np.ndarray
    score: float


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
            'bilinear_paper': after bilinear upsampling to [size, size], as in its paper.
        size: side of the upsampled map, pixels; read by 'bilinear_paper'.
        levels: thresholds, in standard deviations of the map; (0,) as published. A level that no cell exceeds has no
            box; where none has one, the box is the whole image.

    Raises:
        InputError: for another `threshold`.
    """
    heat = _on_grid(heat, threshold, size)
    cut = [_cut(heat, level) for level in thresholds(heat, levels)]
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
    regions = [largest_region(heat > threshold) for threshold in thresholds(heat, levels)]
    return np.mean(regions, axis=0, dtype=np.float32)


def thresholds(heat: np.ndarray, levels: Sequence[float]) -> list[float]:
    """Return the levels of a heat map [h, w] in units of its heat; zero alone for a constant one."""
    if heat.max() == heat.min():
        return [0.0]
    deviation = float(heat.std(dtype=np.float64)) if any(levels) else 0.0
    return [level * deviation for level in levels]


def scored_box(activation: np.ndarray, threshold: float) -> RegionBox:
    """Return the box that CAM's authors draw: around the largest 8-connected region above a share of the maximum.

    It defines `many_boxes.scored_boxes`, which computes the same for many maps at once.

    Args:
        activation: [h, w], a map as a network gives it.
        threshold: of the maximum, after upsampling and stretching to [0, 1]: 0.2 in the PSOL paper's comparisons.

    Returns:
        The box, whose score is the mean of the stretched map in its region, in [0, 1]; the whole image where the map
        is constant.
    """
    return _cut(score_map(activation, (BOX_SIDE, BOX_SIDE)), threshold)


def every_region(values: np.ndarray, threshold: float, share: float) -> list[Region]:
    """Return the 8-connected regions above a threshold that hold a share of the map's heat, most heat first.

    The heat of a region is the sum of its positive values, and a map's heat that of all its regions above the
    threshold.

    Args:
        values: float [h, w], a map.
        threshold: cells above it are object.
        share: of the heat, in [0, 1], that a region needs at least.
    """
    regions, count = ndimage.label(values > threshold, EIGHT_NEIGHBOURS)
    numbers = np.arange(1, count + 1)
    heat = np.asarray(ndimage.sum_labels(np.maximum(values, 0), regions, numbers), np.float64)
    kept = numbers[heat >= share * heat.sum()]
    masks = [regions == number for number in kept[np.argsort(-heat[kept - 1], kind="stable")]]
    return [Region(bounds(mask), mask, float(values[mask].mean())) for mask in masks]


def heat_regions(
    heat: np.ndarray, threshold: str, size: int, levels: Sequence[float] = (0.0,), share: float = 0.0
) -> list[Region]:
    """Return the regions of a heat map above the mean of the levels, at which regions do not merge or fall apart.

    Args:
        heat: float [h, w], positive on objects.
        threshold: see `heat_box`.
        size: see `heat_box`.
        levels: see `heat_box`.
        share: see `every_region`.
    """
    heat = _on_grid(heat, threshold, size)
    return every_region(heat, float(np.mean(levels)) * float(heat.std(dtype=np.float64)), share)


def scored_regions(activation: np.ndarray, threshold: float, share: float) -> list[Region]:
    """Return the regions of a map as a network gives it, above a share of its maximum; the scores are in [0, 1].

    Args:
        activation: [h, w].
        threshold: see `scored_box`.
        share: see `every_region`.
    """
    return every_region(score_map(activation, (BOX_SIDE, BOX_SIDE)), threshold, share)


def _on_grid(heat: np.ndarray, threshold: str, size: int) -> np.ndarray:
    """The heat map on the grid on which `threshold` cuts it."""
    if threshold == "bilinear_paper":
        return np.asarray(jax.image.resize(heat, (size, size), "bilinear"))
    if threshold != "nearest_code":
        raise InputError(f"pseudo.threshold is {threshold!r}; expected 'nearest_code' or 'bilinear_paper'")
    return heat


def _cut(values: np.ndarray, threshold: float) -> RegionBox:
    region = largest_region(values > threshold)
    if not region.any():
        return NO_REGION
    return RegionBox(bounds(region), float(values[region].mean()), False)
