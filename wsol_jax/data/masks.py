"""True masks: files that mark the pixels of a photo's objects and those to ignore."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wsol_jax.data import photos
from wsol_jax.data.frames import MOST_APART, same_shape, turned
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.progress import track
from wsol_jax.threads import in_threads

IGNORED = 255


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
        masks = [self._upright(mask, record) for mask in record.masks]
        return combine(masks, self._upright(record.ignore, record) if record.ignore else None, size)

    def _upright(self, mask: str, record: Record) -> np.ndarray:
        return turned(photos.read_mask(photos.inside(self.root, mask)), record.turn)


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


def mask_sizes(root: Path, paths: Sequence[str]) -> dict[str, tuple[int, int] | InputError]:
    """Return path -> the width and height of a mask, or why it cannot be read. Only headers are read.

    Args:
        root: of the dataset.
        paths: of the masks, relative to `root`.

    Raises:
        InputError: a path leads out of `root`.
    """
    files = [photos.inside(root, path) for path in paths]
    sizes = in_threads(_size, files)
    return dict(zip(paths, track(sizes, len(files), "mask sizes", unit="masks") if files else (), strict=True))


def _size(file: Path) -> tuple[int, int] | InputError:
    try:
        return photos.photo_size(file)
    except InputError as error:
        return error if file.is_file() else InputError(f"{file}: no such mask")


def require_shape(mask: str, size: tuple[int, int], path: str, photo_size: tuple[int, int]) -> None:
    """Raise InputError unless a mask has the shape of its photo.

    It may be larger or smaller, as OpenImages' masks are, but has to be as wide for its height within 2 %.

    Args:
        mask: its path.
        size: its width and height.
        path: of the photo.
        photo_size: of the photo, in the frame that the mask was drawn in.

    Raises:
        InputError: it has another shape; both are named.
    """
    (w, h), (photo_w, photo_h) = size, photo_size
    if not same_shape(size, photo_size):
        raise InputError(
            f"{mask}: a mask of {w} x {h} pixels, but its photo {path} is {photo_w} x {photo_h}; expected the "
            f"same size, or the same width for its height within {MOST_APART:.0%}"
        )
