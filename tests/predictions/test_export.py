"""Delivered boxes: every format holds the same boxes, and names from outside stay in their folder."""

import json
import logging

import experiments
import numpy as np
import pyarrow.csv
import pytest

from wsol_jax.predictions.export import export_boxes
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import read_predictions
from wsol_jax.predictions.yolo import write_yolo

BOX = np.array([0.25, 0.5, 0.75, 1.25])  # reaches over the lower edge
NAMES = ["stripes", 'a "quoted": name', "dots"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    records = experiments.scenes().splits["test"]
    place = tmp_path_factory.mktemp("boxes")
    score = np.linspace(0, 1, len(records), dtype=np.float32)
    predictions = Predictions(np.tile(BOX, (len(records), 1)), score, np.zeros(len(records), bool))
    export_boxes(place, records, predictions, NAMES, version="pseudo")
    return place, records


def test_parquet_and_csv(folder):
    place, records = folder
    np.testing.assert_allclose(read_predictions(place / "boxes.parquet", records).box, np.tile(BOX, (len(records), 1)))
    rows = pyarrow.csv.read_csv(place / "boxes.csv")
    assert rows["image"].to_pylist() == [record.path for record in records]
    np.testing.assert_allclose(rows["x1"].to_pylist(), 0.75 * experiments.SIZE)


def test_coco(folder):
    place, records = folder
    coco = json.loads((place / "coco.json").read_text())
    side = experiments.SIZE
    assert coco["annotations"][0]["bbox"] == [side / 4, side / 2, side / 2, side / 2]
    assert [a["category_id"] - 1 for a in coco["annotations"]] == [record.label for record in records]


def test_label_studio(folder):
    place, records = folder
    tasks = json.loads((place / "label_studio.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [record.path for record in records]
    prediction = tasks[-1]["predictions"][0]
    assert prediction["model_version"] == "pseudo" and prediction["score"] == 1
    value = prediction["result"][0]["value"]
    assert (value["x"], value["y"], value["width"], value["height"]) == (25, 50, 50, 50)
    assert value["rectanglelabels"] == [NAMES[records[-1].label]]


def test_photos_that_differ_in_their_endings_alone_are_counted(tmp_path, caplog):
    records = [
        record._replace(path=name)
        for record, name in zip(experiments.scenes().splits["test"], ("a.jpg", "a.png"), strict=False)
    ]
    with caplog.at_level(logging.WARNING):
        write_yolo(tmp_path, records, Predictions(np.tile(BOX, (2, 1))), NAMES)
        assert "1 photos differ from another in their endings alone" in caplog.text
        caplog.clear()
        write_yolo(tmp_path, records[:1], Predictions(BOX[None]), NAMES)
    assert caplog.text == ""


def test_yolo(folder):
    place, records = folder
    files = sorted(path.relative_to(place / "yolo").as_posix() for path in (place / "yolo").rglob("*.txt"))
    assert files == sorted(f"labels/{record.path.rpartition('.')[0]}.txt" for record in records)
    label, *numbers = (place / "yolo" / files[0]).read_text().split()
    assert label == str(records[0].label)
    np.testing.assert_allclose([float(number) for number in numbers], [0.5, 0.75, 0.5, 0.5], atol=1e-6)
    assert r'1: "a \"quoted\": name"' in (place / "yolo" / "data.yaml").read_text()
