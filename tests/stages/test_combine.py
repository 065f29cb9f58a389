"""Any localizer with any classifier: the table, ensembles, what cannot be read."""

import experiments
import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.special import softmax

from wsol_jax import run
from wsol_jax.errors import InputError
from wsol_jax.predictions.predictions import Predictions, join, most_probable, top_classes
from wsol_jax.predictions.table import write_predictions
from wsol_jax.stages import combine
from wsol_jax.stages.sources import parse_sources


@pytest.fixture
def records():
    return experiments.scenes().splits["test"]


@pytest.fixture
def places(records, tmp_path):
    """Two localizers, one right on all photos, one on the first two; two classifiers, as the workdirs of runs."""
    truth = np.concatenate([record.boxes for record in records])
    labels = np.array([record.label for record in records])
    half = np.where(np.arange(len(records))[:, None] < 2, truth, truth * 0.1)
    write_predictions(tmp_path / "all.parquet", records, Predictions(box=truth))
    write_predictions(tmp_path / "two.parquet", records, Predictions(box=half))
    rng = np.random.default_rng(0)
    for name, sure in (("a", 1.0), ("b", 3.0)):
        logits = rng.normal(size=(len(records), 3)) + sure * np.eye(3)[labels]
        table = tmp_path / name / "predictions" / "test.parquet"
        order = rng.permutation(len(records))  # a table's rows are in its own order
        write_predictions(table, [records[i] for i in order], top_classes(logits[order]))
        np.save(table.with_suffix(".logits.npy"), logits[order])
        np.save(tmp_path / f"{name}.npy", logits)
    return tmp_path


def combined(places, boxes, classes):
    changes = {"combine.boxes": boxes.format(at=places), "combine.classes": classes.format(at=places)}
    run(experiments.tiny("combine", **changes), places / "w")
    return pq.read_table(places / "w" / "combine" / "table.parquet").to_pylist()


def test_every_pair_has_a_row(places, records):
    rows = combined(places, "all={at}/all.parquet,{at}/two.parquet", "a={at}/a,b={at}/b")
    assert [(row["localizer"], row["classifier"]) for row in rows] == [(x, y) for x in ("all", "two") for y in "ab"]
    labels = [record.label for record in records]
    for row in rows:
        first = np.load(places / f"{row['classifier']}.npy").argmax(-1) == labels
        boxes = np.arange(6) < (6 if row["localizer"] == "all" else 2)
        assert row["gt_known_loc"] == pytest.approx(100 * boxes.mean())
        assert row["top1_cls"] == pytest.approx(100 * first.mean())
        assert row["top1_loc"] == pytest.approx(100 * (first & boxes).mean())
    lines = (places / "w" / "combine" / "table.md").read_text().splitlines()
    assert lines[0] == "| localizer | classifier | gt_known_loc | top1_loc | top5_loc | top1_cls | top5_cls |"
    assert lines[2].startswith("| all | a | 100.00 | ") and len(lines) == 6


def test_an_ensemble_is_the_mean_softmax(places, records):
    (row,) = combined(places, "{at}/all.parquet", "both={at}/a+{at}/b")
    mean = sum(softmax(np.load(places / f"{name}.npy"), -1) for name in "ab")
    assert row["top1_cls"] == pytest.approx(100 * np.mean(mean.argmax(-1) == [record.label for record in records]))


def test_an_ensemble_is_averaged_once_in_parts_and_as_of_all_photos(places, records, monkeypatch):
    parts, joined = [], []

    def counted(logits, axis):
        parts.append(len(logits))
        return softmax(logits, axis)

    def seen(box, classes):
        joined.append(classes)
        return join(box, classes)

    monkeypatch.setattr(combine, "AT_ONCE", 4)
    monkeypatch.setattr(combine, "softmax", counted)
    monkeypatch.setattr(combine, "join", seen)
    combined(places, "{at}/all.parquet", "both={at}/a+{at}/b")
    assert parts == [4, 4, 2, 2] and len(records) == 6
    whole = most_probable(np.mean([softmax(np.load(places / f"{name}.npy"), -1) for name in "ab"], axis=0))
    np.testing.assert_array_equal(joined[0].top5_class, whole.top5_class)
    np.testing.assert_array_equal(joined[0].top5_prob, whole.top5_prob)


def test_members_with_other_classes_are_refused_before_they_are_averaged(places, monkeypatch):
    file = places / "a" / "predictions" / "test.logits.npy"
    np.save(file, np.load(file)[:, :2])
    monkeypatch.setattr(combine, "softmax", None)
    with pytest.raises(InputError, match=r"--config\.combine: classes: the members of x do not have the same number"):
        combined(places, "{at}/all.parquet", "x={at}/a+{at}/b")


def test_boxes_alone(places):
    (row,) = combined(places, "{at}/two.parquet", "")
    assert row == {"localizer": "two", "classifier": "", "gt_known_loc": pytest.approx(100 / 3)}


def test_a_place_that_has_changed_is_told(places):
    combined(places, "{at}/two.parquet", "{at}/a")
    (places / "two.parquet").write_bytes((places / "all.parquet").read_bytes())
    with pytest.raises(InputError, match=r"its input .*two\.parquet is not the same"):
        combined(places, "{at}/two.parquet", "{at}/a")


WRONG = {
    "nothing": ("", "a={at}/a", "boxes is ''; expected NAME=PLACE"),
    "no run": ("{at}/nowhere", "", r"nowhere/predictions/test\.parquet: no such file"),
    "twice": ("x={at}/all.parquet,x={at}/two.parquet", "", "'x' is listed twice"),
    "no boxes": ("{at}/a", "", "expected the columns x0"),
    "ensemble of boxes": ("x={at}/all.parquet+{at}/two.parquet", "", "boxes: x is an ensemble"),
    "no logits": ("{at}/all.parquet", "x={at}/a+{at}/all.parquet", r"all\.logits\.npy: no such file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_one_line(case, places):
    boxes, classes, message = WRONG[case]
    with pytest.raises(InputError, match=message) as error:
        combined(places, boxes, classes)
    assert "\n" not in str(error.value)


def test_logits_of_other_photos_are_refused(places):
    file = places / "a" / "predictions" / "test.logits.npy"
    np.save(file, np.load(file)[:3])
    with pytest.raises(InputError, match=r"shape \(3, 3\); expected a row for each row of test\.parquet"):
        combined(places, "{at}/all.parquet", "x={at}/a+{at}/b")


def test_names_and_places():
    found = parse_sources("x=a/b, c.parquet,d+e/f.parquet", "val")
    assert [source.name for source in found] == ["x", "c", "d+f"]
    assert [file.as_posix() for file in found[2].files] == ["d/predictions/val.parquet", "e/f.parquet"]
