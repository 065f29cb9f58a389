"""Drawing: the part of a photo that a view shows, resized and perhaps mirrored."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image

from wsol_jax.data.photos import PhotoFiles
from wsol_jax.data.plan import View
from wsol_jax.data.records import Record

OVERSAMPLED = 2  # pixels of a photo for each of the result, along a side, that decoding keeps at least
TINY = 1e-3  # of a photo's side: the narrowest window that the size to decode is computed for


def draw(
    read: Callable[[Record], np.ndarray], records: Sequence[Record], views: Sequence[View], image: np.ndarray
) -> None:
    """Write what views show of photos to the rows of an array.

    Args:
        read: record -> uint8 [h, w, 3].
        records: of n photos.
        views: of the same photos.
        image: uint8 [n, size, size, 3], filled.

    Raises:
        InputError: for the first photo that has become unreadable.
    """
    size = image.shape[1]
    for row, record, view in zip(image, records, views, strict=True):
        row[:] = cut(_photo(read, record, view.window, size), view.window, size, bool(view.flip))


def cut(photo: np.ndarray | Image.Image, window: np.ndarray, size: int, flip: bool = False) -> np.ndarray:
    """Return a part of a photo, resized and perhaps mirrored, uint8 [size, size, 3].

    The resizing is Pillow's antialiased bilinear, which both published code bases use.

    Args:
        photo: uint8 [h, w, 3], or Pillow's image of mode RGB.
        window: [4], the part, normalised xyxy.
        size: side of the result, pixels.
        flip: whether it is mirrored left to right.
    """
    whole = photo if isinstance(photo, Image.Image) else Image.fromarray(photo)
    w, h = whole.size
    area = tuple(min(max(edge * side, 0.0), side) for edge, side in zip(window.tolist(), (w, h, w, h), strict=True))
    pixels = _pixels(whole.resize((size, size), Image.Resampling.BILINEAR, box=area))
    return cv2.flip(pixels, 1) if flip else pixels


def _pixels(image: Image.Image) -> np.ndarray:
    """The pixels of an image of mode RGB, uint8 [h, w, 3]; numpy would have Pillow copy them under Python's lock."""
    try:
        stored = pa.array(image).values.to_numpy()  # Pillow's own memory, four bytes for each pixel
    except ValueError:  # an image of more than 16 MB is in several pieces
        return np.asarray(image)
    return cv2.cvtColor(stored.reshape(image.height, image.width, 4), cv2.COLOR_RGBA2RGB)


def _photo(
    read: Callable[[Record], np.ndarray], record: Record, window: np.ndarray, size: int
) -> np.ndarray | Image.Image:
    """The photo, or a smaller one that is enough for its window to be shown at `size`."""
    if not isinstance(read, PhotoFiles):
        return read(record)
    width, height = (window[2:] - window[:2]).tolist()
    return read.at_least(record, (OVERSAMPLED * size / max(width, TINY), OVERSAMPLED * size / max(height, TINY)))
