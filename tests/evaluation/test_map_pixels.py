"""PxAP and peak IoU: the published numbers to the last digit, those of its unit tests, and wrong masks."""

import numpy as np
import pytest

from wsol_jax.data.masks import combine
from wsol_jax.errors import InputError
from wsol_jax.evaluation.map_pixels import (
    BACKGROUND,
    IGNORED,
    OBJECT,
    PixelScores,
    compact,
    compute,
    compute_at,
    iou_curve,
    measure,
    merge,
    pooled,
    put,
)
from wsol_jax.evaluation.score_maps import thresholds


@pytest.mark.real
def test_published_numbers(shared):
    golden = np.load(shared / "goldens" / "evaluation" / "eval_mask.npz")
    state = merge(
        measure(str(name), score_map, combine([golden[f"mask_{i}"] != 0], golden[f"ign_{i}"] != 0, 224))
        for i, (name, score_map) in enumerate(zip(golden["ids"], golden["maps"], strict=True))
    )
    assert compute(state)["pxap"] == golden["pxap"]
    assert compute(state)["piou"] == golden["piou"]
    np.testing.assert_array_equal(iou_curve(state), golden["iou"])


@pytest.mark.parametrize(("objects", "background"), [(43031, 7145), (833, 49342), (347, 13909)])
def test_a_constant_map_has_the_share_of_the_object(objects, background):
    mask = np.full((224, 224), IGNORED, np.uint8)
    mask.ravel()[:objects], mask.ravel()[objects : objects + background] = OBJECT, BACKGROUND
    for value in (0.0, 0.5, 1.0):
        metrics = compute(measure("", np.full((224, 224), value), mask))
        assert metrics["pxap"] == pytest.approx(100 * objects / (objects + background), rel=1e-12)
        assert metrics["piou"] == metrics["pxap"]


def test_a_perfect_map_has_100():
    mask = (np.random.default_rng(0).random((20, 20)) < 0.3).astype(np.uint8)
    metrics = compute(measure("", mask.astype(np.float64), mask))
    assert metrics["pxap"] == pytest.approx(100, rel=1e-12)
    assert (metrics["piou"], metrics["piou/threshold"]) == (100, 1)


@pytest.mark.parametrize("step", [0.001, 0.01, 0.3])
def test_bins_are_numpys(step):
    """Scores on the edges, just below and just above them, and anywhere."""
    rng = np.random.default_rng(0)
    edges = np.append(thresholds(step), 1.0)
    scores = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges[:-1], 1), rng.random(1000)])[None]
    mask = rng.choice([OBJECT, BACKGROUND, IGNORED], scores.shape).astype(np.uint8)
    state = measure("", scores, mask, step)
    bins = np.append(thresholds(step), [1, 2, 3])
    for counts, kind in zip(state, (OBJECT, BACKGROUND), strict=True):
        np.testing.assert_array_equal(counts, np.histogram(scores[mask == kind], bins)[0])


def test_halves_add_up_and_validated_thresholds():
    rng = np.random.default_rng(1)
    maps, masks = rng.random((6, 30, 30)), (rng.random((6, 30, 30)) < 0.4).astype(np.uint8)
    parts = [measure("", score_map, mask) for score_map, mask in zip(maps, masks, strict=True)]
    whole = measure("", maps.reshape(-1, 30), masks.reshape(-1, 30))
    assert compute(merge([merge(parts[:2]), merge(parts[2:])])) == compute(whole)
    assert compute_at(whole, compute(whole)) == {"piou": compute(whole)["piou"]}
    assert compute_at(whole, {"piou/threshold": 0.9})["piou"] < compute(whole)["piou"]


def test_rows_have_the_smallest_type_of_all_photos():
    """The second photo has no mask, the third more pixels in a bin than a byte holds, and the last few again."""
    counts = {0: 255, 2: 70_000, 3: 256, 4: 3}
    photos = None
    for i, count in counts.items():
        photos = put(photos, 5, i, compact(PixelScores(np.array([count, 1]), np.array([2, 9]))))
    assert [rows.dtype for rows in photos] == [np.uint32, np.uint8]
    assert photos.object.tolist() == [[255, 1], [0, 0], [70_000, 1], [256, 1], [3, 1]]
    assert pooled(photos).background.tolist() == [8, 36]


def test_wrong_input_is_named():
    nothing = measure("", np.eye(4), np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError, match="none of their pixels belongs to an object"):
        compute(nothing)
    with pytest.raises(InputError, match=r"a.jpg: it is 4 x 4 pixels wide and high, expected 3 x 5"):
        measure("a.jpg", np.eye(4), np.zeros((5, 3), np.uint8))
