"""Metrics of score maps over photos: both families, their thresholds and their curves."""

import tracemalloc

import experiments
import numpy as np
import pytest

from wsol_jax.data.records import NO_BOXES
from wsol_jax.evaluation import map_boxes, map_pixels, maps
from wsol_jax.evaluation.score_maps import quantise, thresholds

STEP, SIDE = 0.01, 64


@pytest.fixture(scope="module")
def dataset():
    return experiments.scenes()


def measure(dataset, records, source, top1=np.nan):
    return maps.measure("maps", dataset, records, source, np.full(len(records), top1), STEP)


def noisy(dataset, records, seed=0):
    """Maps that are brighter on the object, with noise."""
    rng = np.random.default_rng(seed)
    masks = [dataset.read_mask(record, SIDE) for record in records]
    return [(0.3 * mask + rng.uniform(0, 0.7, mask.shape)).astype(np.float64) for mask in masks].__getitem__


def test_masks_are_pooled_over_photos(dataset):
    records = dataset.splits["test"]
    truth = [dataset.read_mask(record, SIDE).astype(np.float64) for record in records]
    results = measure(dataset, records, truth.__getitem__, top1=1)
    numbers = maps.numbers(results, STEP)
    assert numbers["pxap"] == numbers["piou"] == 100 and results.pixels.object.shape[0] == len(records)
    assert numbers["top1_loc_map"] == numbers["max_box_acc_v2_iou50"] == 100
    source = noisy(dataset, records)
    state = map_pixels.merge(
        map_pixels.measure(record.path, source(i), dataset.read_mask(record, SIDE), STEP)
        for i, record in enumerate(records)
    )
    numbers = maps.numbers(measure(dataset, records, source), STEP)
    assert numbers["pxap"] == map_pixels.compute(state, STEP)["pxap"] < 100


def test_boxes_are_those_of_each_photo_and_its_class(dataset):
    records, top1 = dataset.splits["test"], np.arange(experiments.TEST) % 2.0
    source = noisy(dataset, records)
    results = maps.measure("maps", dataset, records, source, top1, STEP)
    alone = [map_boxes.measure(record, source(i), top1[i]) for i, record in enumerate(records)]
    for field, expected in zip(results.boxes, map_boxes.merge(alone), strict=True):
        np.testing.assert_array_equal(field, expected)
    numbers = maps.numbers(results, STEP)
    assert numbers["maps"] == numbers["maps_with_boxes"] == experiments.TEST
    assert numbers["top1_loc_map"] <= 50
    assert "top1_loc_map" not in maps.numbers(measure(dataset, records, source), STEP)


def test_the_contours_of_one_map_for_all_photos_are_computed_once(dataset, monkeypatch):
    records, gaussian, computed = dataset.splits["test"], maps.center_gaussian(SIDE), []
    of_each = measure(dataset, records, lambda _: gaussian)
    both_contours = map_boxes.both_contours
    monkeypatch.setattr(map_boxes, "both_contours", lambda image: computed.append(image) or both_contours(image))
    of_one = measure(dataset, records, gaussian)
    assert len(computed) == 1
    for field, expected in zip((*of_one.boxes, *of_one.pixels), (*of_each.boxes, *of_each.pixels), strict=True):
        np.testing.assert_array_equal(field, expected)


