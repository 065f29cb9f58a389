import numpy as np
import pytest

from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.data.shapes import Shape, ShapesOf, drawn
from wsol_jax.errors import InputError


def test_a_polygon_holds_the_pixels_whose_middle_it_holds():
    mask = drawn([[1, 2, 4, 2, 4, 5, 1, 5], [6.4, 0, 8, 0, 8, 0.6, 6.4, 0.6]], (9, 7))
    expected = np.zeros((7, 9), bool)
    expected[2:5, 1:4] = True
    expected[0, 6:8] = True  # of pixel 6, the middle at 6.5
    assert np.array_equal(mask, expected)


def test_a_disc():
    angles = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    polygon = np.stack([40 + 25 * np.cos(angles), 30 + 20 * np.sin(angles)], axis=-1).ravel().tolist()
    mask = drawn([polygon], (80, 60))
    y, x = np.mgrid[:60, :80] + 0.5
    assert (mask != (((x - 40) / 25) ** 2 + ((y - 30) / 20) ** 2 < 1)).mean() < 0.005


def test_runs_are_read_column_by_column():
    mask = drawn({"counts": [1, 2, 3], "size": [2, 3]}, (3, 2))
    assert mask.tolist() == [[False, True, False], [True, False, False]]


# pycocotools' mask.encode of these runs.
@pytest.mark.parametrize(
    ("text", "runs"),
    [("1214", [1, 2, 1, 6]), ("0PPb1", [0, 51200]), ("53PeQ34R[nL2", [5, 3, 100000, 7, 2, 9])],
)
def test_runs_as_text(text, runs):
    pixels = sum(runs)
    mask = drawn({"counts": text, "size": [1, pixels]}, (pixels, 1))
    assert np.array_equal(mask, drawn({"counts": runs, "size": [1, pixels]}, (pixels, 1)))


def test_masks_of_a_record():
    record = Record("a.jpg", 0, (4, 2), NO_BOXES, ("f#1", "f#2"), "f#3")
    square = lambda x: [[x, 0, x + 1, 0, x + 1, 2, x, 2]]  # noqa: E731 - a column of pixels
    shapes = {f"f#{i + 1}": Shape((4, 2), [square(i)]) for i in range(3)}
    read = ShapesOf(shapes)
    assert read(record, 4)[0].tolist() == [1, 1, 255, 0]
    with pytest.raises(InputError, match=r"a\.jpg has no mask"):
        read(record._replace(masks=()), 4)


@pytest.mark.parametrize(
    "part", [[[1, 2]], [["x", 1, 2, 3, 4, 5]], {"counts": [3], "size": [2, 3]}, {"counts": "~~"}, 5, [[1, 2, 3]]]
)
def test_malformed_ones_are_named(part):
    read = ShapesOf({"f#1": Shape((3, 2), [part])})
    with pytest.raises(InputError, match=r"f#1: malformed segmentation of a\.jpg"):
        read(Record("a.jpg", 0, (3, 2), NO_BOXES, ("f#1",)), 4)


@pytest.mark.parametrize("part", [[[0, 0, 9, 0, 9, 9]], {"counts": [0, 10**12], "size": [10**6, 10**6]}])
def test_a_size_that_no_photo_has_is_refused_before_it_is_allocated(part):
    with pytest.raises(ValueError, match="a mask of 1000000 x 1000000 pixels; expected at most 268435456 in all"):
        drawn(part, (10**6, 10**6))


def test_a_polygon_far_beyond_its_photo():
    with pytest.raises(ValueError, match="a polygon reaches far beyond its photo, which is 12 x 8"):
        drawn([[0, 0, 1e12, 0, 6, 8]], (12, 8))
