"""Delivered boxes as the programs that they are for read them; see requirements-consumers.txt."""

import json

import numpy as np
import pytest
from PIL import Image

from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.predictions.export import export_boxes
from wsol_jax.predictions.predictions import Predictions

NAMES = ["wren", 'a "quoted": crow']
RECORDS = [Record("a/1.jpg", 0, (200, 100), NO_BOXES), Record("b/2.jpg", 1, (30, 40), NO_BOXES)]
BOX = np.array([[0.1, 0.2, 0.6, 0.7], [0.0, 0.5, 0.5, 1.0]])
PIXELS = np.array([[20, 20, 120, 70], [0, 20, 15, 40]])
SCORE = np.array([0.25, 0.75], np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All formats, and the photos where YOLO expects them."""
    place = tmp_path_factory.mktemp("boxes")
    export_boxes(place, RECORDS, Predictions(BOX, SCORE), NAMES, version="pseudo")
    for record in RECORDS:
        photo = place / "yolo" / "images" / record.path
        photo.parent.mkdir(parents=True)
        Image.new("RGB", record.size).save(photo)
    return place


def test_pycocotools(folder):
    coco = pytest.importorskip("pycocotools.coco").COCO(folder / "coco.json")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    detected = coco.loadRes([a for a in coco.dataset["annotations"] if a["score"] > 0])
    assert [a["bbox"] for a in coco.loadAnns(coco.getAnnIds())] == [[20, 20, 100, 50], [0, 20, 15, 20]]
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == NAMES
    result = evaluation.COCOeval(coco, detected, "bbox")
    result.evaluate()
    result.accumulate()
    result.summarize()
    assert result.stats[0] == pytest.approx(1)


def test_label_studio(folder):
    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface
    objects = pytest.importorskip("label_studio_sdk.label_interface.objects")
    labels = "".join(f'<Label value="{name.replace(chr(34), "&quot;")}"/>' for name in NAMES)
    view = interface(
        f'<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">{labels}'
        "</RectangleLabels></View>"
    )
    tasks = json.loads((folder / "label_studio.json").read_text())
    for task, score in zip(tasks, SCORE, strict=True):
        (prediction,) = task["predictions"]
        assert view.validate_prediction(prediction) and prediction["score"] == score
        assert objects.PredictionValue.model_validate(prediction).model_version == "pseudo"


def test_label_studios_converter(folder, tmp_path):
    """Accepted as annotations, the predictions become the same COCO boxes."""
    converter = pytest.importorskip("label_studio_sdk.converter")
    labels = "".join(f'<Label value="{name.replace(chr(34), "&quot;")}"/>' for name in NAMES)
    (tmp_path / "view.xml").write_text(
        f'<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">{labels}'
        "</RectangleLabels></View>"
    )
    tasks = json.loads((folder / "label_studio.json").read_text())
    accepted = [
        {"id": i, "data": task["data"], "annotations": [{"id": i, "result": task["predictions"][0]["result"]}]}
        for i, task in enumerate(tasks)
    ]
    (tmp_path / "accepted.json").write_text(json.dumps(accepted))
    one = converter.Converter(str(tmp_path / "view.xml"), str(tmp_path), download_resources=False)
    one.convert_to_coco(str(tmp_path / "accepted.json"), str(tmp_path / "coco"), is_dir=False)
    coco = json.loads((tmp_path / "coco" / "result.json").read_text())
    np.testing.assert_allclose([a["bbox"] for a in coco["annotations"]], [[20, 20, 100, 50], [0, 20, 15, 20]], atol=0.1)
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert [names[a["category_id"]] for a in coco["annotations"]] == NAMES


def test_supervision(folder):
    dataset = pytest.importorskip("supervision").DetectionDataset
    yolo = dataset.from_yolo(
        images_directory_path=str(folder / "yolo" / "images" / "a"),
        annotations_directory_path=str(folder / "yolo" / "labels" / "a"),
        data_yaml_path=str(folder / "yolo" / "data.yaml"),
    )
    assert yolo.classes == NAMES
    ((_, _, detections),) = list(yolo)
    np.testing.assert_allclose(detections.xyxy, PIXELS[:1], atol=0.01)
    assert detections.class_id.tolist() == [0]
    coco = dataset.from_coco(str(folder / "yolo" / "images"), str(folder / "coco.json"))
    found = {name.rpartition("images/")[2]: detections for name, _, detections in coco}
    for record, box in zip(RECORDS, PIXELS, strict=True):
        np.testing.assert_allclose(found[record.path].xyxy, [box], atol=0.01)
