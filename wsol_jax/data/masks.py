"""True masks: files that mark the pixels of a photo's objects and those to ignore."""

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
    """A `Dataset.read_mask` of masks that are files below `root`."""

    root: Path

    def __call__(self, record: Record, size: int) -> np.ndarray:
        """Return the record's masks in one square, see `combine`.

        Raises:
            InputError: the record has no mask, or one of its files cannot be read.
        """
        if not record.masks:
            raise InputError(f"{record.path} has no mask")
        masks = [photos.read_mask(photos.inside(self.root, mask)) for mask in record.masks]
        ignore = photos.read_mask(photos.inside(self.root, record.ignore)) if record.ignore else None
        return combine(masks, ignore, size)


def combine(masks: Sequence[np.ndarray], ignore: np.ndarray | None, size: int) -> np.ndarray:
    """Return the masks of a photo's objects in one square, as `get_mask` of wsolevaluation does (with size = 224).

    Args:
        masks: bool [h, w], of any sizes, at least one: each true where an object is.
        ignore: bool [h, w], of any size, true where object and background are unknown; None if both are known
            everywhere.
        size: side of the square, pixels.

    Returns:
        uint8 [size, size]: 1 for object, 255 for ignored and not object, 0 for background.
    """
    objects = np.any([nearest(mask, size) for mask in masks], axis=0)
    square = objects.astype(np.uint8)
    if ignore is not None:
        square[nearest(ignore, size) & ~objects] = IGNORED
    return square


def nearest(mask: np.ndarray, size: int) -> np.ndarray:
    """Return a mask [h, w] resized to a square [size, size], pixel for pixel as OpenCV's INTER_NEAREST does.

    Row i is the one at or before i * h / size (not the nearest to the middle), with OpenCV's rounding.
    """
    rows, columns = ((np.arange(size) * (1 / (size / length))).astype(int) for length in mask.shape)
    return mask[np.ix_(rows, columns)]


def require_masks(root: Path, records: Sequence[Record]) -> None:
    """Raise InputError if a mask is missing or does not have the shape of its photo. Only headers are read.

    A mask may be larger or smaller than its photo, as OpenImages' are, but has to be as wide for its height within 2 %.

    Raises:
        InputError: a mask is missing, lies outside of `root`, is not an image, or has another shape than its photo;
            both are named.
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
