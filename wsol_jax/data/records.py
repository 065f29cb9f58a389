"""A dataset before any photo is read: records, in splits."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Record(NamedTuple):
    """A photo and its annotations.

    Attributes:
        path: relative to the dataset's root, with forward slashes; also its name in every result file.
        label: its class, 0-based; -1 where it is unknown.
        size: width and height in pixels, upright.
        boxes: float64 [m, 4], the true boxes, normalised xyxy, for evaluation only; m = 0 where it has none.
        masks: paths of its true masks, relative to the dataset's root: one for each object, or none.
        ignore: path of the mask of the pixels to ignore, neither object nor background; None without one.
    """

    path: str
    label: int
    size: tuple[int, int]
    boxes: np.ndarray
    masks: tuple[str, ...] = ()
    ignore: str | None = None


class Dataset(NamedTuple):
    """Records in splits, and the functions that read their pixels.

    Attributes:
        classes: the classes' names; `Record.label` indexes them.
        splits: 'train', 'test' and, if the configuration has one, 'val', each a list of records in a fixed order.
        read: record -> uint8 [h, w, 3] RGB, upright.
        read_mask: record and size -> uint8 [size, size], the whole photo squeezed into a square: 1 object,
            0 background, 255 ignored; for records that have masks.
    """

    classes: Sequence[str]
    splits: dict[str, list[Record]]
    read: Callable[[Record], np.ndarray]
    read_mask: Callable[[Record, int], np.ndarray]


NO_BOXES = np.zeros((0, 4))


def digest(records: Sequence[Record]) -> str:
    """Return a sha256 fingerprint (hex) of paths, labels, sizes, boxes and masks, in order, but not of their folder."""
    rows = [[r.path, r.label, r.size, np.round(r.boxes, 9).tolist(), r.masks, r.ignore] for r in records]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
