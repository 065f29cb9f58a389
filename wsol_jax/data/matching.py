"""Drawn boxes joined to the records of a dataset: by the photo's name, its size and the names of the classes."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from absl import logging

from wsol_jax.data.annotations import normalised_boxes
from wsol_jax.data.drawn import Drawn, read_drawn
from wsol_jax.data.frames import turned_boxes, turned_size
from wsol_jax.data.headers import Header
from wsol_jax.data.photos import UNREADABLE_SIZE
from wsol_jax.data.records import NO_BOXES, Annotated, Dataset, Record
from wsol_jax.data.turns import choose
from wsol_jax.errors import InputError

UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # Label Studio's prefix of a file that was uploaded through its page


class PhotoBoxes(NamedTuple):
    """The drawn boxes of a photo, normalised xyxy.

    Attributes:
        own: float64 [m, 4], of the photo's own class, or without one; all of them where the photo has no label.
        others: float64 [k, 4], of other classes.
    """

    own: np.ndarray
    others: np.ndarray


def read_boxes(path: Path, dataset: Dataset, report: Callable[[str], None]) -> dict[str, PhotoBoxes]:
    """Return the drawn boxes of a file, by the path of their photo; see `drawn.read_drawn` for the formats.

    A photo is named by its path relative to the dataset's root, as in our own files. Otherwise it is the only one whose
    path ends like that name, or the other way round; that is reported, with a count. Boxes that were drawn on the
    stored pixels of a photo that EXIF turns are turned, see `turns.choose`.

    Args:
        path: the file, or a folder of XML files.
        dataset: whose photos are named, of any split.
        report: receives a line for each choice that was made, with a count.

    Raises:
        InputError: as `read_drawn`; a photo or class is not in the dataset, or a photo comes twice; a box is outside of
            its photo, or the photo has another size.
    """
    photos, known = read_drawn(path, report), {name: label for label, name in enumerate(dataset.classes)}
    records = [record for of_split in dataset.splits.values() for record in of_split]
    matched = _matched(path, photos, records, report)
    turns_of = _turns(path, photos, matched, dataset.annotation_frame, report)
    boxes: dict[str, PhotoBoxes] = {}
    for photo, record, turn in zip(photos, matched, turns_of, strict=True):
        unknown = [name for name in photo.classes if name and name not in known]
        if unknown and record.label >= 0:
            raise InputError(
                f"{path}: {photo.name} has a box of class {unknown[0]!r}; expected {_some(dataset.classes)}"
            )
        if record.path in boxes:
            raise InputError(f"{path}: photo {record.path} comes twice; expected one entry for each photo")
        corners = _normalised(path, photo, record, turn)
        is_own = np.array([record.label < 0 or not name or known[name] == record.label for name in photo.classes], bool)
        is_own = is_own[: len(corners)]
        boxes[record.path] = PhotoBoxes(corners[is_own], corners[~is_own])
    return boxes


def with_true_boxes(dataset: Dataset, path: Path) -> Dataset:
    """Return a dataset with drawn boxes as its true boxes, for evaluation; those of other classes are counted.

    Raises:
        InputError: as `read_boxes`, or the file has no box of any photo.
    """
    count_of_photos = sum(map(len, dataset.splits.values()))
    drawn = read_boxes(path, dataset, logging.info)
    count, others = (sum(len(boxes[i]) for boxes in drawn.values()) for i in (0, 1))
    if not count:
        raise InputError(f"{path}: no photo has a box of its own class; expected true boxes")
    with_boxes = sum(len(boxes.own) > 0 for boxes in drawn.values())
    logging.info("%s: %d true boxes of %d of %d photos", path, count, with_boxes, count_of_photos)
    if others:
        logging.warning("%s: %d boxes are of another class than their photo and are left out", path, others)
    nothing = PhotoBoxes(NO_BOXES, NO_BOXES)
    splits = {
        split: [record._replace(boxes=drawn.get(record.path, nothing).own) for record in of_split]
        for split, of_split in dataset.splits.items()
    }
    return dataset._replace(splits=splits)


def _turns(
    path: Path, photos: Sequence[Drawn], records: Sequence[Record], frame: str, report: Callable[[str], None]
) -> list[int]:
    """The EXIF orientation that the boxes of each photo need to be upright; 1 for those that are."""
    items, headers = [], []
    for photo, record in zip(photos, records, strict=True):
        items.append(Annotated(record.path, record.label, photo.size, _pixels(photo, record)))
        headers.append(Header(turned_size(record.size, record.orientation), record.orientation))
    return [turn.boxes for turn in choose(items, headers, {}, frame, lambda line: report(f"{path}: {line}"))]


def _pixels(photo: Drawn, record: Record) -> np.ndarray:
    """The boxes in pixels of the photo's size; percent of an unknown size are those of its shorter side."""
    boxes = np.asarray(photo.boxes, np.float64).reshape(-1, 4)
    size = photo.size or (min(record.size), min(record.size))  # fits in both frames, and so decides for none
    return boxes * np.array(size * 2) / 100 if photo.percent else boxes


