"""The two frames of a photo that EXIF turns: its pixels as they are stored, and upright as a viewer shows them.

Annotations are drawn in one of them. Their size decides which, where the two differ in shape.
"""

from collections.abc import Sequence

import cv2
import numpy as np

STORED, UPRIGHT = "stored", "upright"

ORIENTATION = 0x0112
"""The number of EXIF's orientation."""

# EXIF orientation -> whether the axes are exchanged, then whether x and y are reversed.
_TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}

# OpenImages' masks are larger than its photos; both sides were rounded to pixels, so their ratios differ a little.
MOST_APART = 0.02


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Return the upright (width, height) of pixels stored with an EXIF orientation; of an upright size the stored."""
    return size[::-1] if _TURNS[orientation][0] else size


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels [h, w, ...] upright, that are stored with an EXIF orientation."""
    exchanged, x_reversed, y_reversed = _TURNS[orientation]
    upright = pixels.view(np.uint8) if pixels.dtype == bool else pixels
    upright = cv2.transpose(upright) if exchanged else upright
    if x_reversed or y_reversed:
        upright = cv2.flip(upright, -1 if x_reversed and y_reversed else int(x_reversed))
    return upright.view(pixels.dtype)


def turned_boxes(boxes: np.ndarray, orientation: int) -> np.ndarray:
    """Return the boxes of a photo upright, that were drawn on its stored pixels.

    Args:
        boxes: [m, 4], normalised xyxy in the stored frame.
        orientation: EXIF's.

    Returns:
        float64 [m, 4], normalised xyxy in the upright frame.
    """
    exchanged, x_reversed, y_reversed = _TURNS[orientation]
    x0, y0, x1, y1 = np.asarray(boxes, np.float64).T
    if exchanged:
        x0, y0, x1, y1 = y0, x0, y1, x1
    if x_reversed:
        x0, x1 = 1 - x1, 1 - x0
    if y_reversed:
        y0, y1 = 1 - y1, 1 - y0
    return np.stack([x0, y0, x1, y1], axis=-1)


def same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Return whether two sizes are equally wide for their height, within 2 %."""
    return abs(a[0] * b[1] - a[1] * b[0]) <= MOST_APART * a[0] * b[1]


def frame_of_size(annotated: tuple[int, int], stored: tuple[int, int], orientation: int) -> str:
    """Return the frame that an annotation's size belongs to, 'stored' or 'upright'; '' where it fits both or neither.

    Args:
        annotated: width and height that the annotation gives, or those of a mask; of the photo or a resized copy.
        stored: of the photo.
        orientation: of the photo, EXIF's.
    """
    frames = {STORED: stored, UPRIGHT: turned_size(stored, orientation)}
    equal = [frame for frame, size in frames.items() if size == annotated]
    alike = equal or [frame for frame, size in frames.items() if same_shape(annotated, size)]
    return alike[0] if len(alike) == 1 else ""


def frame_of_boxes(pixels: Sequence[Sequence[float]], stored: tuple[int, int], orientation: int) -> str:
    """Return the only frame that has room for all boxes, within a pixel; '' where both have, or neither.

    Args:
        pixels: boxes (x0, y0, x1, y1) in pixels of the photo.
        stored: width and height of the photo.
        orientation: of the photo, EXIF's.
    """
    frames = {STORED: stored, UPRIGHT: turned_size(stored, orientation)}
    reach = np.asarray(pixels, np.float64).reshape(-1, 4).max(axis=0, initial=0)[2:]
    roomy = [frame for frame, size in frames.items() if (reach <= np.array(size) + 1).all()]
    return roomy[0] if len(roomy) == 1 else ""
