"""Confidence: between 0 and 1, higher for what is sharp and stable, 0 where nothing was detected."""

import numpy as np
import pytest

from wsol_jax.pseudo.confidence import (
    heat_confidence,
    heat_inside,
    log_area,
    mean_confidence,
    mirror_confidence,
    region_confidences,
)
from wsol_jax.pseudo.regions import NO_REGION, heat_box, heat_regions

LEVELS = (-0.1, 0.0, 0.1, 0.2, 0.3)


def blob(sharpness: float) -> np.ndarray:
    """A heat map that falls from the middle outwards, the more steeply the sharper."""
    y, x = np.mgrid[:56, :56] / 55 - 0.5
    return np.tanh(sharpness * (0.06 - x**2 - y**2)).astype(np.float32)


def confidence(heat: np.ndarray) -> float:
    return heat_confidence(heat, heat_box(heat, "nearest_code", 0, LEVELS))


def test_a_sharp_object_is_more_certain_than_a_flat_one():
    assert 1 > confidence(blob(300.0)) > confidence(blob(2.0)) > 0


def test_the_unit_of_the_heat_does_not_matter():
    assert confidence(1000 * blob(5.0)) == pytest.approx(confidence(blob(5.0)), abs=1e-6)


def test_a_whole_image_for_want_of_an_object_has_none():
    assert heat_confidence(np.zeros((14, 14), np.float32), NO_REGION) == 0


def test_the_only_region_has_the_confidence_of_the_box_and_two_have_less():
    heat = blob(20.0)
    (only,) = region_confidences(heat, heat_regions(heat, "nearest_code", 0))
    assert only == heat_confidence(heat, heat_box(heat, "nearest_code", 0))
    pair = np.concatenate([heat, heat], axis=1)
    two = region_confidences(pair, heat_regions(pair, "nearest_code", 0))
    assert two[0] == pytest.approx(two[1]) and 0 < two[0] < only


def test_heat_inside_is_a_share_of_the_positive_heat_at_cell_centres():
    heat = np.array([[1.0, 3.0], [-5.0, 4.0]])
    assert heat_inside(heat, np.array([0.5, 0.0, 1.0, 1.0])) == pytest.approx(7 / 8)
    assert heat_inside(heat, np.array([0.0, 0.0, 1.0, 1.0])) == 1
    assert heat_inside(-heat * 0, np.array([0.0, 0.0, 1.0, 1.0])) == 0


def test_area_is_held_between_its_bounds():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0.2, 0.2, 0.2, 0.9]], np.float64)
    np.testing.assert_allclose(log_area(boxes), np.log([0.5, 0.25, 1e-6]))


def test_mirror_images_that_agree_are_more_certain():
    box = np.tile([0.2, 0.2, 0.7, 0.8], (3, 1))
    found = mirror_confidence(box, np.array([0.0, 0.5, 1.0]))
    assert found.dtype == np.float32 and (np.diff(found) > 0).all() and 0 < found.min() < found.max() < 1
    assert found[2] == pytest.approx(1 / (1 + np.exp(-(0.758 + 4.296 + 1.861 * np.log(0.3)))), abs=1e-6)


def test_a_mean_of_boxes_that_agree_is_more_certain_than_the_pseudo_box_and_of_others_less():
    pseudo = np.array([0.5, 0.5, 0.9, 0.9, 1.0, 0.0], np.float32)
    mean = mean_confidence(pseudo, np.array([0.2, 0.9, 0.2, 1.0, 1.0, 1.0]))
    assert mean.dtype == np.float32 and ((mean > 0) & (mean < 1)).all()
    assert mean[0] < 0.5 < mean[1] and mean[2] < 0.9 < mean[3] < mean[4] and mean[5] < 1e-3
    assert mean[1] == pytest.approx(1 / (1 + np.exp(1.061 - 1.610 * 0.9)), abs=1e-6)
