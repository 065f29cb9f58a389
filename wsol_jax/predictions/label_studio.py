"""Boxes as Label Studio tasks with predictions: its own JSON, which it imports with scores, to be corrected by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsol_jax import boxes
from wsol_jax.data.records import Record
from wsol_jax.files import write_atomically, write_json_list
from wsol_jax.predictions.predictions import Predictions, box_classes

IMAGE, LABEL = "image", "label"  # the names of the Image and RectangleLabels tags of the labelling configuration


def write_label_studio(
    path: Path, records: Sequence[Record], predictions: Predictions, classes: Sequence[str], version: str
) -> None:
    """Write one task per photo, with its box as a prediction, whole or not at all.

    The labelling configuration needs `<Image name="image" value="$image"/>` and `<RectangleLabels name="label"
    toName="image">`. An image is its path relative to the dataset's root, as local file storage serves it.

    Args:
        path: the file; its folder is created if it does not exist.
        records: n records.
        predictions: in the same order; without `box` the tasks have no predictions.
        classes: the classes' names.
        version: of the model, as Label Studio shows it.
    """
    labels = box_classes(records, predictions, classes)

    def task(i: int) -> dict[str, Any]:
        has_box = predictions.box is not None and labels[i] >= 0
        drawn = [_prediction(records[i], predictions, i, classes[labels[i]], version)] if has_box else []
        return {"data": {IMAGE: records[i].path}, "predictions": drawn}

    write_atomically(path, lambda file: write_json_list(file, map(task, range(len(records)))))


def _prediction(record: Record, predictions: Predictions, i: int, name: str, version: str) -> dict:
    """Label Studio's prediction for one photo; its rectangles are in percent of the photo's sides."""
    corners = boxes.xyxy_to_xywh(boxes.clip(np.asarray(predictions.box[i], np.float64)))
    x, y, width, height = (100 * corners).round(4).tolist()
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [name]}
    region = {
        "id": f"box{i}",
        "from_name": LABEL,
        "to_name": IMAGE,
        "type": "rectanglelabels",
        "original_width": record.size[0],
        "original_height": record.size[1],
        "value": value,
    }
    score = {} if predictions.score is None else {"score": float(predictions.score[i])}
    return {"model_version": version, "result": [region | score]} | score
