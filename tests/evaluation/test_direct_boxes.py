"""The numbers of direct boxes, against cases done by hand and PSOL's own geometry."""

import numpy as np
import pytest

from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.evaluation import direct_boxes
from wsol_jax.evaluation.direct_boxes import ABSENT_RANK, UNKNOWN_RANK, compute, empty, intervals, measure, merge
from wsol_jax.predictions.predictions import Predictions


def photos(n: int, seed: int = 0) -> tuple[list[Record], Predictions]:
    """Random photos of four classes with none to three true boxes each, and the predictions of a poor localizer."""
    rng = np.random.default_rng(seed)

    def random_boxes(m):
        low = rng.uniform(0, 0.4, (m, 2))
        return np.concatenate([low, low + rng.uniform(0.2, 0.6, (m, 2))], axis=-1)

    records = [Record(f"{i}.jpg", i % 4, (300, 200), random_boxes(rng.integers(4))) for i in range(n)]
    top5 = np.stack([rng.permutation(8)[:5] for _ in range(n)]).astype(np.int32)
    return records, Predictions(box=random_boxes(n), top5_class=top5)


def part(predictions: Predictions, rows: slice) -> Predictions:
    return Predictions(*(None if values is None else values[rows] for values in predictions))


def test_by_hand():
    half, whole = np.array([[0.0, 0, 1, 0.5]]), np.array([[0.0, 0, 1, 1]])
    records = [
        Record("half_counts.jpg", 0, (10, 10), half),  # IoU exactly 0.5
        Record("best_of_two.jpg", 0, (10, 10), np.concatenate([half, whole])),
        Record("missed.jpg", 0, (10, 10), np.array([[0.0, 0, 0.1, 0.1]])),
        Record("whole.jpg", 1, (10, 10), whole),
    ]
    top5 = np.array([[0, 1, 2, 3, 4], [9, 8, 7, 6, 0], [0, 1, 2, 3, 4], [9, 8, 7, 6, 5]], np.int32)
    results = measure(records, Predictions(box=np.repeat(whole, 4, axis=0), top5_class=top5))
    np.testing.assert_allclose(results.iou, [0.5, 1, 0.01, 1], rtol=1e-12)
    np.testing.assert_array_equal(results.rank, [0, 4, 0, ABSENT_RANK])
    assert {name: value for name, value in compute(results).items() if not name.startswith("psol_code/")} == {
        "gt_known_loc": 75,
        "top1_loc": 25,
        "top5_loc": 50,
        "top1_cls": 50,
        "top5_cls": 75,
        "photos": 4,
        "photos_with_boxes": 4,
    }


def test_psol_code_by_hand():
    """The crop is 7/8 of the image; class 0 has three photos and class 2 has one, which weighs as much."""
    crop, whole = 1 / 16 + 7 / 8 * np.array([0.0, 0, 1, 1]), np.array([0.0, 0, 1, 1])
    half, most = 1 / 16 + 7 / 8 * np.array([[0, 0, 1, 0.5], [0, 0, 1, 0.75]])
    truth = [half, most, most, whole]
    records = [Record("", label, (10, 10), box[None]) for label, box in zip([0, 0, 0, 2], truth, strict=True)]
    top1 = np.array([[1], [0], [0], [1]], np.int32)
    results = measure(records, Predictions(box=np.stack([crop, crop, crop, whole]), top5_class=top1))
    # In the crop's frame the last truth is clipped to 1 x 1 and the prediction of 8/7 x 8/7 is not.
    np.testing.assert_allclose(results.iou_code, [0.5, 0.75, 0.75, (7 / 8) ** 2], rtol=1e-12)
    metrics = compute(results)
    assert metrics["psol_code/gt_known_loc"] == pytest.approx(100 * (2 / 3 + 1) / 2)  # 0.5 itself is not enough
    assert metrics["psol_code/top1_loc"] == pytest.approx(100 * (2 / 3 + 0) / 2)
    assert metrics["psol_code/top5_cls"] == pytest.approx(100 * (2 / 3 + 0) / 2)
    assert metrics["gt_known_loc"] == 100


def test_truth_in_the_crop_is_psols(goldens):
    cases = np.load(goldens / "psol" / "psol_geom.npz")["cases"]
    size, pixels, answer = cases[:, :2], cases[:, 2:6], cases[:, 14:18]
    assert len(cases) == 40
    np.testing.assert_allclose(direct_boxes.truth_in_crop(pixels / np.tile(size, 2)), answer, rtol=0, atol=1e-6)


