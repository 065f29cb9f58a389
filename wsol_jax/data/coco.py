"""COCO: photos with many objects in a JSON file of instances, each with a box and perhaps a polygon or runs of pixels.

A photo gets one label, the class of most of its objects; the boxes and masks of the objects of this class are the true
ones. Crowds of it are ignored pixels.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from absl import logging
from ml_collections import ConfigDict

from wsol_jax import checks
from wsol_jax.data import photos
from wsol_jax.data.annotated import to_records
from wsol_jax.data.objects import LABELS, Object, annotated, label_of, reason_without, report_left_out
from wsol_jax.data.reader import Reader
from wsol_jax.data.records import Annotated, Dataset
from wsol_jax.data.shapes import Shape, ShapesOf, require_possible
from wsol_jax.errors import InputError

_FOLDER_KEYS = {"train": "train_images", "test": "test_images", "val": "val_images"}


class _Photo(NamedTuple):
    path: str
    size: tuple[int, int] | None
    objects: list[Object]
    label: str
    wrong: str


def load(config: ConfigDict, seed: int) -> Dataset:
    """Return the photos in the order of their files, and the classes, in the order of their ids, that label one.

    Photos without an object of a class, or with `coco.label='only'` those with several classes, are left out and
    counted in the log.

    Args:
        config: `config.data`. `coco.train`, `coco.test` and `coco.val` are files of instances below `dir`, '' for none;
            `coco.train_images` and so on the folders that their photos' names start from; without `coco.masks` only
            boxes are read.
        seed: unused, as nothing is drawn.

    Raises:
        InputError: a file is missing, is not JSON of instances, or has no photo with an object; as
            `annotated.to_records`.
    """
    root, keys = photos.root_folder(config.dir, "coco"), config.coco
    with checks.prefixed("--config.data.coco."):
        checks.one_of(keys, "label", LABELS)
    shapes: dict[str, Shape] = {}
    found: dict[str, list[_Photo]] = {}
    order: dict[str, int] = {}
    for split, folder in _FOLDER_KEYS.items():
        if keys[split]:
            file, images = photos.inside(root, keys[split]), keys[folder]
            instances = _instances(file)
            order |= {name: number for number, name in _names(file, instances).items()}
            found[split] = _labelled(file, _photos(file, instances, keys[split], images, keys, shapes))
    used = {photo.label for of_split in found.values() for photo in of_split} - {""}
    classes = sorted(used, key=lambda name: (order[name], name))
    if len(used) < len(order):
        logging.info("%d of %d categories label no photo", len(order) - len(used), len(order))
    splits = {split: _items(of_split, classes) for split, of_split in found.items()}
    records = to_records(root, splits, config, has_mask_files=False)
    return Dataset(classes, records, photos.PhotoFiles(root), ShapesOf(shapes))


def _instances(file: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: no such file of instances ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not JSON ({photos.first_line(error)})") from error
    parts = ("images", "annotations", "categories")
    is_right = isinstance(content, dict) and all(
        isinstance(content.get(part), list) and all(isinstance(row, dict) for row in content[part]) for part in parts
    )
    if not is_right:
        raise InputError(f"{file}: expected COCO's instances, with lists of {', '.join(parts)}")
    return content


def _names(file: Path, instances: dict[str, list[dict[str, Any]]]) -> dict[int, str]:
    """Id -> name of a category; ids may have gaps."""
    try:
        return {int(row["id"]): str(row["name"]) for row in instances["categories"]}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: a category lacks its id or name") from error


def _photos(
    file: Path,
    instances: dict[str, list[dict[str, Any]]],
    place: str,
    images: str,
    keys: ConfigDict,
    shapes: dict[str, Shape],
) -> list[_Photo]:
    """The photos of a file; the masks of their objects go into `shapes`, named by the file's place below the root."""
    names, rows_of = _names(file, instances), defaultdict(list)
    for row in instances["annotations"]:
        rows_of[str(row.get("image_id"))].append(row)
    made, without_size = [], 0
    for image in instances["images"]:
        if "id" not in image or not isinstance(image.get("file_name"), str):
            raise InputError(f"{file}: an image lacks its id or file_name: {str(image)[:80]}")
        size, objects, wrong = _size(image), [], ""
        rows = rows_of.pop(str(image["id"]), [])
        without_size += keys.masks and size is None and any(row.get("segmentation") for row in rows)
        try:
            for row in rows:
                objects.append(_object(place, row, names, size if keys.masks else None, shapes))
        except (KeyError, TypeError, ValueError) as error:
            wrong = f"{file}: malformed annotation of {image['file_name']} ({type(error).__name__}: {error})"
        _join_crowds(objects, shapes)
        path = str(PurePosixPath(images, image["file_name"]))
        made.append(_Photo(path, size, objects, label_of(objects, keys.label), wrong))
    if without_size:
        logging.warning(
            "%s: %d photos have masks, which are not read, as it gives no size for them", file, without_size
        )
    if rows_of:
        logging.warning("%s: %d annotations are of images that it does not list", file, sum(map(len, rows_of.values())))
    return made


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    sides = image.get("width"), image.get("height")
    is_size = all(isinstance(side, int | float) and side > 0 and side % 1 == 0 for side in sides)
    return (int(sides[0]), int(sides[1])) if is_size else None


