"""CUB-200-2011, and other datasets with its text files: numbered photos with a box each.

The folder holds images.txt (`id path`), image_class_labels.txt (`id class`), train_test_split.txt
(`id is_training_image`), bounding_boxes.txt (`id x y width height`, pixels), perhaps classes.txt (`class name`), the
photos below images/ and perhaps the mask of each of them below segmentations/. Classes count from 1. A class is the
number in the file, independent of the name of its photos' folder.
"""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from wsol_jax import boxes
from wsol_jax.data import annotations, masks, photos
from wsol_jax.data.annotated import to_records
from wsol_jax.data.reader import Reader
from wsol_jax.data.records import Annotated, Dataset
from wsol_jax.errors import InputError


def load(config: ConfigDict, seed: int) -> Dataset:
    """Return the photos in the order of images.txt, split by train_test_split.txt.

    A box x, y, width, height in pixels becomes x, y, x + width, y + height, as in wsolevaluation.

    Args:
        config: `config.data`; `dir` is the folder that holds images.txt.
        seed: unused, as nothing is drawn.

    Raises:
        InputError: a file is missing, a line is malformed, the files disagree; as `annotated.to_records`: a photo is
            missing, a box is empty or outside of its photo; segmentations/ exists, but lacks a mask or has one of
            another shape than its photo.
    """
    root = photos.root_folder(config.dir, "cub")
    paths = _table(root / "images.txt", "path")
    labels = _table(root / "image_class_labels.txt", "class")
    in_train = _table(root / "train_test_split.txt", "is_training_image")
    corners = _table(root / "bounding_boxes.txt", "x y width height")
    for name, table in (("image_class_labels", labels), ("train_test_split", in_train), ("bounding_boxes", corners)):
        _require_same_ids(paths, table, root / f"{name}.txt")

    classes = _classes(root, labels)
    splits: dict[str, list[Annotated]] = {"train": [], "test": []}
    for number, (_, path) in paths.items():
        label, shapes = _label(*labels[number], classes), _masks(root, path)
        item = Annotated(f"images/{path}", label, masks=shapes, **_box(*corners[number]))
        splits["train" if _flag(*in_train[number]) else "test"].append(item)
    records = to_records(root, splits, config)
    return Dataset(classes, records, photos.PhotoFiles(root), masks.MaskFiles(root))


def _box(where: str, xywh: str) -> dict[str, Any]:
    """The fields of `Annotated` that hold a box, or why there is none."""
    try:
        return {"pixels": [boxes.xywh_to_xyxy(np.array(annotations.numbers(xywh.split(), where)))]}
    except InputError as error:
        return {"wrong": str(error)}


def _table(path: Path, columns: str) -> dict[str, tuple[str, str]]:
    """Id -> (where in the file, the rest of its line)."""
    count, rows = len(columns.split()), {}
    for where, line in annotations.numbered_lines(path):
        number, *rest = line.split(maxsplit=1)
        # A path may hold spaces; it is the only column of its file.
        if not rest or (columns != "path" and len(rest[0].split()) != count):
            raise InputError(f"{where}: expected 'id {columns}', got {line!r}")
        if number in rows:
            raise InputError(f"{where}: id {number} comes twice")
        rows[number] = (where, rest[0])
    if not rows:
        raise InputError(f"{path} is empty; expected lines of 'id {columns}'")
    return rows


def _require_same_ids(paths: dict, table: dict, file: Path) -> None:
    for number, (where, path) in paths.items():
        if number not in table:
            raise InputError(f"{file} has no line for id {number}, {path} ({where})")
    for number, (where, _) in table.items():
        if number not in paths:
            raise InputError(f"{where}: id {number} is not in images.txt")


def _classes(root: Path, labels: dict[str, tuple[str, str]]) -> list[str]:
    """The names of classes.txt in the order of their numbers, or the numbers themselves."""
    if not (root / "classes.txt").is_file():
        most = max(annotations.whole_number(text, where) for where, text in labels.values())
        return [str(number) for number in range(1, most + 1)]
    return annotations.numbered_names(root / "classes.txt", first=1)


def _label(where: str, text: str, classes: list[str]) -> int:
    number = annotations.whole_number(text, where)
    if not 1 <= number <= len(classes):
        raise InputError(f"{where}: there is no class {number}; expected 1 to {len(classes)}")
    return number - 1


def _flag(where: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise InputError(f"{where}: expected 1 (training) or 0 (test), got {text!r}")
    return text == "1"


def _masks(root: Path, path: str) -> tuple[str, ...]:
    folder = PurePosixPath("segmentations")
    return (str(folder / PurePosixPath(path).with_suffix(".png")),) if (root / folder).is_dir() else ()


CUB = Reader(load)