def test_a_truth_outside_the_crop_is_missed_by_the_code_alone():
    corner = np.array([[0.0, 0, 0.05, 0.05]])
    results = measure([Record("", 0, (10, 10), corner)], Predictions(box=corner))
    assert results.iou.tolist() == [1]
    assert results.iou_code.tolist() == [0]


def test_without_classes_without_boxes_without_truth():
    records, predictions = photos(50)
    boxes_only = compute(measure(records, predictions._replace(top5_class=None)))
    assert set(boxes_only) == {"gt_known_loc", "psol_code/gt_known_loc", "photos", "photos_with_boxes"}
    expected = {"top1_cls", "top5_cls", "psol_code/top1_cls", "psol_code/top5_cls", "photos", "photos_with_boxes"}
    no_truth = [record._replace(boxes=NO_BOXES) for record in records]
    for results in (measure(records, predictions._replace(box=None)), measure(no_truth, predictions)):
        metrics = compute(results)
        assert set(metrics) == expected
        assert metrics["photos_with_boxes"] == 0
        assert set(intervals(results, 0, 20)) == {f"top{k}_cls/{end}" for k in (1, 5) for end in ("low", "high")}
    nothing = compute(measure(no_truth, Predictions()))
    assert nothing == {"photos": 50, "photos_with_boxes": 0}
    assert intervals(measure(no_truth, Predictions()), 0) == {}


def test_photos_without_truth_change_no_number():
    records, predictions = photos(200)
    seen = [i for i, record in enumerate(records) if len(record.boxes)]
    fewer = measure([records[i] for i in seen], Predictions(box=predictions.box[seen]))
    more = compute(measure(records, predictions._replace(top5_class=None)))
    assert 100 < len(seen) < 200
    assert more.pop("photos") == 200
    assert more == {name: value for name, value in compute(fewer).items() if name != "photos"}


def test_as_one_photo_at_a_time():
    """The arrays equal a plain loop over photos and boxes."""
    records, predictions = photos(120)

    def iou(a, b):
        w = max(0, min(a[2], b[2]) - max(a[0], b[0]))
        h = max(0, min(a[3], b[3]) - max(a[1], b[1]))
        return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)

    pairs = zip(records, predictions.box, strict=True)
    best = [max((iou(true, box) for true in record.boxes), default=np.nan) for record, box in pairs]
    results = measure(records, predictions)
    np.testing.assert_allclose(results.iou, best, rtol=1e-12)
    named = [record.label in top5 for record, top5 in zip(records, predictions.top5_class, strict=True)]
    right = [value >= 0.5 and name for value, name in zip(best, named, strict=True)]
    assert compute(results)["top5_loc"] == pytest.approx(100 * sum(right) / np.isfinite(best).sum())


def test_merging_is_associative_and_halves_make_the_whole():
    records, predictions = photos(90)
    whole = measure(records, predictions)
    a, b, c = (measure(records[rows], part(predictions, rows)) for rows in (slice(13), slice(13, 60), slice(60, None)))
    for merged in (merge(merge(a, b), c), merge(a, merge(b, c)), merge(empty(), whole), merge(whole, empty())):
        for field, value in zip(merged, whole, strict=True):
            assert field.dtype == value.dtype
            np.testing.assert_array_equal(field, value)
    assert compute(merge(merge(a, b), c)) == compute(whole)
    assert compute(empty()) == {"photos": 0, "photos_with_boxes": 0}


def test_the_interval_holds_the_number():
    records, predictions = photos(300)
    results = measure(records, predictions)
    metrics, ends = compute(results), intervals(results, seed=0, resamples=200)
    bare = {"gt_known_loc", "top1_loc", "top5_loc", "top1_cls", "top5_cls"}
    assert set(ends) == {f"{name}/{end}" for name in bare for end in ("low", "high")}
    for name in bare:
        assert ends[f"{name}/low"] < metrics[name] < ends[f"{name}/high"]


def test_unknown_rank_is_no_rank():
    records, predictions = photos(3)
    assert measure(records, predictions._replace(top5_class=None)).rank.tolist() == [UNKNOWN_RANK] * 3
