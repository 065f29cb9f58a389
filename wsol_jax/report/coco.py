"""Boxes as COCO JSON, the format that labelling tools read."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wsol_jax import boxes
from wsol_jax.data.records import Record
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.tables import Predictions, image_sizes


def write_coco(path: Path, records: Sequence[Record], predictions: Predictions, classes: Sequence[str]) -> None:
    """Write one box per photo as a COCO detection file, whole or not at all.

    Images and categories are numbered from 1, as labelling tools expect: category c + 1 is class c. A box is held
    inside its image and rounded to a thousandth of a pixel. Its category is the likeliest predicted class or, where
    none was predicted, the record's label; its score is the box's own or else that class's probability, or left out.

    Args:
        path: the file; its folder is made if need be.
        records: n records.
        predictions: in the same order; without `box` there are no annotations.
        classes: the classes' names.

    Raises:
        InputError: a predicted class has no name, so it comes from a classifier of another dataset.
    """
    images = [
        {"id": number, "file_name": record.path, "width": record.size[0], "height": record.size[1]}
        for number, record in enumerate(records, start=1)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    annotations = [] if predictions.box is None else _annotations(path, records, predictions, len(classes))
    coco = {"images": images, "categories": categories, "annotations": annotations}
    write_atomically(path, lambda file: file.write(json.dumps(coco).encode()))


def _annotations(path: Path, records: Sequence[Record], predictions: Predictions, classes: int) -> list[dict]:
    labels, scores = _labels_and_scores(records, predictions)
    if len(labels) and labels.max() >= classes:
        raise InputError(f"{path}: class {labels.max()} was predicted, but the dataset has {classes} classes")
    corners = boxes.scale(boxes.clip(np.asarray(predictions.box, np.float64)), image_sizes(records))
    rectangles = boxes.xyxy_to_xywh(corners).round(3)
    annotations = [
        {
            "id": number,
            "image_id": number,
            "category_id": int(label) + 1,
            "bbox": rectangle.tolist(),
            "area": round(float(rectangle[2] * rectangle[3]), 3),
            "iscrowd": 0,
        }
        for number, (label, rectangle) in enumerate(zip(labels, rectangles, strict=True), start=1)
    ]
    if scores is None:
        return annotations
    return [a | {"score": float(score)} for a, score in zip(annotations, scores, strict=True)]


def _labels_and_scores(records: Sequence[Record], predictions: Predictions) -> tuple[np.ndarray, np.ndarray | None]:
    """The class of each box, int [n], and its score [n] if it has one."""
    if predictions.top5_class is None:
        return np.array([record.label for record in records], np.int32), predictions.score
    probability = None if predictions.top5_prob is None else predictions.top5_prob[:, 0]
    return predictions.top5_class[:, 0], probability if predictions.score is None else predictions.score