def _normalised(path: Path, photo: Drawn, record: Record, turn: int) -> np.ndarray:
    if record.size == UNREADABLE_SIZE or not len(photo.boxes):
        return NO_BOXES
    width, height = turned_size(record.size, turn)
    size = photo.size or (width, height)
    # A copy of another size, rounded to pixels, has nearly the same ratio of its sides.
    if min(size) < 1 or abs(size[0] * height - size[1] * width) > (sum(size) + width + height) / 2:
        frame = "upright photo" if turn == 1 else "stored pixels, as --config.data.annotation_frame has it"
        raise InputError(
            f"{path}: {photo.name} is {size[0]} x {size[1]} pixels, but {record.path} is {width} x {height}; expected "
            f"boxes of the {frame}"
        )
    scale = np.array(size * 2) / 100 if photo.percent else 1.0
    boxes = normalised_boxes(np.asarray(photo.boxes, np.float64) * scale, size, f"{path}: {photo.name}")
    return turned_boxes(boxes, turn)


def _matched(
    path: Path, photos: Sequence[Drawn], records: Sequence[Record], report: Callable[[str], None]
) -> list[Record]:
    """The record of each photo."""
    exact = {record.path: record for record in records}
    by_name: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        for name in {PurePosixPath(record.path).name, PurePosixPath(record.path).stem}:
            by_name[name].append(record)
    found = [exact.get(photo.name) or _similar(_local_name(photo.name), by_name, path) for photo in photos]
    unknown = [photo.name for photo, record in zip(photos, found, strict=True) if record is None]
    if unknown:
        raise InputError(
            f"{path}: {len(unknown)} of {len(photos)} photos are not in the dataset, the first is {unknown[0]}; "
            f"expected paths such as {records[0].path}"
        )
    pairs = [(photo.name, record.path) for photo, record in zip(photos, found, strict=True)]
    guessed = [(name, path) for name, path in pairs if name not in (path, str(PurePosixPath(path).with_suffix("")))]
    if guessed:
        counts, (name, known) = f"{len(guessed)} of {len(photos)}", guessed[0]
        report(f"{path}: {counts} photos are known by the end of their path: {name} is {known}")
    return found


def _similar(name: str, by_name: dict[str, list[Record]], path: Path) -> Record | None:
    """The only record whose path ends like a name, or like which the name ends."""
    *folders, last = PurePosixPath(name).parts or ("",)
    candidates = [record for record in by_name.get(last, ()) if _same_end(folders, record.path)]
    if len(candidates) > 1:
        raise InputError(
            f"{path}: {name} can be {candidates[0].path} or {candidates[1].path}; expected paths relative to the "
            "dataset's root"
        )
    return candidates[0] if candidates else None


def _same_end(folders: Sequence[str], path: str) -> bool:
    """Whether the last of a photo's folders are the last of `folders`, as many as both have."""
    others = PurePosixPath(path).parts[:-1]
    shared = min(len(folders), len(others))
    return not shared or tuple(folders[-shared:]) == others[-shared:]


def _local_name(name: str) -> str:
    """The path in an address of Label Studio's files: /data/local-files/?d=PATH, /data/upload/1/NAME, or a URL."""
    if name.startswith(("/data/", "http://", "https://")):
        parts = urlsplit(name)
        name = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    if name.startswith("/data/upload/"):
        name = UPLOADED.sub("", PurePosixPath(name).name)
    return name.replace("\\", "/").strip("/")


def _some(classes: Sequence[str]) -> str:
    return ", ".join(map(repr, classes[:5])) + (f" or {len(classes) - 5} others" if len(classes) > 5 else "")
