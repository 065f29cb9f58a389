"""Masks inside of a COCO file: polygons, and runs of pixels (RLE), plain or compressed."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from wsol_jax.data import masks
from wsol_jax.data.frames import turned
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError

_FINER = 5  # polygons are drawn in this resolution, as pycocotools does
_MOST_FINE_PIXELS = 2**28
_MOST_PIXELS = 2**28  # more than a photo may have that Pillow opens


class Shape(NamedTuple):
    """The mask of an object, or of several crowds.

    Attributes:
        size: width and height of the photo, pixels.
        parts: `segmentation` of each object in the COCO format.
    """

    size: tuple[int, int]
    parts: Sequence[Any]


class ShapesOf(NamedTuple):
    """A `Dataset.read_mask` of masks that are in memory, by the names that records have for them."""

    shapes: Mapping[str, Shape]

    def __call__(self, record: Record, size: int) -> np.ndarray:
        """Return the record's masks in one square, see `masks.combine`.

        Raises:
            InputError: the record has no mask, or one of them is malformed.
        """
        if not record.masks:
            raise InputError(f"{record.path} has no mask")
        ignore = self._upright(record.ignore, record) if record.ignore else None
        return masks.combine([self._upright(name, record) for name in record.masks], ignore, size)

    def _upright(self, name: str, record: Record) -> np.ndarray:
        size, parts = self.shapes[name]
        try:
            return turned(np.any([drawn(part, size) for part in parts], axis=0), record.turn)
        except (ValueError, TypeError, KeyError, IndexError, cv2.error) as error:
            raise InputError(f"{name}: malformed segmentation of {record.path} ({error})") from error


def drawn(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Return a segmentation of COCO as a mask, bool [h, w].

    A pixel belongs to a polygon that holds its middle.

    Args:
        segmentation: polygons [x0, y0, x1, y1, ...], or {'counts': runs of background and object in turn, column by
            column, as numbers or COCO's text; 'size': [h, w]}.
        size: width and height, pixels.

    Raises:
        ValueError: it is neither, or of another size, or too large for a photo.
    """
    require_possible(size)
    if isinstance(segmentation, Mapping):
        return _from_runs(segmentation["counts"], tuple(segmentation["size"]), size)
    w, h = size
    finer = _FINER if w * h * _FINER**2 <= _MOST_FINE_PIXELS else 1
    fine = np.zeros((h * finer, w * finer), np.uint8)
    for polygon in segmentation:
        points = np.asarray(polygon, np.float64).reshape(-1, 2)
        if len(points) < 3 or not np.isfinite(points).all():
            raise ValueError("a polygon has fewer than three points, or no finite ones")
        if (abs(points) > 2 * max(size)).any():
            raise ValueError(f"a polygon reaches far beyond its photo, which is {w} x {h}")
        cv2.fillPoly(fine, [np.round(points * finer - 0.5).astype(np.int32)], 1)
    return fine[finer // 2 :: finer, finer // 2 :: finer].astype(bool)


def require_possible(size: tuple[int, int]) -> None:
    """Raise ValueError unless a photo can have a size, width and height in pixels."""
    if size[0] * size[1] > _MOST_PIXELS:
        raise ValueError(f"a mask of {size[0]} x {size[1]} pixels; expected at most {_MOST_PIXELS} in all")


def _from_runs(counts: Sequence[int] | str, shape: tuple[int, ...], size: tuple[int, int]) -> np.ndarray:
    w, h = size
    runs = np.array(_numbers(counts) if isinstance(counts, str) else counts, np.int64)
    if shape != (h, w) or (runs < 0).any() or runs.sum() != w * h:
        raise ValueError(f"runs of {runs.sum()} pixels of {list(shape)}, the photo has {h} x {w}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(w, h).T


def _numbers(text: str) -> list[int]:
    """The runs of COCO's text: five bits a character, lowest first; from the third on, differences to the last but one.

    The sixth bit of a character means that another one follows, the fifth of the last one is the sign.
    """
    numbers, value, bits = [], 0, 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 0x1F) << bits
        bits += 5
        if bits > 60:
            raise ValueError("a run without end")
        if not code & 0x20:
            value -= (1 << bits) if code & 0x10 else 0
            numbers.append(value + numbers[-2] if len(numbers) > 2 else value)
            value, bits = 0, 0
    return numbers
