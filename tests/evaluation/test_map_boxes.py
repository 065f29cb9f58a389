"""MaxBoxAcc and similar metrics: wsolevaluation's numbers to the last digit, its unit tests, and cases by hand."""

import json

import numpy as np
import pytest

from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.errors import InputError
from wsol_jax.evaluation import map_boxes
from wsol_jax.evaluation.contours import largest_contour
from wsol_jax.evaluation.map_boxes import EVERY, LARGEST, accuracy_curve, compute, compute_at, curves, measure, merge
from wsol_jax.evaluation.score_maps import quantise


def record(box: list[list[float]], size: tuple[int, int] = (100, 100), path: str = "a.jpg") -> Record:
    return Record(path, 0, size, np.array(box, np.float64).reshape(-1, 4) / np.tile(size, 2))


def compare(golden: dict, maps: np.ndarray) -> None:
    """Every accuracy and every point of every curve is the published evaluator's."""
    boxes, sizes = json.loads(str(golden["boxes"])), json.loads(str(golden["sizes"]))
    records = [record(boxes[str(name)], tuple(sizes[str(name)]), str(name)) for name in golden["ids"]]
    state = merge(measure(photo, score_map) for photo, score_map in zip(records, maps, strict=True))
    for key in (key for key in golden if key.startswith("curve_")):
        _, mode, step = key.split("_")
        for reached in (1, 2, 3):
            curve = accuracy_curve(state, {"m0": LARGEST, "m1": EVERY}[mode], reached, step=float(step))
            np.testing.assert_array_equal(curve, golden[key][reached - 1] * 100.0 / len(records))
            assert curve.max() == golden[f"acc_{mode}_{step}"][reached - 1]
    metrics = compute(state)
    assert metrics["max_box_acc"] == golden["acc_m0_0.001"][1]
    assert metrics["max_box_acc_v2"] == np.mean(golden["acc_m1_0.001"])


def test_published_numbers(goldens):
    """The maps are stored as they were quantised; a value inside its bin is quantised to the same again."""
    golden = dict(np.load(goldens / "evaluation" / "eval_box_multi.npz"))
    compare(golden, (golden["maps"] + 0.5) / 255.5)


@pytest.mark.real
@pytest.mark.parametrize("name", ["eval_box", "eval_box_multi"])
def test_published_numbers_of_the_maps_themselves(shared, name):
    golden = dict(np.load(shared / "goldens" / "evaluation" / f"{name}.npz"))
    if "gt_resized" in golden:
        sizes, answer = json.loads(str(golden["sizes"])), json.loads(str(golden["gt_resized"]))
        for path, boxes in json.loads(str(golden["boxes"])).items():
            truth = map_boxes.published_truth(record(boxes, tuple(sizes[path])), (224, 224))
            np.testing.assert_array_equal(truth, answer[path])
    compare(golden, golden["maps"])


@pytest.mark.parametrize(
    ("score_map", "answer"),
    [
        ([[0, 0, 0], [0, 0, 0], [0, 0, 0]], [[0, 0, 0, 0]] * 5),
        (
            [[0, 0, 0, 0, 0], [0, 0.3, 0.3, 0.3, 0.5], [0, 0.3, 1, 0.75, 0.7], [0, 0.3, 0.3, 0.3, 0.5]],
            [[1, 1, 4, 3], [1, 1, 4, 3], [2, 1, 4, 3], [2, 2, 4, 3], [2, 2, 3, 3]],
        ),
        (
            [[0.35, 0, 0.15, 0.15, 0.15], [0.35, 0.35, 0, 0.35, 0], [0, 0, 0, 0.35, 0], [1, 0.55, 0.75, 0.15, 0.15]],
            [[0, 0, 4, 3], [0, 0, 2, 2], [0, 3, 3, 3], [2, 3, 3, 3], [0, 3, 1, 3]],
        ),
    ],
    ids=["zeros", "one_peak", "many_peaks"],
)
def test_boxes_of_the_published_unit_tests(score_map, answer):
    image = quantise(np.array(score_map, np.float64))
    h, w = image.shape
    contours = largest_contour(image)
    boxes = np.minimum(contours.box, [w, h, w - 1, h - 1])
    levels = [int(tau * image.max()) for tau in np.arange(0, 1, 0.2)]
    at_levels = [boxes[(contours.low <= level) & (level < contours.high)].tolist() for level in levels]
    assert at_levels == [[box] for box in answer]


def test_truth_is_truncated_as_published():
    """10 x 20 pixels to 35 x 10: (1, 2, 4, 3) becomes (3, 1, 14, 1)."""
    truth = map_boxes.published_truth(record([[1, 2, 4, 3]], (10, 20)), (35, 10))
    np.testing.assert_array_equal(truth, [[3, 1, 14, 1]])


