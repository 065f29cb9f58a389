"""Which side of a two-sided map is the object: the one that holds less of the photos' borders (C2AM's rule)."""

import numpy as np

EVEN = 0.5  # a map's value between the two sides


def border_share(maps: np.ndarray) -> float:
    """Return the share of all border cells that are above 0.5.

    The published code judges the last batch of the first epoch; all photos together decide for all.

    Args:
        maps: float [n, h, w], in 0..1.
    """
    border = np.ones(maps.shape[1:], bool)
    border[1:-1, 1:-1] = False
    return float((maps[:, border] > EVEN).mean())


def object_maps(maps: np.ndarray, share: float) -> np.ndarray:
    """Return maps that are high on the object: the maps, or 1 - maps where they are high on most of the border.

    Args:
        maps: float [n, h, w], in 0..1.
        share: of `border_share`, of the photos that decide.
    """
    return 1 - maps if share > EVEN else maps
