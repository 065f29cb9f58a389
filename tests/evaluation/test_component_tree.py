"""Components of every threshold at once, against scipy's labels of one threshold after the other."""

import numpy as np
import pytest
from scipy import ndimage
from score_images import score_images

from wsol_jax.evaluation.component_tree import components


@pytest.mark.parametrize("diagonal", [True, False])
def test_boxes_and_first_pixels_are_those_of_labels(diagonal):
    compared = 0
    for image in score_images(70, seed=int(diagonal)):
        tree = components(image, diagonal, with_shape=True)
        for t in range(image.max()):
            labels, n = ndimage.label(image > t, np.ones((3, 3)) if diagonal else None)
            expected = set()
            for i, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
                start = int(np.flatnonzero(labels == i)[0])
                expected.add((columns.start, rows.start, columns.stop - 1, rows.stop - 1, start))
            alive = (tree.low <= t) & (t < tree.high)
            assert {(*box, s) for box, s in zip(tree.box[alive].tolist(), tree.start[alive], strict=True)} == expected
            assert alive.sum() == n
            compared += n
    assert compared > 10_000


def test_nothing_in_zeros_and_one_in_a_constant():
    assert len(components(np.zeros((5, 4), np.uint8), True).box) == 0
    tree = components(np.full((5, 4), 7, np.uint8), True, with_shape=True)
    assert [field.tolist() for field in tree] == [[[0, 0, 3, 4]], [0], [7], [0], [2 * 3 * 4]]


def test_thousands_of_peaks():
    image = np.random.default_rng(0).integers(0, 256, (224, 224)).astype(np.uint8)
    tree = components(image, True)
    assert (tree.low < tree.high).all()
    assert tree.high.max() == 255
