"""The stage `objects` on heat maps that are written by hand, its metrics and its place on the page."""

import json
import logging

import experiments
import numpy as np
import pytest

import wsol_jax
from wsol_jax.data.records import Dataset, Record
from wsol_jax.errors import InputError
from wsol_jax.predictions.objects import read_objects
from wsol_jax.predictions.predictions import Predictions
from wsol_jax.predictions.table import write_predictions
from wsol_jax.pseudo.regions import heat_box, scored_box
from wsol_jax.stages import evaluate, objects, report_photos
from wsol_jax.stages.context import Context
from wsol_jax.stages.workdir import activations_file, heat_file, objects_file, predictions_file, pseudo_boxes_file

LEFT, RIGHT = np.array([[0, 0, 0.25, 0.5], [0.5, 0.5, 1, 1]])
TWO, ONE, NONE = np.full((3, 8, 8), -1.0)
TWO[:4, :2], TWO[4:, 4:], ONE[:4, :2] = 3.0, 1.0, 3.0  # the largest region holds 16 of 40
RECORDS = [Record(f"{name}.jpg", 0, (80, 40), np.array([LEFT, RIGHT])) for name in ("two", "one", "none")]


@pytest.fixture
def context(tmp_path):
    """Photos with two objects each, their heat maps and score maps, and the one box cut out of each."""
    maps, config = np.stack([TWO, ONE, NONE]), experiments.load()
    heat, table = heat_file(tmp_path, "test"), predictions_file(tmp_path, "test")
    for file, cuts in (
        (pseudo_boxes_file(tmp_path, "test"), [heat_box(one, "nearest_code", 0) for one in maps]),
        (table, [scored_box(one, 0.2) for one in maps]),
    ):
        write_predictions(file, RECORDS, Predictions(np.array([cut.box for cut in cuts])))
    np.save(heat, maps.astype(np.float16))
    np.save(activations_file(table), maps.astype(np.float32))
    dataset = Dataset(["wren"], {"test": RECORDS}, lambda record: None, lambda record, size: None)
    return Context(tmp_path, dataset, 0, None, {"pseudo_boxes": config.pseudo, "predict": config.predict})


def run(context, **changes):
    config = experiments.load().objects
    config.update(changes)
    objects.STAGE.run(config, context)
    return [read_objects(objects_file(context.workdir, source, "test"), RECORDS) for source in ("pseudo", "maps")]


def test_every_region_of_heat_maps_and_score_maps(context, caplog):
    with caplog.at_level(logging.INFO):
        of_heat, of_maps = run(context)
    assert of_heat.photo.tolist() == of_maps.photo.tolist() == [0, 0, 1]
    assert sorted(of_heat.box.tolist()) == sorted([RIGHT.tolist(), LEFT.tolist(), LEFT.tolist()])
    assert of_heat.area.sum() == 2 * 20 * 20 + 40 * 20
    assert of_heat.score[0] >= of_heat.score[1] and of_heat.score[2] > of_heat.score[0]
    assert "objects of pseudo, test: 3 in 3 photos; several in 1; none in 1, of which 0 have" in caplog.text
    coco = json.loads(objects_file(context.workdir, "pseudo", "test").with_suffix(".coco.json").read_text())
    assert len(coco["images"]) == len(coco["annotations"]) == 3


def test_a_photo_with_too_low_a_confidence_has_no_object(context, caplog):
    sure = run(context)[0].score
    with caplog.at_level(logging.INFO):
        of_heat, _ = run(context, confidence=float(sure[2]) - 1e-4)
    assert of_heat.photo.tolist() == [1]
    assert (
        "objects of pseudo, test: 1 in 3 photos; several in 0; none in 2, of which 1 have a confidence" in caplog.text
    )


def test_a_larger_share_keeps_the_region_with_most_heat(context):
    assert run(context, share=0.5)[0].box.tolist() == [LEFT.tolist(), LEFT.tolist()]


def test_objects_are_evaluated_next_to_the_one_box(context):
    run(context)
    context = context._replace(configs=context.configs | {"objects": experiments.load().objects})
    config = experiments.load().evaluate
    config.update(resamples=20)
    metrics = evaluate._object_metrics(config, context)
    assert (metrics["pseudo/object_recall_iou50"], metrics["pseudo/object_precision_iou50"]) == (50, 100)
    assert metrics["pseudo/one_box/object_recall_iou50"] == pytest.approx(100 / 3)
    assert metrics["pseudo/one_box/objects"] == 3 and metrics["objects"] == 3 and metrics["true_objects"] == 6
    assert 0 <= metrics["object_recall_iou50/low"] <= metrics["object_recall_iou50"]
    shown = report_photos._objects("test", context)
    assert [len(boxes) for boxes in shown] == [2, 1, 0]


def test_without_maps_it_is_one_line(context):
    config = context.configs["pseudo_boxes"].copy_and_resolve_references()
    config.source = "truth"
    for carry_out in (objects.STAGE.check, objects.STAGE.run):
        with pytest.raises(InputError, match="there are no maps"):
            carry_out(experiments.load().objects, context._replace(configs={"pseudo_boxes": config}))


@pytest.mark.parametrize("stage", ["pseudo_boxes", "predict"])
def test_one_source_of_maps_is_enough(stage, context):
    objects.STAGE.check(experiments.load().objects, context._replace(configs={stage: context.configs[stage]}))


def test_a_run_without_maps_is_refused_before_its_first_stage(tmp_path):
    changes = {"stages": "pseudo_boxes,objects", "pseudo.source": "truth"}
    with pytest.raises(InputError, match=r"^--config\.objects: there are no maps"):
        wsol_jax.run(experiments.tiny(**changes), tmp_path)
    assert not (tmp_path / "pseudo_boxes").exists()