def test_the_states_of_photos_are_held_once(dataset, monkeypatch):
    """A state has 1030 bytes, of which 1020 are `reached`."""
    monkeypatch.setattr(maps, "in_threads", map)
    records = [dataset.splits["test"][0]._replace(boxes=NO_BOXES, masks=())] * 2000
    tracemalloc.start()
    results = measure(dataset, records, np.zeros((2, 2)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = sum(field.nbytes for field in results.boxes)
    assert size == 1030 * len(records) and peak < 1.5 * size


def test_photos_without_boxes_or_masks(dataset):
    records = dataset.splits["test"]
    source = noisy(dataset, records)
    of_pixels = maps.numbers(measure(dataset, [r._replace(boxes=NO_BOXES) for r in records], source), STEP)
    assert set(of_pixels) == {"pxap", "piou", "piou/threshold"}
    results = measure(dataset, [record._replace(masks=()) for record in records], source)
    assert results.pixels is None
    assert {"max_box_acc", "maps"} <= set(maps.numbers(results, STEP)) and "pxap" not in maps.curves(results, STEP)
    nothing = measure(dataset, [record._replace(boxes=NO_BOXES, masks=()) for record in records], source)
    assert (
        maps.numbers(nothing, STEP)
        == maps.numbers_at(nothing, {maps.VALIDATED: {}}, STEP)
        == maps.curves(nothing, STEP)
        == {}
    )


def test_thresholds_of_validation_photos_are_no_better_than_the_own_ones(dataset):
    test, train = (measure(dataset, dataset.splits[s], noisy(dataset, dataset.splits[s])) for s in ("test", "train"))
    own = maps.numbers(test, STEP)
    names = {name for name in own if not name.endswith("/threshold") and not name.startswith("maps")} - {"pxap"}
    for validated, compare in ((maps.numbers(train, STEP), np.less_equal), (own, np.equal)):
        numbers = maps.numbers_at(test, {maps.VALIDATED: validated}, STEP)
        assert set(numbers) == {f"val_threshold/{name}" for name in names}
        assert all(compare(numbers[f"val_threshold/{name}"], own[name]) for name in names)


def test_thresholds_of_pseudo_boxes_are_those_of_a_slow_search(dataset):
    """Boxes shifted from the true ones choose; each threshold is the lowest at which most photos agree with them."""
    records = dataset.splits["test"]
    shifted = [record._replace(boxes=np.minimum(record.boxes + 0.08, 1), masks=()) for record in records]
    source = noisy(dataset, records)
    top1 = np.arange(len(records)) % 2.0
    pseudo, test = (
        maps.measure("maps", dataset, of, source, labels, STEP)
        for of, labels in ((shifted, np.full(len(records), np.nan)), (records, top1))
    )
    chosen = maps.pseudo_thresholds(pseudo, STEP)

    images = [quantise(source(i)) for i in range(len(records))]
    ious = {
        id(of): [
            map_boxes.best_ious(
                image, map_boxes.published_truth(record, image.shape), record.boxes, map_boxes.both_contours(image)
            )
            for image, record in zip(images, of, strict=True)
        ]
        for of in (shifted, records)
    }

    def right(of, contours, iou, threshold):
        levels = [int(threshold * image.max()) for image in images]
        return np.array([each[contours, level] >= iou for each, level in zip(ious[id(of)], levels, strict=True)])

    names = {
        "max_box_acc": (map_boxes.LARGEST, 0.5),
        "max_box_acc_v2_iou50": (map_boxes.EVERY, 0.5),
        "max_box_acc_v2_iou70": (map_boxes.EVERY, 0.7),
        "exact/max_box_acc": (map_boxes.LARGEST_EXACT, 0.5),
    }
    numbers = maps.numbers_at(test, {maps.BY_PSEUDO: chosen}, STEP)
    for name, metric in names.items():
        hits = [right(shifted, *metric, threshold).sum() for threshold in thresholds(STEP)]
        best = thresholds(STEP)[int(np.argmax(hits))]
        assert chosen[f"{name}/threshold"] == best
        assert numbers[f"pseudo_threshold/{name}"] == pytest.approx(100 * right(records, *metric, best).mean())
    at = chosen["top1_loc_map/threshold"]
    assert at == chosen["max_box_acc_v2_iou50/threshold"]
    both = right(records, map_boxes.EVERY, 0.5, at) & (top1 == 1)
    assert numbers["pseudo_threshold/top1_loc_map"] == pytest.approx(100 * both.mean())
    assert "pseudo_threshold/piou" not in numbers and numbers["pseudo_threshold/max_box_acc_v2"] > 0


def test_curves_peak_at_the_numbers(dataset):
    records = dataset.splits["test"]
    results = measure(dataset, records, noisy(dataset, records))
    numbers, curves = maps.numbers(results, STEP), maps.curves(results, STEP)
    for name in ("max_box_acc", "max_box_acc_v2_iou70", "exact/max_box_acc", "piou"):
        x, y = curves[name]
        np.testing.assert_allclose(x, thresholds(STEP), atol=1e-4)
        assert max(y) == pytest.approx(numbers[name], abs=1e-4)
        assert x[int(np.argmax(y))] == pytest.approx(numbers[f"{name}/threshold"], abs=1e-4)
    recall, precision = curves["precision"]
    assert recall == sorted(recall) and recall[-1] == 100 and max(precision) <= 100


def test_the_baseline_is_a_centred_gaussian():
    gaussian = maps.center_gaussian(SIDE)
    assert (gaussian.shape, gaussian.dtype, gaussian.min(), gaussian.max()) == ((SIDE, SIDE), np.float64, 0, 1)
    for mirrored in (gaussian[::-1], gaussian[:, ::-1], gaussian.T):
        np.testing.assert_allclose(mirrored, gaussian, atol=1e-12)
    assert gaussian.argmax() % SIDE in (SIDE // 2 - 1, SIDE // 2)
    assert (np.diff(gaussian[SIDE // 2, SIDE // 2 :]) < 0).all()
