"""Boxes drawn or corrected by hand, as other programs write them: COCO JSON, Label Studio's export, VOC XML.

A file is read into the photos that it names; `match` joins them to the records of a dataset.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wsol_jax.data.xml_boxes import read_xml
from wsol_jax.errors import InputError


class Drawn(NamedTuple):
    """A photo of a file, with its boxes.

    Attributes:
        name: as the file has it; photos of XML files have no suffix.
        boxes: m boxes (x0, y0, x1, y1), in pixels from 0, x1 and y1 exclusive, or in percent of the photo's sides.
        classes: of each box; '' where it has none.
        size: width and height that the file gives, pixels; None where it gives none.
        percent: whether boxes are in percent.
    """

    name: str
    boxes: Sequence[Sequence[float]]
    classes: Sequence[str]
    size: tuple[int, int] | None = None
    percent: bool = False


def read_drawn(path: Path, report: Callable[[str], None]) -> list[Drawn]:
    """Return the photos of a COCO file, a Label Studio export or a folder of VOC XML, in their order.

    A Label Studio task that nobody has submitted is left out; a photo that was submitted without a box has none.

    Args:
        path: the file or folder.
        report: receives a line that counts the tasks that are left out, if there are some.

    Raises:
        InputError: there is no such file or folder, it has another format, or one of its boxes is malformed.
    """
    if path.is_dir():
        return _read_voc(path)
    content = _read_json(path)
    if isinstance(content, Mapping) and {"images", "annotations", "categories"} <= set(content):
        return _guarded(path, _read_coco, content)
    if isinstance(content, list) and all(isinstance(task, Mapping) and "data" in task for task in content):
        photos = _guarded(path, _read_label_studio, content)
        if len(photos) < len(content):
            report(f"{path}: {len(content) - len(photos)} of {len(content)} tasks are skipped or not submitted")
        return photos
    raise InputError(
        f"{path}: neither a COCO file (images, annotations, categories) nor a Label Studio export (JSON: a list of "
        "tasks with data and annotations)"
    )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such file; expected a COCO file or a Label Studio export") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({str(error).splitlines()[0]})") from error


def _guarded(path: Path, read: Callable[[Any], list[Drawn]], content: Any) -> list[Drawn]:
    """What `read` returns; a field that is missing or of another type is one line."""
    try:
        return read(content)
    except KeyError as error:
        raise InputError(f"{path}: an entry has no {error.args[0]!r}; expected a complete file") from error
    except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise InputError(f"{path}: a malformed entry ({str(error).splitlines()[0]})") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _read_coco(content: Mapping[str, Any]) -> list[Drawn]:
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    of_image: dict[Any, list[tuple[list[float], str]]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        number, image, category = annotation.get("id"), annotation["image_id"], annotation["category_id"]
        if image not in of_image:
            raise InputError(f"annotation {number} is of image {image}, which is not listed")
        if category not in names:
            raise InputError(f"annotation {number} is of category {category}, which is not listed")
        x, y, width, height = _numbers(annotation["bbox"], f"annotation {number}")
        of_image[image].append(([x, y, x + width, y + height], names[category]))
    photos = []
    for image in content["images"]:
        size = (int(image["width"]), int(image["height"])) if {"width", "height"} <= set(image) else None
        boxes, classes = zip(*of_image[image["id"]], strict=True) if of_image[image["id"]] else ((), ())
        photos.append(Drawn(str(image["file_name"]), boxes, classes, size))
    return photos


def _numbers(values: Sequence[Any], name: str) -> list[float]:
    numbers = [float(value) for value in values]
    if len(numbers) != 4 or not np.isfinite(numbers).all():
        raise InputError(f"{name}: bbox is {values!r}; expected four numbers, x, y, width and height")
    return numbers


IGNORED = ("choices", "textarea", "rating", "number", "datetime", "taxonomy", "labels", "relation")
"""Types of Label Studio's regions that are no shape on the photo."""


def _read_label_studio(content: Sequence[Mapping[str, Any]]) -> list[Drawn]:
    photos = [_photo_of_task(task) for task in content]
    return [photo for photo in photos if photo is not None]


def _photo_of_task(task: Mapping[str, Any]) -> Drawn | None:
    """The last submitted annotation of a task; None if there is none."""
    submitted = [one for one in task.get("annotations", ()) if not one.get("was_cancelled")]
    if not submitted:
        return None
    texts = [value for value in (task["data"].get("image"), *task["data"].values()) if isinstance(value, str)]
    if not texts:
        raise InputError(f"task {task.get('id')} has no address of a photo in its data")
    name = texts[0]
    regions = max(submitted, key=lambda one: str(one.get("updated_at", "")))["result"]
    boxes, classes, size = [], [], None
    for region in regions:
        if region["type"] in IGNORED:
            continue
        if region["type"] not in ("rectanglelabels", "rectangle"):
            raise InputError(f"{name} has a region of type {region['type']!r}; expected rectangles")
        boxes.append(_rectangle(region, name))
        classes.append("".join(region["value"].get("rectanglelabels", ())[:1]))
        if {"original_width", "original_height"} <= set(region):
            size = (int(region["original_width"]), int(region["original_height"]))
    return Drawn(name, boxes, classes, size, percent=True)


def _rectangle(region: Mapping[str, Any], name: str) -> list[float]:
    """A rectangle in percent; of a rotated one, the smallest upright box around it."""
    value = region["value"]
    x, y, width, height = _numbers([value[key] for key in ("x", "y", "width", "height")], name)
    if not value.get("rotation"):
        return [x, y, x + width, y + height]
    sides = np.array([region["original_width"], region["original_height"]], np.float64) / 100
    angle = np.deg2rad(float(value["rotation"]))  # clockwise, around the left upper corner
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]]) * sides @ turn / sides + [x, y]
    return [*corners.min(0).tolist(), *corners.max(0).tolist()]


def _read_voc(folder: Path) -> list[Drawn]:
    files = sorted(folder.rglob("*.xml"))
    if not files:
        raise InputError(f"{folder} has no XML file; expected one for each photo, as PASCAL VOC has them")
    photos = []
    for file in files:
        size, objects = read_xml(file)
        name = file.relative_to(folder).with_suffix("").as_posix()
        photos.append(Drawn(name, [box for _, box in objects], [title for title, _ in objects], size))
    return photos
