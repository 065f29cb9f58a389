"""Photos in the text lists of wsolevaluation (Choe et al., CVPR 2020), the form of most published WSOL data.

A folder of lists holds image_ids.txt (`path`), class_labels.txt (`path,class`, from 0), image_sizes.txt
(`path,width,height`) and a file of boxes (`path,x0,y0,x1,y1`, any number of lines for a photo).
"""

from collections import defaultdict
from pathlib import Path, PurePosixPath

from absl import logging
from ml_collections import ConfigDict

from wsol_jax.data import annotations, photos
from wsol_jax.data.records import Dataset, Record
from wsol_jax.errors import InputError


def load(config: ConfigDict, seed: int) -> Dataset:
    """The photos in the order of image_ids.txt.

    A photo's size and boxes are those of the lists: the original's, even if the file was resized since. Classes are
    named by classes.txt (`class name`) or synset_words.txt (a line for each class, in order), else by their numbers.

    Args:
        config: `config.data`. `dir` is the root; `lists.train` and `lists.test` are folders of lists in it, '' for
            none; `lists.images` is the folder that their paths start from; `lists.boxes` is the file of boxes, '' for
            none. Training photos do without it.
        seed: not needed, nothing is drawn.

    Raises:
        InputError: a list or photo is missing, a line is malformed, a photo comes twice or lacks a class or a size, a
            box is empty or outside of its photo.
    """
    root, keys = photos.root_folder(config.dir, "lists"), config.lists
    splits = {}
    for name in ("train", "test"):
        if not keys[name]:
            continue
        folder = photos.inside(root, keys[name])
        if not folder.is_dir():
            raise InputError(f"--config.data.lists.{name}: there is no folder {folder}; set it to '' if there is none")
        boxes = keys.boxes if name == "test" or (folder / keys.boxes).is_file() else ""
        splits[name] = read_split(root, folder, keys.images, boxes)
    return Dataset(_classes(root, splits), splits, photos.PhotoFiles(root), photos.MaskFiles(root))


def read_split(root: Path, folder: Path, images: str, boxes: str) -> list[Record]:
    """The photos of one folder of lists, in the order of its image_ids.txt.

    Args:
        root: of the dataset.
        folder: of the lists.
        images: the folder in `root` that the paths of the lists start from; '' is `root` itself.
        boxes: the name of the file of boxes in `folder`, '' for none.

    Raises:
        InputError: as `load`.
    """
    names = [name for name, _, _ in _rows(folder / "image_ids.txt", "path")]
    labels = _one_row_each(folder / "class_labels.txt", "path,class", names)
    sizes = _one_row_each(folder / "image_sizes.txt", "path,width,height", names)
    corners = _boxes(photos.inside(folder, boxes), names) if boxes else {}
    records = []
    for name in names:
        path = str(PurePosixPath(images, name))
        photos.existing(root, path)
        label, size = _label(*labels[name]), _size(*sizes[name])
        records.append(Record(path, label, size, annotations.normalised_boxes(corners.get(name, []), size, path)))
    return records


def _boxes(path: Path, names: list[str]) -> dict[str, list[list[float]]]:
    """The boxes (x0, y0, x1, y1) of those of the photos `names` that have some, in pixels."""
    wanted, boxes, others = set(names), defaultdict(list), 0
    for name, where, values in _rows(path, "path,x0,y0,x1,y1"):
        if name in wanted:
            boxes[name].append(annotations.numbers(values, where))
        else:
            others += 1
    if others:
        logging.info("%s: %d boxes are of photos that image_ids.txt does not list", path, others)
    if len(boxes) < len(names):
        logging.warning("%s: %d of %d photos have no box", path, len(names) - len(boxes), len(names))
    return boxes


def _rows(path: Path, columns: str) -> list[tuple[str, str, list[str]]]:
    """(photo, where in the file, the other columns) of each line."""
    others, rows = columns.count(","), []
    for where, line in annotations.numbered_lines(path):
        name, *values = line.rsplit(",", others) if others else [line]
        if len(values) != others or not name:
            raise InputError(f"{where}: expected '{columns}', got {line!r}")
        rows.append((name, where, values))
    return rows


def _one_row_each(path: Path, columns: str, names: list[str]) -> dict[str, tuple[str, list[str]]]:
    """(where, the other columns) by photo; every one of `names` has to have a line, and no photo two."""
    rows = {}
    for name, where, values in _rows(path, columns):
        if name in rows:
            raise InputError(f"{where}: {name} comes twice")
        rows[name] = (where, values)
    missing = [name for name in names if name not in rows]
    if missing:
        raise InputError(f"{path}: {len(missing)} photos of image_ids.txt have no line, the first is {missing[0]}")
    return rows


def _label(where: str, values: list[str]) -> int:
    label = annotations.whole_number(values[0], where)
    if label < 0:
        raise InputError(f"{where}: class {label}; classes count from 0")
    return label


def _size(where: str, values: list[str]) -> tuple[int, int]:
    w, h = (annotations.whole_number(value, where) for value in values)
    if w < 1 or h < 1:
        raise InputError(f"{where}: a photo of {w} x {h} pixels")
    return w, h


def _classes(root: Path, splits: dict[str, list[Record]]) -> list[str]:
    most = max((record.label for records in splits.values() for record in records), default=-1)
    if (root / "classes.txt").is_file():
        file = root / "classes.txt"
        names = annotations.numbered_names(file, first=0)
    elif (root / "synset_words.txt").is_file():
        file = root / "synset_words.txt"
        names = [line.partition(" ")[2] or line for _, line in annotations.numbered_lines(file)]
    else:
        return [str(label) for label in range(most + 1)]
    if most >= len(names):
        raise InputError(f"{file} names {len(names)} classes, but the lists have class {most}; classes count from 0")
    return names
