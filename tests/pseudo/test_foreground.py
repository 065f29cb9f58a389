"""The object is the side that holds less of the border, in all photos together."""

import numpy as np

from wsol_jax.pseudo.foreground import border_share, object_maps


def blob(inside: float, outside: float) -> np.ndarray:
    """A map of 5 x 6 cells whose border is `outside` but for one cell."""
    one = np.full((5, 6), outside, np.float32)
    one[1:4, 2:5] = inside
    one[4, 3] = inside
    return one


def test_the_share_counts_each_border_cell_once():
    assert border_share(np.stack([blob(0.9, 0.2), blob(0.9, 0.2)])) == 1 / 18
    assert border_share(np.stack([blob(0.1, 0.8), blob(0.9, 0.2)])) == 0.5


def test_maps_that_are_high_on_most_borders_are_inverted_all_of_them():
    maps = np.stack([blob(0.1, 0.8), blob(0.1, 0.8), blob(0.9, 0.2)])
    np.testing.assert_array_equal(object_maps(maps, border_share(maps)), 1 - maps)
    np.testing.assert_array_equal(object_maps(1 - maps, border_share(1 - maps)), 1 - maps)
