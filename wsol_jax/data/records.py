"""What a dataset is before any photo is read: records, in splits."""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Record(NamedTuple):
    """One photo.

    Attributes:
        path: where it is, relative to the dataset's root, with forward slashes; also its name in every file we write.
        label: its class, 0-based; -1 where it is not known.
        size: width and height in pixels, upright.
        boxes: float64 [m, 4], the true boxes, normalised xyxy, for evaluation only; m = 0 where nobody drew one.
        masks: paths of its true masks, relative to the dataset's root: one for each object, or none.
        ignore: path of the mask of what is not known to be object or background, if there is one.
    """

    path: str
    label: int
    size: tuple[int, int]
    boxes: np.ndarray
    masks: tuple[str, ...] = ()
    ignore: str | None = None


class Dataset(NamedTuple):
    """Records in splits, and the way to their pixels.

    Attributes:
        classes: the classes' names; `Record.label` indexes them.
        splits: 'train', 'test' and, where asked for, 'val', each a list of records in a fixed order.
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
    """A fingerprint (sha256, hex) of paths, labels, sizes, boxes and masks, in order, wherever their folder is."""
    rows = [[r.path, r.label, r.size, np.round(r.boxes, 9).tolist(), r.masks, r.ignore] for r in records]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
