"""Heat map to box: threshold at zero, the largest connected region, its bounds."""

import jax
import numpy as np
from scipy import ndimage

from wsol_jax.errors import InputError
from wsol_jax.evaluation.score_maps import score_map

THRESHOLDS = ("nearest_code", "bilinear_paper")
EIGHT_NEIGHBOURS = np.ones((3, 3), int)
WHOLE_IMAGE = np.array([0.0, 0.0, 1.0, 1.0])


def largest_region(mask: np.ndarray) -> np.ndarray:
    """The largest 8-connected region of a mask, both bool [h, w]; of equals, the first in raster order; or nothing."""
    regions, count = ndimage.label(mask, EIGHT_NEIGHBOURS)
    if count == 0:
        return np.zeros_like(mask)
    return regions == 1 + np.bincount(regions.ravel())[1:].argmax()


def bounds(region: np.ndarray) -> np.ndarray:
    """The box around a region bool [h, w] that is not empty, float64 [4], normalised xyxy."""
    h, w = region.shape
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return np.array([columns[0] / w, rows[0] / h, (columns[-1] + 1) / w, (rows[-1] + 1) / h])


def heat_box(heat: np.ndarray, threshold: str, size: int) -> tuple[np.ndarray, float, bool]:
    """The box of one heat map.

    Args:
        heat: float [h, w], positive on the object.
        threshold: 'nearest_code': on the map's own grid, so that edges are multiples of a cell, as PSOL's code does;
            'bilinear_paper': after bilinear upsampling to [size, size], as its paper says.
        size: side of the network's input, pixels; read by 'bilinear_paper'.

    Returns:
        The box, float64 [4], normalised xyxy; the mean heat of its region; and whether the map had no positive cell, so
        that the box is the whole image.

    Raises:
        InputError: for another `threshold`.
    """
    if threshold == "bilinear_paper":
        heat = np.asarray(jax.image.resize(heat, (size, size), "bilinear"))
    elif threshold != "nearest_code":
        raise InputError(f"pseudo.threshold is {threshold!r}; expected 'nearest_code' or 'bilinear_paper'")
    region = largest_region(heat > 0)
    if not region.any():
        return WHOLE_IMAGE, 0.0, True
    return bounds(region), float(heat[region].mean()), False


BOX_SIDE = 224  # pixels of the square in which `scored_box` thresholds a map


def scored_box(activation: np.ndarray, threshold: float) -> tuple[np.ndarray, float, bool]:
    """Return the box that CAM's authors draw: around the largest 8-connected region above a share of the maximum.

    Args:
        activation: [h, w], a map as a network gives it.
        threshold: of the maximum, after upsampling and stretching to [0, 1]: 0.2 in the PSOL paper's comparisons.

    Returns:
        The box, float64 [4], normalised xyxy; the mean of the stretched map in its region, in [0, 1]; and whether
        the map is constant, so that the box is the whole image and the mean is 0.
    """
    stretched = score_map(activation, (BOX_SIDE, BOX_SIDE))
    region = largest_region(stretched > threshold)
    if not region.any():
        return WHOLE_IMAGE, 0.0, True
    return bounds(region), float(stretched[region].mean()), False
