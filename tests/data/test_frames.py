import numpy as np
import pytest
from PIL import Image, ImageOps

from wsol_jax.data import frames

ORIENTATIONS = range(1, 9)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pixels_are_turned_as_pillow_turns_them(orientation):
    stored = np.random.default_rng(orientation).integers(0, 256, (5, 7, 3), np.uint8)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(frames.turned(stored, orientation), upright)
    assert frames.turned_size((7, 5), orientation) == upright.shape[1::-1]
    assert np.array_equal(frames.turned(stored[..., 0], orientation), upright[..., 0])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_turned_box_covers_the_same_pixels(orientation):
    rng = np.random.default_rng(orientation)
    for w, h in rng.integers(2, 40, (20, 2)):
        (x0, x1), (y0, y1) = (np.sort(rng.choice(side + 1, 2, replace=False)) for side in (w, h))
        stored = np.zeros((h, w), bool)
        stored[y0:y1, x0:x1] = True
        upright = frames.turned(stored, orientation)
        (box,) = frames.turned_boxes(np.array([[x0 / w, y0 / h, x1 / w, y1 / h]]), orientation)
        covered = np.zeros_like(upright)
        u0, v0, u1, v1 = np.round(box * np.tile(upright.shape[::-1], 2)).astype(int)
        covered[v0:v1, u0:u1] = True
        assert np.array_equal(covered, upright)


def test_no_boxes_stay_none():
    assert frames.turned_boxes(np.zeros((0, 4)), 6).shape == (0, 4)


@pytest.mark.parametrize(
    ("annotated", "stored", "orientation", "frame"),
    [
        ((160, 120), (160, 120), 6, "stored"),
        ((120, 160), (160, 120), 6, "upright"),
        ((320, 240), (160, 120), 8, "stored"),  # the photo was resized since
        ((160, 159), (160, 159), 5, "stored"),  # nearly square, but equal
        ((320, 318), (160, 159), 5, ""),
        ((100, 100), (100, 100), 6, ""),
        ((500, 473), (227, 227), 6, ""),
        ((300, 100), (160, 120), 6, ""),
        ((160, 120), (160, 120), 3, ""),
    ],
)
def test_the_frame_of_a_size(annotated, stored, orientation, frame):
    assert frames.frame_of_size(annotated, stored, orientation) == frame


@pytest.mark.parametrize(
    ("pixels", "frame"),
    [([], ""), ([[0, 0, 100, 100]], ""), ([[0, 0, 150, 9]], "stored"), ([[0, 0, 9, 9], [0, 0, 9, 150]], "upright")],
)
def test_the_frame_that_has_room_for_boxes(pixels, frame):
    assert frames.frame_of_boxes(pixels, (160, 120), 6) == frame