def _object(
    place: str, row: dict[str, Any], names: dict[int, str], size: tuple[int, int] | None, shapes: dict[str, Shape]
) -> Object:
    if isinstance(row["bbox"], str):
        raise TypeError(f"bbox is {row['bbox']!r}; expected four numbers")
    x, y, w, h = (float(value) for value in row["bbox"])
    segmentation, mask = row.get("segmentation"), ""
    if segmentation and size:
        require_possible(size)
        mask = f"{place}#{row['id']}"
        shapes[mask] = Shape(size, [segmentation])
    return Object(names[row["category_id"]], (x, y, x + w, y + h), mask, bool(row.get("iscrowd", 0)))


def _join_crowds(objects: Sequence[Object], shapes: dict[str, Shape]) -> None:
    """Put all crowds of a class into the mask of the first one, as a record has one mask of ignored pixels."""
    first: dict[str, str] = {}
    for one in objects:
        if one.is_crowd and one.mask and first.setdefault(one.name, one.mask) != one.mask:
            mask = first[one.name]
            shapes[mask] = shapes[mask]._replace(parts=[*shapes[mask].parts, *shapes[one.mask].parts])


def _labelled(file: Path, found: list[_Photo]) -> list[_Photo]:
    """The photos with a label, and those with a wrong annotation, which are counted later."""
    without = Counter(reason_without(photo.objects) for photo in found if not photo.label and not photo.wrong)
    report_left_out(file, without)
    if not any(photo.label for photo in found):
        first = next((f"; the first: {photo.wrong}" for photo in found if photo.wrong), "")
        raise InputError(f"{file}: no photo has a label; expected an object in at least one{first}")
    return [photo for photo in found if photo.label or photo.wrong]


def _items(found: list[_Photo], classes: list[str]) -> list[Annotated]:
    label = {name: number for number, name in enumerate(classes)}
    items = [
        annotated(photo.path, label.get(photo.label, -1), photo.label, photo.size, photo.objects)._replace(
            wrong=photo.wrong
        )
        for photo in found
    ]
    if partly := sum(not i.masks and _has_mask(photo) for i, photo in zip(items, found, strict=True)):
        logging.warning("%d photos have objects with and without a mask; they are taken as without masks", partly)
    return items


def _has_mask(photo: _Photo) -> bool:
    return any(one.mask and one.name == photo.label and not one.is_crowd for one in photo.objects)


COCO = Reader(
    load,
    defaults=dict(
        train="annotations/instances_train2017.json",  # files of instances below `data.dir`; '' where there is none
        test="annotations/instances_val2017.json",
        val="",
        train_images="train2017",  # the folders that the photos' names start from
        test_images="val2017",
        val_images="",
        label="most",  # 'most': a photo's label is the class of most of its objects; 'only': photos with one class
        masks=True,  # False reads boxes alone
    ),
)
