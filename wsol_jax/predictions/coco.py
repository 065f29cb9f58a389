"""Boxes as COCO JSON, the format that labelling tools read."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from wsol_jax import boxes
from wsol_jax.data.records import Record
from wsol_jax.files import write_atomically, write_json_list
from wsol_jax.predictions.predictions import Predictions, box_classes, image_sizes

INFO = {"description": "wsol_jax", "version": "1.0"}
"""pycocotools needs it, and `segmentation` of every annotation."""


def write_coco(path: Path, records: Sequence[Record], predictions: Predictions, classes: Sequence[str]) -> None:
    """Write one box per photo as a COCO detection file, whole or not at all.

    Images and categories are numbered from 1, as labelling tools expect: category c + 1 is class c. A box is clipped
    to its image and rounded to a thousandth of a pixel. Its category is the class that the box is of, see
    `box_classes`; a box of no class has no annotation. Its score is the box's own, left out where it has none.

    Args:
        path: the file; its folder is created if it does not exist.
        records: n records.
        predictions: in the same order; without `box` there are no annotations.
        classes: the classes' names.
    """
    annotations = () if predictions.box is None else _annotations(records, predictions, classes)
    write_annotations(path, records, annotations, classes)


def write_annotations(
    path: Path, records: Sequence[Record], annotations: Iterable[Mapping[str, Any]], classes: Sequence[str]
) -> None:
    """Write annotations with their images and categories as a COCO file, whole or not at all.

    Args:
        path: the file; its folder is created if it does not exist.
        records: n records, the images 1 to n.
        annotations: of these images, see `annotation`.
        classes: the classes' names.
    """
    images = (
        {"id": number, "file_name": record.path, "width": record.size[0], "height": record.size[1]}
        for number, record in enumerate(records, start=1)
    )
    categories = ({"id": number, "name": name} for number, name in enumerate(classes, start=1))

    def write(file: BinaryIO) -> None:
        file.write(b'{"info": ' + json.dumps(INFO).encode())
        for name, items in (("images", images), ("categories", categories), ("annotations", annotations)):
            file.write(f', "{name}": '.encode())
            write_json_list(file, items)
        file.write(b"}")

    write_atomically(path, write)


def annotation(number: int, image: int, label: int, rectangle: list[float], area: float) -> dict[str, Any]:
    """Return an annotation without a mask.

    Args:
        number: its own, from 1.
        image: the image's number, from 1.
        label: its class, from 0.
        rectangle: left, top, width, height in pixels.
        area: in pixels.
    """
    return {
        "id": number,
        "image_id": image,
        "category_id": label + 1,
        "bbox": rectangle,
        "area": area,
        "segmentation": [],
        "iscrowd": 0,
    }


def _annotations(
    records: Sequence[Record], predictions: Predictions, classes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    labels = box_classes(records, predictions, classes)
    corners = boxes.scale(boxes.clip(np.asarray(predictions.box, np.float64)), image_sizes(records))
    rectangles = boxes.xyxy_to_xywh(corners).round(3)
    for i in np.flatnonzero(labels >= 0).tolist():
        left, top, width, height = rectangles[i].tolist()
        made = annotation(i + 1, i + 1, int(labels[i]), [left, top, width, height], round(width * height, 3))
        yield made if predictions.score is None else made | {"score": float(predictions.score[i])}
