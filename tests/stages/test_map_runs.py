"""Maps of this run and of compared runs: their rows, and the evaluation of boxes and regions."""

import json

import experiments
import numpy as np
import pytest
from ml_collections import ConfigDict

from wsol_jax.errors import InputError
from wsol_jax.evaluation.contours import largest_contour
from wsol_jax.evaluation.score_maps import box_at, quantise, score_map
from wsol_jax.predictions.predictions import Predictions, most_probable
from wsol_jax.predictions.table import write_predictions
from wsol_jax.report.map_views import MapRun, view_of
from wsol_jax.stages.map_runs import compared_runs, files

CORNER = np.array([0.25, 0.25, 0.75, 0.5])


@pytest.fixture(scope="module")
def dataset():
    return experiments.scenes()


@pytest.fixture
def other(dataset, tmp_path):
    """The workdir of another run; its table has the photos in another order and one more; map i is i wide."""
    records = [*dataset.splits["test"][::-1], dataset.splits["train"][0]]
    classes = most_probable(np.eye(3)[[record.label for record in records]])
    predictions = classes._replace(box=np.tile(CORNER, (len(records), 1)))
    write_predictions(tmp_path / "predictions" / "test.parquet", records, predictions)
    maps = np.stack([np.pad(np.ones((8, i + 1)), [(0, 0), (0, 9 - i)]) for i in range(len(records))])
    np.save(tmp_path / "predictions" / "test.maps.npy", maps)
    metrics = {"max_box_acc": 50.0, "max_box_acc/threshold": 0.5, "train/max_box_acc/threshold": 0.25}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    return tmp_path


def listed(text: str) -> ConfigDict:
    return ConfigDict({"beside": text})


def test_maps_of_another_run_are_joined_by_image(other, dataset):
    records = dataset.splits["test"]
    (run,) = compared_runs(listed(f"ACoL={other}"), records, "test")
    assert (run.method, run.threshold, run.pixel_threshold) == ("ACoL", 0.5, None)
    widths = [(run.source(i) > 0.5).any(axis=0).mean() for i in range(len(records))]
    assert widths == sorted(widths, reverse=True) and widths[0] > 2 * widths[-1]
    np.testing.assert_allclose(run.predictions.box, np.tile(CORNER, (len(records), 1)))
    assert run.predictions.top5_class[:, 0].tolist() == [record.label for record in records]
    assert compared_runs(listed(""), records, "test") == []
    expected = {other / name for name in ("predictions", "metrics.json", "model/watch.jsonl")}
    assert set(files(listed(f"ACoL={other}")).values()) == expected
    assert (run.watched, run.assignments) == ([], None)


def test_sets_of_another_run_are_joined_by_row(other, dataset):
    records = dataset.splits["test"]
    sets = (np.arange(len(records) + 1, dtype=np.int8) % 3)[:, None, None] * np.ones((1, 8, 10), np.int8)
    np.save(other / "predictions" / "test.assignments.npy", sets)
    (run,) = compared_runs(listed(f"DA-WSOL={other}"), records, "test")
    assignments = [view_of(run, dataset, record, i).assignment for i, record in enumerate(records)]
    assert [assignment[0, 0] for assignment in assignments] == [i % 3 for i in reversed(range(len(records)))]
    assert {assignment.shape for assignment in assignments} == {(8, 10)}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: (w / "predictions" / "test.maps.npy").unlink(), "expected NAME=WORKDIR of a run that predicted"),
        (lambda w: (w / "predictions" / "test.maps.npy").write_bytes(b"?"), "^beside: .*maps.npy is damaged"),
        (lambda w: np.save(w / "predictions" / "test.maps.npy", np.zeros((2, 4, 4))), "a map for each row of test"),
        (lambda w: (w / "metrics.json").write_text("{"), "metrics.json: not readable JSON"),
        (lambda w: (w / "metrics.json").write_text('{"a": "1"}'), "metrics.json: 'a' is '1', not a number; delete it"),
        (lambda w: (w / "curves.json").write_text('{"a": [[1], [2, 3]]}'), r"curves.json: 'a' is .*two lists of"),
        (
            lambda w: np.savez((w / "predictions" / "test.assignments.npy").open("wb"), a=0),
            "assignments.npy is damaged",
        ),
        (lambda w: write_predictions(w / "predictions" / "test.parquet", [], Predictions()), "no row for 6 of 6"),
    ],
)
def test_a_damaged_run_is_an_error_in_one_line(other, dataset, damage, message):
    damage(other)
    with pytest.raises(InputError, match=message) as error:
        compared_runs(listed(f"ACoL={other}"), dataset.splits["test"], "test")
    assert "\n" not in str(error.value)


def test_every_name_is_of_one_method(other, dataset):
    for text, message in (
        (f"a={other},a={other}", "listed twice"),
        (f"maps={other}", "'maps' has another meaning on the page"),
    ):
        with pytest.raises(InputError, match=message):
            compared_runs(listed(text), dataset.splits["test"], "test")


def test_the_box_is_that_of_max_box_acc():
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = score_map(rng.normal(size=(5, 6)), (40, 30))
        threshold = rng.random()
        image = quantise(values)
        contours = largest_contour(image)
        expected = contours.box[int(threshold * image.max())] / [40, 30, 40, 30]
        np.testing.assert_allclose(box_at(values, threshold), expected)
    assert box_at(np.zeros((9, 9)), 0.3).tolist() == [0, 0, 0, 0]


def a_run(values: np.ndarray, predictions: Predictions, **thresholds) -> MapRun:
    keys = {"threshold": None, "pixel_threshold": None} | thresholds
    return MapRun("CAM", lambda i: values, predictions, {}, {}, **keys)


def test_boxes_are_evaluated_by_true_boxes_or_else_regions_by_masks(dataset):
    record = dataset.splits["test"][0]
    mask = dataset.read_mask(record, 64)
    right, wrong = (Predictions(top5_class=np.array([[label]])) for label in (record.label, record.label + 1))
    both = {"threshold": 0.5, "pixel_threshold": 0.5}
    view = view_of(a_run(mask.astype(np.float64), right, **both), dataset, record, 0)
    assert view.iou > 0.9 and view.kind == "right" and view.region is None
    np.testing.assert_allclose(view.box, record.boxes[0], atol=0.05)

    no_boxes = record._replace(boxes=record.boxes[:0])
    view = view_of(a_run(mask.astype(np.float64), wrong, **both), dataset, no_boxes, 0)
    assert view.iou == 1 and view.kind == "wrong class" and view.box is None
    np.testing.assert_array_equal(view.region, mask == 1)
    view = view_of(a_run(np.ones((64, 64)), right, **both), dataset, no_boxes, 0)
    assert view.iou == pytest.approx((mask == 1).mean()) and view.kind == "too large"


def test_without_a_threshold_or_truth_nothing_is_evaluated(dataset):
    record = dataset.splits["test"][0]
    predictions = Predictions(box=CORNER[None])
    for run, of in (
        (a_run(np.eye(64), predictions), record),
        (a_run(np.eye(64), predictions, threshold=0.5), record._replace(boxes=record.boxes[:0], masks=())),
    ):
        view = view_of(run, dataset, of, 0)
        assert (view.box, view.region, view.iou, view.kind) == (None, None, None, None)
        np.testing.assert_array_equal(view.fixed, CORNER)
