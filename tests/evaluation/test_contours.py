"""The boxes of all levels at once are those of cv2.findContours, level by level."""

import cv2
import numpy as np
import pytest
from score_images import score_images

from wsol_jax.evaluation.contours import Contours, best_iou_at_levels, every_contour, fill_holes, largest_contour


def rectangle(contour: np.ndarray) -> tuple[int, int, int, int]:
    x, y, w, h = cv2.boundingRect(contour)
    return x, y, x + w, y + h


def at(contours: Contours, level: int) -> list[tuple[int, ...]]:
    alive = (contours.low <= level) & (level < contours.high)
    return sorted(map(tuple, contours.box[alive].tolist()))


@pytest.mark.parametrize("seed", range(3))
def test_as_opencv_at_every_level(seed):
    masks = 0
    for image in score_images(140, seed):
        every, largest = every_contour(image), largest_contour(image)
        before = None
        for level in range(image.max()):
            mask = (image > level).astype(np.uint8)
            if before is None or (mask != before).any():
                contours = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
                masks += 1
            before = mask
            assert at(every, level) == sorted(map(rectangle, contours))
            assert at(largest, level) == [rectangle(max(contours, key=cv2.contourArea))]
    assert masks > 5_000


def test_a_hole_is_one_pixel_larger_each_side():
    image = np.full((200, 200), 9, np.uint8)
    image[80:120, 80:120] = 0
    assert at(every_contour(image), 0) == [(0, 0, 200, 200), (79, 79, 121, 121)]
    image[90:100, 90:100] = 5  # a part in the hole, at levels 0 to 4
    assert at(every_contour(image), 4) == [(0, 0, 200, 200), (79, 79, 121, 121), (90, 90, 100, 100)]
    assert at(every_contour(image), 5) == [*at(largest_contour(image), 5), (79, 79, 121, 121)]


def test_of_equal_areas_the_lowest_in_the_image():
    image = np.zeros((20, 20), np.uint8)
    image[2:5, 2:5] = image[12:15, 2:5] = image[12:15, 12:15] = 3
    assert at(largest_contour(image), 0) == [(12, 12, 15, 15)]
    lines = np.zeros((20, 20), np.uint8)  # a line has no area, however long
    lines[3, 2:19] = lines[9, 4] = 3
    assert at(largest_contour(lines), 0) == [(4, 9, 5, 10)]


def test_zeros_have_the_published_box():
    for find in (every_contour, largest_contour):
        assert at(find(np.zeros((3, 3), np.uint8)), 0) == [(0, 0, 0, 0)]


def test_filled_holes():
    """At every level, what the filled image keeps is what it kept and its holes, as scipy fills them."""
    from scipy import ndimage

    for image in score_images(70, seed=5):
        filled = fill_holes(image)
        for level in np.unique(image):
            np.testing.assert_array_equal(filled > level, ndimage.binary_fill_holes(image > level))


def test_best_iou_by_hand():
    box = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [3, 3, 3, 3]], np.int32)
    contours = Contours(box, np.array([0, 1, 0], np.int32), np.array([2, 4, 5], np.int32))
    truth = np.array([[0.0, 0, 10, 4], [50, 50, 60, 60], [3, 3, 3, 3]])
    np.testing.assert_array_equal(best_iou_at_levels(contours, truth, 5), [0.4, 0.8, 0.8, 0.8, 0])
