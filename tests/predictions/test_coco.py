"""COCO JSON as a labelling tool reads it."""

import json

import numpy as np
import pytest

from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.errors import InputError
from wsol_jax.predictions.coco import write_coco
from wsol_jax.predictions.predictions import Predictions

RECORDS = [Record("a/1.jpg", 0, (200, 100), NO_BOXES), Record('b/"2".jpg', 1, (30, 40), NO_BOXES)]
BOX = np.array([[0.1, 0.2, 0.6, 0.7], [-0.1, 0.5, 0.5, 1.2]])
CLASSES = ["wren", "crow", "gull"]


def written(tmp_path, predictions):
    path = tmp_path / "folder" / "boxes.json"
    write_coco(path, RECORDS, predictions, CLASSES)
    assert [file.name for file in path.parent.iterdir()] == ["boxes.json"]
    return json.loads(path.read_text())


def test_boxes_are_xywh_in_pixels_and_inside_their_image(tmp_path):
    coco = written(tmp_path, Predictions(box=BOX))
    assert coco["images"] == [
        {"id": 1, "file_name": "a/1.jpg", "width": 200, "height": 100},
        {"id": 2, "file_name": 'b/"2".jpg', "width": 30, "height": 40},
    ]
    assert coco["categories"] == [{"id": 1, "name": "wren"}, {"id": 2, "name": "crow"}, {"id": 3, "name": "gull"}]
    assert coco["annotations"] == [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 20, 100, 50], "area": 5000, "iscrowd": 0},
        {"id": 2, "image_id": 2, "category_id": 2, "bbox": [0, 20, 15, 20], "area": 300, "iscrowd": 0},
    ]


def test_the_likeliest_class_is_the_category(tmp_path):
    classes = np.array([[2, 0], [0, 1]], np.int32)
    probability = np.array([[0.75, 0.25], [0.5, 0.5]], np.float32)
    predictions = Predictions(box=BOX, top5_class=classes, top5_prob=probability)
    annotations = written(tmp_path, predictions)["annotations"]
    assert [(a["category_id"], a["score"]) for a in annotations] == [(3, 0.75), (1, 0.5)]
    scored = written(tmp_path, predictions._replace(score=np.array([4, 8], np.float32)))["annotations"]
    assert [(a["category_id"], a["score"]) for a in scored] == [(3, 4), (1, 8)]


def test_no_boxes_no_annotations(tmp_path):
    coco = written(tmp_path, Predictions(top5_class=np.array([[0], [1]], np.int32)))
    assert len(coco["images"]) == 2
    assert coco["annotations"] == []


def test_a_class_without_a_name_is_an_error(tmp_path):
    with pytest.raises(InputError, match="class 7 was predicted, but the dataset has 3 classes"):
        written(tmp_path, Predictions(box=BOX, top5_class=np.array([[0], [7]], np.int32)))
