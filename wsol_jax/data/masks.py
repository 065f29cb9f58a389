"""True masks: files that tell, pixel by pixel, where the objects of a photo are and what nobody knows."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wsol_jax.data import photos
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.progress import track
from wsol_jax.threads import in_threads

IGNORED = 255

# OpenImages' masks are larger than its photos; both sides were rounded to pixels, so their ratios differ a little.
_MOST_APART = 0.02


class MaskFiles(NamedTuple):
    """`Dataset.read_mask` of a dataset whose masks are files below `root`."""

    root: Path

    def __call__(self, record: Record, size: int) -> np.ndarray:
        """The record's masks in one square, as `combine` gives it.

        Raises:
            InputError: the record has no mask, or one of its files cannot be read.
        """
        if not record.masks:
            raise InputError(f"{record.path} has no mask")
        masks = [photos.read_mask(photos.inside(self.root, mask)) for mask in record.masks]
        ignore = photos.read_mask(photos.inside(self.root, record.ignore)) if record.ignore else None
        return combine(masks, ignore, size)


def combine(masks: Sequence[np.ndarray], ignore: np.ndarray | None, size: int) -> np.ndarray:
    """The masks of a photo's objects in one square, as `get_mask` of wsolevaluation makes it (with size = 224).

    Args:
        masks: bool [h, w], of any sizes, at least one: each true where an object is.
        ignore: bool [h, w], of any size, true where it is not known what there is; None, if it is known everywhere.
        size: of the square's side, in pixels.

    Returns:
        uint8 [size, size]: 1 where one of the objects is, else 255 where it is to be ignored, else 0.
    """
    objects = np.any([nearest(mask, size) for mask in masks], axis=0)
    square = objects.astype(np.uint8)
    if ignore is not None:
        square[nearest(ignore, size) & ~objects] = IGNORED
    return square


def nearest(mask: np.ndarray, size: int) -> np.ndarray:
    """A mask [h, w] as a square [size, size], each pixel for pixel what OpenCV's INTER_NEAREST picks.

    That is the pixel at or before i * h / size (not the nearest to the middle), in OpenCV's own rounding.
    """
    rows, columns = ((np.arange(size) * (1 / (size / length))).astype(int) for length in mask.shape)
    return mask[np.ix_(rows, columns)]


def require_masks(root: Path, records: Sequence[Record]) -> None:
    """Check that the files of all masks are there and have the shapes of their photos. Only headers are read.

    A mask may be larger or smaller than its photo, as OpenImages' are, but has to be as wide for its height within 2 %.

    Raises:
        InputError: a mask is missing, leads out of `root`, is no picture, or belongs to a photo of another shape; both
            are named.
    """
    pairs = [(record, mask) for record in records for mask in (*record.masks, record.ignore) if mask is not None]
    for _ in track(in_threads(lambda pair: _require_mask(root, *pair), pairs), len(pairs), "mask sizes", unit="masks"):
        pass


def _require_mask(root: Path, record: Record, mask: str) -> None:
    file = photos.inside(root, mask)
    if not file.is_file():
        raise InputError(f"{file}: no such mask, though the dataset lists it for {record.path}")
    (w, h), (photo_w, photo_h) = photos.photo_size(file), record.size
    if abs(w * photo_h - h * photo_w) > _MOST_APART * w * photo_h:
        raise InputError(
            f"{file}: a mask of {w} x {h} pixels, but its photo {record.path} is {photo_w} x {photo_h}; expected the "
            f"same size, or the same width for its height within {_MOST_APART:.0%}"
        )
