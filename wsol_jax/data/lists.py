"""Photos in the text lists of wsolevaluation (Choe et al., CVPR 2020), the form of most published WSOL data.

A folder of lists holds image_ids.txt (`path`), class_labels.txt (`path,class`, from 0), image_sizes.txt
(`path,width,height`), and a file of boxes (`path,x0,y0,x1,y1`), one of masks (`path,mask.png,ignore.png`, the third
on a photo's first line at most) or both, each with any number of lines for a photo. wsolevaluation calls either one
localization.txt.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from absl import logging
from ml_collections import ConfigDict

from wsol_jax.data import annotations, masks, photos
from wsol_jax.data.annotated import to_records
from wsol_jax.data.reader import Reader
from wsol_jax.data.records import Annotated, Dataset
from wsol_jax.data.splits import keep_per_class
from wsol_jax.errors import InputError

MASK_COLUMNS = "path,mask.png,ignore.png"


class Files(NamedTuple):
    """The places of the photos, boxes and masks of a folder of lists.

    Attributes:
        images: the folder in the dataset's root that the photos' paths start from; '' is the root itself.
        boxes: the name of the file of boxes in a folder of lists, '' for none.
        masks: the name of the file of masks in a folder of lists, '' for none.
        mask_dir: the folder in the root that the masks' paths start from.
        photos: whether the photos themselves are available; without them, only maps can be evaluated.
    """

    images: str
    boxes: str = ""
    masks: str = ""
    mask_dir: str = ""
    photos: bool = True


def load(config: ConfigDict, seed: int) -> Dataset:
    """Return the photos in the order of image_ids.txt.

    A photo's size and boxes are those of the lists: the original's, even if the file was resized since. Where
    image_sizes.txt is empty, as OpenImages' is, the sizes are read from the photos, or from the masks of photos that
    are absent. Classes are named by classes.txt (`class name`) or synset_words.txt (a line for each class, in order),
    else by their numbers.

    Args:
        config: `config.data`. `dir` is the root; `lists.train`, `lists.test` and `lists.val` are folders of lists in
            it, '.' for itself, '' for none; `lists.images` is the folder that their photos' paths start from;
            `lists.boxes` and `lists.masks` are the files of boxes and masks, '' for none (one file holds one of them:
            given as both, it holds masks); `lists.mask_dir` is the folder that the masks' paths start from; without
            `lists.photos` the photos may be absent; `lists.val_per_class` is how many photos of each class 'val'
            keeps, 0 for all. Training photos do without boxes and masks.
        seed: of the draw of validation photos.

    Raises:
        InputError: a list, photo or mask is missing, or lies outside of the root; a line is malformed; a photo is
            listed twice or lacks a class or a size; a box is empty or outside of its photo; a mask is of another shape
            than its photo; a mask of ignored pixels is not on its photo's first line; `lists.val_per_class` is
            negative, or there are no lists of 'val' to draw from.
    """
    root, keys = photos.root_folder(config.dir, "lists"), config.lists
    files = Files(keys.images, "" if keys.boxes == keys.masks else keys.boxes, keys.masks, keys.mask_dir, keys.photos)
    _require_val(keys.val, keys.val_per_class)
    splits = {}
    for name in ("train", "test", "val"):
        if not keys[name]:
            continue
        folder = root if keys[name] == "." else photos.inside(root, keys[name])
        if not folder.is_dir():
            raise InputError(f"--config.data.lists.{name}: there is no folder {folder}; set it to '' if there is none")
        splits[name] = read_split(root, folder, _available(folder, files) if name == "train" else files)
    classes, first = _classes(root, splits, keys.first_class)
    if first:
        splits = {name: [i._replace(label=i.label - first) for i in items] for name, items in splits.items()}
    splits = to_records(root, splits, config, has_photos=keys.photos)
    if keys.val_per_class:
        splits["val"] = keep_per_class(splits["val"], keys.val_per_class, seed)
    read = photos.PhotoFiles(root) if keys.photos else photos.blank
    return Dataset(classes, splits, read, masks.MaskFiles(root))


def read_split(root: Path, folder: Path, files: Files) -> list[Annotated]:
    """Return the photos of one folder of lists, in the order of its image_ids.txt.

    Args:
        root: of the dataset.
        folder: of the lists.
        files: the places of photos, boxes and masks.

    Raises:
        InputError: for the errors that `load` lists.
    """
    names = list(_one_row_each(folder / "image_ids.txt", "path"))
    labels = _one_row_each(folder / "class_labels.txt", "path,class", names)
    sizes = _sizes(folder / "image_sizes.txt", names)
    paths = [str(PurePosixPath(files.images, name)) for name in names]
    for path in paths:
        photos.inside(root, path)
    corners = _rows_of(photos.inside(folder, files.boxes), "path,x0,y0,x1,y1", names) if files.boxes else {}
    shapes = _rows_of(photos.inside(folder, files.masks), MASK_COLUMNS, names) if files.masks else {}
    items = []
    for name, path in zip(names, paths, strict=True):
        item = Annotated(path, _label(*labels[name]))
        try:
            size = _size(*sizes[name]) if sizes else None
            pixels = [annotations.numbers(values, where) for where, values in corners.get(name, ())]
            item = item._replace(size=size, pixels=pixels, **_masks(name, shapes.get(name, ()), files.mask_dir))
        except InputError as error:
            item = item._replace(wrong=str(error))
        items.append(item)
    return items


def _require_val(folder: str, count: int) -> None:
    if count < 0:
        raise InputError(f"--config.data.lists.val_per_class is {count}; expected 0 or a positive number")
    if count and not folder:
        raise InputError(
            f"--config.data.lists.val_per_class is {count}, but lists.val is ''; expected a folder of lists"
        )


def _available(folder: Path, files: Files) -> Files:
    """`files` without the boxes and masks that `folder` lacks."""
    boxes, shapes = (name if (folder / name).is_file() else "" for name in (files.boxes, files.masks))
    return files._replace(boxes=boxes, masks=shapes)


def _sizes(file: Path, names: list[str]) -> dict[str, tuple[str, list[str]]]:
    """(where, width and height) by photo; {} where the file is empty."""
    return _one_row_each(file, "path,width,height", names) if annotations.numbered_lines(file) else {}


def _masks(name: str, rows: Sequence[tuple[str, list[str]]], folder: str) -> dict[str, Any]:
    """`Annotated.masks` and `Annotated.ignore` of a photo."""
    for number, (where, (mask, ignore)) in enumerate(rows):
        if not mask:
            raise InputError(f"{where}: expected '{MASK_COLUMNS}', got no mask for {name}")
        if ignore and number:
            raise InputError(
                f"{where}: expected a mask of ignored pixels on the first line of {name} alone, got {ignore}"
            )
    ignore = rows[0][1][1] if rows else ""
    return {
        "masks": tuple(str(PurePosixPath(folder, mask)) for _, (mask, _) in rows),
        "ignore": str(PurePosixPath(folder, ignore)) if ignore else None,
    }


def _rows_of(file: Path, columns: str, names: list[str]) -> dict[str, list[tuple[str, list[str]]]]:
    """(where, the other columns) of the lines of each photo of `names` that has some; at least one has."""
    wanted, rows, others = set(names), defaultdict(list), []
    for name, where, values in _rows(file, columns, wanted if columns == MASK_COLUMNS else ()):
        if name in wanted:
            rows[name].append((where, values))
        else:
            others.append(name)
    if others and not rows:
        raise InputError(
            f"{file}: expected '{columns}' for photos of image_ids.txt, but has none; its first is {others[0]}"
        )
    if others:
        logging.info("%s: %d lines are of photos that image_ids.txt does not list", file, len(others))
    if len(rows) < len(names):
        logging.warning("%s: %d of %d photos have no line", file, len(names) - len(rows), len(names))
    return rows


def _rows(path: Path, columns: str, shorter: Collection[str] = ()) -> list[tuple[str, str, list[str]]]:
    """(photo, where in the file, the other columns) of each line; the last one may be left out for `shorter` photos."""
    others, rows = columns.count(","), []
    for where, line in annotations.numbered_lines(path):
        name, *values = line.rsplit(",", others) if others else [line]
        if shorter and (name not in shorter or len(values) != others):  # a name may hold commas
            most, *last = line.rsplit(",", others - 1)
            if last and (most in shorter or len(values) != others):
                name, values = most, [*last, ""]
        if len(values) != others or not name:
            raise InputError(f"{where}: expected '{columns}', got {line!r}")
        rows.append((name, where, values))
    return rows


def _one_row_each(path: Path, columns: str, names: Sequence[str] = ()) -> dict[str, tuple[str, list[str]]]:
    """(where, the other columns) by photo; each of `names` needs a line, and no photo may have two."""
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
        raise InputError(f"{where}: a photo of {w} x {h} pixels; expected at least 1 x 1")
    return w, h


def _classes(root: Path, splits: dict[str, list[Annotated]], first: int) -> tuple[list[str], int]:
    """The names of the classes, and the number of the first one in the lists."""
    labels = {item.label for items in splits.values() for item in items}
    names, file = _class_names(root)
    if first < 0:
        # Without names, only lists of training photos have every class.
        is_from_1 = 0 not in labels and (max(labels, default=0) == len(names) if file else "train" in splits)
        first = int(bool(labels) and min(labels) == 1 and is_from_1)
        if first:
            logging.warning("classes of the lists start at 1; --config.data.lists.first_class=0 takes them as they are")
    most = max(labels, default=first - 1) - first
    if file and most >= len(names):
        raise InputError(
            f"{file} names {len(names)} classes, but the lists have class {most + first}; classes count from {first}"
        )
    if min(labels, default=first) < first:
        raise InputError(f"--config.data.lists.first_class is {first}, but the lists have class {min(labels)}")
    return names if file else [str(label + first) for label in range(most + 1)], first


def _class_names(root: Path) -> tuple[list[str], Path | None]:
    """The names that a file gives the classes, and that file."""
    if (file := root / "classes.txt").is_file():
        return annotations.numbered_names(file, first=0), file
    if (file := root / "synset_words.txt").is_file():
        return [line.partition(" ")[2] or line for _, line in annotations.numbered_lines(file)], file
    return [], None


LISTS = Reader(
    load,
    defaults=dict(
        train="metadata/train",  # folders of lists below `data.dir`; '' where there is none
        test="metadata/test",
        val="",  # e.g. metadata/val: CUBV2, ImageNetV2; in place of data.val_per_class
        val_per_class=0,  # photos of each class that 'val' keeps, chosen by seed (wsolevaluation: 10, 5, 5); 0: all
        images="images",  # the folder that the photos' paths start from
        boxes="localization.txt",  # of each folder of lists; '', or the same as `masks`: there are no boxes
        masks="",  # of each folder of lists: path,mask.png,ignore.png; for OpenImages localization.txt
        mask_dir="",  # the folder that the masks' paths start from
        first_class=-1,  # number of the first class in the lists, 0 or 1; -1: what they hold
        photos=True,  # False: the photos are absent, and the maps of another program are evaluated without them
    ),
)
