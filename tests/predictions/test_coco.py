"""COCO JSON as a labelling tool reads it."""

import json

import numpy as np

from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.predictions.coco import write_coco
from wsol_jax.predictions.predictions import Predictions

RECORDS = [Record("a/1.jpg", 0, (200, 100), NO_BOXES), Record('b/"2".jpg', 1, (30, 40), NO_BOXES)]
UNLABELLED = [record._replace(label=-1) for record in RECORDS]
BOX = np.array([[0.1, 0.2, 0.6, 0.7], [-0.1, 0.5, 0.5, 1.2]])
TOP5 = Predictions(
    top5_class=np.array([[2, 0], [0, 1]], np.int32), top5_prob=np.array([[0.75, 0.25], [0.5, 0.5]], np.float32)
)
CLASSES = ["wren", "crow", "gull"]


def written(tmp_path, predictions, records=RECORDS):
    path = tmp_path / "folder" / "boxes.json"
    write_coco(path, records, predictions, CLASSES)
    assert [file.name for file in path.parent.iterdir()] == ["boxes.json"]
    return json.loads(path.read_text())


def categories(tmp_path, predictions, records=RECORDS):
    """Image -> category of its annotation, both numbered from 1."""
    return {a["image_id"]: a["category_id"] for a in written(tmp_path, predictions, records)["annotations"]}


def test_boxes_are_xywh_in_pixels_and_inside_their_image(tmp_path):
    coco = written(tmp_path, Predictions(box=BOX))
    assert coco["images"] == [
        {"id": 1, "file_name": "a/1.jpg", "width": 200, "height": 100},
        {"id": 2, "file_name": 'b/"2".jpg', "width": 30, "height": 40},
    ]
    assert coco["categories"] == [{"id": 1, "name": "wren"}, {"id": 2, "name": "crow"}, {"id": 3, "name": "gull"}]
    assert coco["annotations"] == [
        annotation | {"segmentation": [], "iscrowd": 0}
        for annotation in (
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 20, 100, 50], "area": 5000},
            {"id": 2, "image_id": 2, "category_id": 2, "bbox": [0, 20, 15, 20], "area": 300},
        )
    ]
    assert "version" in coco["info"]


def test_the_category_is_the_photos_own_class(tmp_path):
    """A score-map method thresholds the map of that class, whichever class it predicts."""
    assert categories(tmp_path, TOP5._replace(box=BOX)) == {1: 1, 2: 2}


def test_the_category_of_an_unlabelled_photo_is_the_most_probable_class(tmp_path):
    assert categories(tmp_path, TOP5._replace(box=BOX), UNLABELLED) == {1: 3, 2: 1}
    assert categories(tmp_path, TOP5._replace(box=BOX), [UNLABELLED[0], RECORDS[1]]) == {1: 3, 2: 2}


def test_a_box_of_no_class_has_no_annotation(tmp_path):
    coco = written(tmp_path, Predictions(box=BOX), UNLABELLED)
    assert (len(coco["images"]), coco["annotations"]) == (2, [])
    assert categories(tmp_path, Predictions(box=BOX), [UNLABELLED[0], RECORDS[1]]) == {2: 2}


def test_a_box_without_a_class_is_of_the_only_one(tmp_path):
    write_coco(tmp_path / "boxes.json", UNLABELLED, Predictions(box=BOX), ["object"])
    coco = json.loads((tmp_path / "boxes.json").read_text())
    assert [annotation["category_id"] for annotation in coco["annotations"]] == [1, 1]


def test_the_score_is_that_of_the_box(tmp_path):
    assert not any("score" in a for a in written(tmp_path, TOP5._replace(box=BOX))["annotations"])
    scored = Predictions(box=BOX, score=np.array([4, 8], np.float32))
    assert [a["score"] for a in written(tmp_path, scored)["annotations"]] == [4, 8]
    (only,) = written(tmp_path, scored, [UNLABELLED[0], RECORDS[1]])["annotations"]
    assert (only["image_id"], only["score"]) == (2, 8)


def test_no_boxes_no_annotations(tmp_path):
    coco = written(tmp_path, TOP5)
    assert len(coco["images"]) == 2
    assert coco["annotations"] == []
