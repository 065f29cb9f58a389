"""The best centred box: against a search by hand, and on real birds."""

import numpy as np
import pytest
from PIL import Image

from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.evaluation.center_box import best_center_box
from wsol_jax.evaluation.direct_boxes import compute, measure
from wsol_jax.predictions.predictions import Predictions


def centered(s: float) -> np.ndarray:
    return np.array([[0.5 - s / 2, 0.5 - s / 2, 0.5 + s / 2, 0.5 + s / 2]])


def test_one_box_for_all():
    """Squares of 0.4, 0.5 and 0.6 all overlap by half with s in [0.6 / sqrt 2, 0.4 sqrt 2] = [0.425, 0.565]."""
    records = [Record("", 0, (10, 10), centered(s)) for s in (0.4, 0.5, 0.6)]
    box, gt_known_loc = best_center_box([*records, Record("without a box", 0, (10, 10), NO_BOXES)])
    np.testing.assert_allclose(box, centered(0.43)[0], rtol=1e-12)
    assert gt_known_loc == 100


def test_its_number_is_the_metrics():
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 0.4, (200, 1, 2))
    truth = np.concatenate([low, low + rng.uniform(0.2, 0.6, (200, 1, 2))], axis=-1)
    records = [Record("", 0, (10, 10), box) for box in truth]
    box, gt_known_loc = best_center_box(records)
    metrics = compute(measure(records, Predictions(box=np.tile(box, (200, 1)))))
    assert metrics["gt_known_loc"] == pytest.approx(gt_known_loc)
    for s in (0.3, 0.5, 0.7, 0.9):
        tried = compute(measure(records, Predictions(box=np.tile(centered(s), (200, 1)))))
        assert tried["gt_known_loc"] <= gt_known_loc


def test_nothing_to_compare_with():
    with pytest.raises(ValueError, match="no photo has a true box"):
        best_center_box([Record("", 0, (10, 10), NO_BOXES)])


@pytest.mark.real
def test_on_real_birds(shared):
    """A localizer on these birds has to beat 57 %: they sit in the middle of their photos."""
    folder = shared / "data" / "birds25" / "CUB_200_2011"
    rows = {
        name: dict(line.split(" ", 1) for line in (folder / f"{name}.txt").read_text().splitlines())
        for name in ("images", "bounding_boxes", "train_test_split")
    }
    records = []
    for number, path in rows["images"].items():
        if rows["train_test_split"][number] == "0":
            size = Image.open(folder / "images" / path).size
            x, y, w, h = (float(value) for value in rows["bounding_boxes"][number].split())
            records.append(Record(path, 0, size, np.array([[x, y, x + w, y + h]]) / np.tile(size, 2)))
    assert len(records) == 652
    box, gt_known_loc = best_center_box(records)
    np.testing.assert_allclose(box, centered(0.64)[0], rtol=1e-12)
    assert gt_known_loc == pytest.approx(100 * 370 / 652)