def test_a_perfect_map_has_964_and_exactly_1():
    score_map = np.zeros((224, 224))
    score_map[50:100, 60:120] = 1
    truth = record([[60, 50, 119, 99]], (224, 224))
    image = quantise(score_map)
    contours = map_boxes.both_contours(image)
    iou = map_boxes.best_ious(image, map_boxes.published_truth(truth, (224, 224)), truth.boxes, contours)
    assert iou[:2, 0].tolist() == [3000 / (61 * 51)] * 2
    half_open = record([[60, 50, 120, 100]], (224, 224))
    iou = map_boxes.best_ious(image, map_boxes.published_truth(half_open, (224, 224)), half_open.boxes, contours)
    np.testing.assert_allclose(iou[2:, 0], 1, rtol=1e-12)


def test_zeros_have_a_box_of_one_pixel_when_published():
    state = measure(record([[0, 0, 0, 0]], (9, 9)), np.zeros((9, 9)))
    assert state.reached[0, :, 0].tolist() == [3, 3, 0, 0]
    assert measure(record([[2, 2, 8, 8]], (9, 9)), np.zeros((9, 9))).reached.max() == 0


def photos(n: int, seed: int) -> map_boxes.MapBoxes:
    """The state of n maps with a bright box that overlaps the true one more or less, in a haze of their own."""
    rng = np.random.default_rng(seed)
    states = []
    for i in range(n):
        x, y = rng.integers(2, 20, 2)
        score_map = rng.uniform(0, 0.5) * np.ones((40, 40)) + rng.uniform(0, 0.2, (40, 40))
        score_map[y : y + 15, x : x + 15] += 0.3
        low = np.maximum(np.array([x, y]) + rng.integers(-4, 5, 2), 0)
        truth = record([[*low, *(low + rng.integers(10, 18, 2))]] if i % 5 else [], (40, 40))
        states.append(measure(truth, score_map, top1=float(rng.random() < 0.7)))
    return merge(states)


def test_top1_is_at_one_threshold_and_bounded_by_both():
    state = photos(40, 0)
    curve = curves(state)
    assert (curve["top1_loc_map"] <= curve["max_box_acc_v2_iou50"]).all()
    seen = state.has_truth
    right = (state.reached[:, EVERY] >= 2) & (state.top1 == 1)[:, None]
    level = int(compute(state)["top1_loc_map/threshold"] * 1000 + 0.5) / 1000 * state.highest
    expected = 100 * np.mean([right[i, int(level[i])] for i in np.flatnonzero(seen)])
    assert 0 < compute(state)["top1_loc_map"] == pytest.approx(expected)
    assert "top1_loc_map" not in compute(state._replace(top1=np.full(40, np.nan)))


def test_validated_thresholds_never_beat_the_oracle():
    test, validation = compute(photos(40, 1)), compute(photos(20, 2))
    validated = compute_at(photos(40, 1), validation)
    assert set(validated) == {name for name in test if not name.endswith("/threshold") and not name.startswith("maps")}
    assert all(value <= test[name] for name, value in validated.items())
    again = compute_at(photos(40, 1), test)
    assert again == {name: test[name] for name in again}


def test_merging():
    whole, parts = photos(30, 3), photos(30, 3)
    halves = [map_boxes.MapBoxes(*(field[rows] for field in parts)) for rows in (slice(11), slice(11, None))]
    for state in (merge(halves), merge([merge([]), whole]), merge([merge(halves[:1]), halves[1]])):
        for field, expected in zip(state, whole, strict=True):
            assert field.dtype == expected.dtype
            np.testing.assert_array_equal(field, expected)
    assert compute(merge([])) == {"maps": 0, "maps_with_boxes": 0}


def test_photos_without_truth_change_no_number():
    state = photos(30, 4)
    seen = map_boxes.MapBoxes(*(field[state.has_truth] for field in state))
    with_them, without = compute(state), compute(seen)
    assert (with_them.pop("maps"), without.pop("maps")) == (30, 24)
    assert with_them == without
    assert not measure(Record("", 0, (9, 9), NO_BOXES), np.eye(9)).has_truth[0]


@pytest.mark.parametrize("box", [[-1, 0, 5, 5], [5, 0, 4, 5], [0, 5, 5, 4]])
def test_a_wrong_true_box_is_named(box):
    with pytest.raises(InputError, match=r"c1/b.jpg: true boxes .* expected 0 <= x0 <= x1"):
        measure(record([box], path="c1/b.jpg"), np.eye(9))


def test_a_wrong_map_is_named():
    with pytest.raises(InputError, match=r"c1/b.jpg: it has NaN"):
        measure(record([[0, 0, 5, 5]], path="c1/b.jpg"), np.full((9, 9), np.nan))
