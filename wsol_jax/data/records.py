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
        turn: the EXIF orientation that its masks need to be upright, as they were drawn on the stored pixels; else 1.
        levels: of black and white, for a photo whose samples have more than 8 bits; None for any other.
        depth: the kind of these samples, `depth.INTEGERS` or `depth.FLOATS`; '' for a photo of 8 bits.
        orientation: EXIF's of the photo, from 1 to 8; 1 where it is upright or absent.
        is_empty: whether people have seen that it shows no object; no network is trained on it.
        content: a digest of its file, where that is not the one that the workdir first had; else ''.
    """

    path: str
    label: int
    size: tuple[int, int]
    boxes: np.ndarray
    masks: tuple[str, ...] = ()
    ignore: str | None = None
    turn: int = 1
    levels: tuple[float, float] | None = None
    depth: str = ""
    orientation: int = 1
    is_empty: bool = False
    content: str = ""


class Annotated(NamedTuple):
    """A photo and its annotations, as their files hold them.

    Attributes:
        path: relative to the dataset's root, with forward slashes.
        label: its class, 0-based; -1 where it is unknown.
        size: width and height that the annotation gives, of the photo or of its original; None where it gives none.
        pixels: true boxes (x0, y0, x1, y1) in pixels of that size, x1 and y1 exclusive.
        masks: paths of its true masks, relative to the dataset's root.
        ignore: path of the mask of the pixels to ignore; None without one.
        wrong: why its annotation cannot be used; '' where it can.
    """

    path: str
    label: int
    size: tuple[int, int] | None = None
    pixels: Sequence[Sequence[float]] = ()
    masks: tuple[str, ...] = ()
    ignore: str | None = None
    wrong: str = ""


class Dataset(NamedTuple):
    """Records in splits, and the functions that read their pixels.

    Attributes:
        classes: the classes' names; `Record.label` indexes them.
        splits: 'train', 'test' and, if the configuration has one, 'val', each a list of records in a fixed order.
        read: record -> uint8 [h, w, 3] RGB, upright.
        read_mask: record and size -> uint8 [size, size], the whole photo squeezed into a square: 1 object,
            0 background, 255 ignored; for records that have masks.
        annotation_frame: of photos that EXIF turns, for annotations from outside of the dataset; see `turns.choose`.
    """

    classes: Sequence[str]
    splits: dict[str, list[Record]]
    read: Callable[[Record], np.ndarray]
    read_mask: Callable[[Record, int], np.ndarray]
    annotation_frame: str = "auto"


NO_BOXES = np.zeros((0, 4))


def digest(records: Sequence[Record]) -> str:
    """Return a sha256 fingerprint (hex) of all that records hold, in order, but not of their folder."""
    total = hashlib.sha256(b"[")
    for number, record in enumerate(records):
        boxes = np.round(record.boxes, 9).tolist() if len(record.boxes) else []
        row = [record.path, record.label, record.size, boxes, record.masks, record.ignore, *_unusual(record)]
        total.update((", " if number else "").encode() + json.dumps(row).encode())
    total.update(b"]")
    return total.hexdigest()


def _unusual(record: Record) -> list:
    """What few records hold; those without it keep the fingerprint they had before it existed."""
    stored = [] if record.turn == 1 and record.levels is None else [record.turn, record.levels]
    return stored + ["empty"] * record.is_empty + ([record.content] if record.content else [])
