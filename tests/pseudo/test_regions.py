import numpy as np
import pytest

from wsol_jax import boxes
from wsol_jax.errors import InputError
from wsol_jax.pseudo.regions import (
    BOX_SIDE,
    bounds,
    every_region,
    heat_box,
    heat_mask,
    heat_regions,
    largest_region,
    scored_box,
    scored_regions,
)


def mask(text: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in text.split()])


def test_diagonal_cells_are_one_region():
    np.testing.assert_array_equal(largest_region(mask("#... .#.. ..#. ...#")), np.eye(4, dtype=bool))


def test_the_largest_region_wins():
    np.testing.assert_array_equal(largest_region(mask("#..## ...## ##...")), mask("...## ...## ....."))


def test_of_equal_regions_the_first_in_raster_order_wins():
    np.testing.assert_array_equal(largest_region(mask("..##. ..... ##...")), mask("..##. ..... ....."))


def test_nothing_has_no_region():
    assert not largest_region(mask("... ...")).any()


def test_bounds_are_half_open():
    np.testing.assert_allclose(bounds(mask("..... .##.. .##..")), [1 / 5, 1 / 3, 3 / 5, 1])


def test_nearest_code_keeps_to_the_grid_and_zero_is_not_positive():
    heat = np.full((14, 14), -1.0, np.float32)
    heat[3:7, 5:10] = 2.0
    heat[0] = 0.0
    box, mean, fallback = heat_box(heat, "nearest_code", 448)
    np.testing.assert_allclose(box, [5 / 14, 3 / 14, 10 / 14, 7 / 14])
    assert mean == 2.0
    assert fallback is False


def test_bilinear_paper_draws_between_the_cells():
    heat = np.full((14, 14), -1.0, np.float32)
    heat[3:7, 5:10] = 1.0
    box, _, _ = heat_box(heat, "bilinear_paper", 448)
    # Between a cell of 1 and one of -1 the interpolated heat crosses zero half a way, which is the cells' border.
    np.testing.assert_allclose(box, [5 / 14, 3 / 14, 10 / 14, 7 / 14], atol=1 / 448)
    heat[3:7, 5:10] = 3.0
    wider, _, _ = heat_box(heat, "bilinear_paper", 448)
    assert boxes.area(wider) > boxes.area(box)


def test_an_empty_map_is_the_whole_image_and_says_so():
    for heat in (np.zeros((14, 14), np.float32), np.full((14, 14), -1.0, np.float32)):
        box, mean, fallback = heat_box(heat, "nearest_code", 448)
        np.testing.assert_array_equal(box, [0, 0, 1, 1])
        assert (mean, fallback) == (0.0, True)


def test_another_threshold_is_refused():
    with pytest.raises(InputError, match=r"pseudo\.threshold is 'otsu'; expected 'nearest_code'"):
        heat_box(np.zeros((2, 2)), "otsu", 4)


def test_the_box_is_the_mean_over_the_levels_that_have_one():
    heat = np.full((14, 14), -1.0, np.float32)
    heat[3:9, 5:11] = 1.0
    heat[4:6, 6:8] = 8.0
    large, small = (heat_box(heat, "nearest_code", 448, (level,)).box for level in (0.0, 2.0))
    assert boxes.area(large) > boxes.area(small) > 0
    found = heat_box(heat, "nearest_code", 448, (0.0, 2.0, 1e6))
    np.testing.assert_allclose(found.box, (large + small) / 2)
    assert not found.fallback
    np.testing.assert_array_equal(heat_box(1000 * heat, "nearest_code", 448, (0.0, 2.0)).box, found.box)


def test_a_level_that_nothing_reaches_is_the_whole_image():
    heat = np.random.default_rng(0).standard_normal((14, 14)).astype(np.float32)
    assert heat_box(heat, "nearest_code", 448, (50.0,)).fallback
    assert heat_box(np.zeros((14, 14), np.float32), "nearest_code", 448, (-0.1, 0.3)).fallback


def test_the_box_of_a_map_is_that_of_its_largest_region():
    activation = np.zeros((4, 4))
    activation[1, 0] = 1
    x0, y0, x1, y1 = scored_box(activation, 0.2).box
    assert x0 == 0 and 0.15 < y0 < 0.3 and 0.25 < x1 < 0.45 and 0.45 < y1 < 0.6


def test_the_score_of_a_box_is_the_mean_of_its_region():
    ramp = np.tile(np.arange(BOX_SIDE) / (BOX_SIDE - 1), (BOX_SIDE, 1))
    box, score, fallback = scored_box(5 * ramp - 3, 0.5)  # it is stretched first
    np.testing.assert_array_equal(box, [0.5, 0, 1, 1])
    assert (score, fallback) == (pytest.approx(ramp[0, 112:].mean()), False)


def test_the_box_of_a_constant_map_is_the_whole_image():
    box, score, fallback = scored_box(np.ones((4, 4)), 0.5)
    assert (box.tolist(), score, fallback) == ([0, 0, 1, 1], 0, True)


def three_objects() -> np.ndarray:
    """Heat of 60, 30 and 10 on regions of 6, 15 and 1 cells."""
    heat = np.full((14, 14), -1.0, np.float32)
    heat[0:2, 0:3], heat[4:7, 4:9], heat[12, 12] = 10.0, 2.0, 10.0
    return heat


@pytest.mark.parametrize(("share", "count"), [(0.0, 3), (0.1, 3), (0.11, 2), (0.3, 2), (0.31, 1), (0.61, 0)])
def test_regions_with_a_share_of_the_heat_are_kept_most_heat_first(share, count):
    kept = every_region(three_objects(), 0.0, share)
    assert [int(one.mask.sum()) for one in kept] == [6, 15, 1][:count]
    assert [one.score for one in kept] == [10, 2, 10][:count]
    for one in kept:
        np.testing.assert_array_equal(one.box, bounds(one.mask))


def test_one_of_several_regions_is_the_one_box():
    heat = three_objects()
    cut, regions = heat_box(heat, "nearest_code", 0), heat_regions(heat, "nearest_code", 0)
    assert any(np.array_equal(cut.box, one.box) and cut.score == one.score for one in regions)
    scored, of_map = scored_box(heat, 0.2), scored_regions(heat, 0.2, 0.0)
    assert any(np.array_equal(scored.box, one.box) and scored.score == one.score for one in of_map)


def test_several_levels_have_the_regions_of_their_mean():
    heat = three_objects()
    wider = heat_regions(heat, "nearest_code", 0, (0.0, 1.0))  # above 2, the heat of the second region
    assert [int(one.mask.sum()) for one in wider] == [int((heat[:3] > heat.std() / 2).sum()), 15, 1][: len(wider)]


def test_a_map_without_heat_has_no_region():
    for heat in (np.zeros((14, 14), np.float32), np.full((14, 14), -1.0, np.float32)):
        assert heat_regions(heat, "nearest_code", 0) == scored_regions(heat, 0.2, 0.0) == []


def test_a_mask_is_the_share_of_the_levels_whose_region_a_cell_is_in():
    heat = np.random.default_rng(0).normal(size=(14, 14)).cumsum(0).cumsum(1)
    levels = (-0.1, 0.0, 0.5, 1.0)
    regions = [largest_region(heat > level * heat.std()) for level in levels]
    np.testing.assert_allclose(heat_mask(heat, levels), np.mean(regions, axis=0))
    np.testing.assert_allclose(
        heat_box(heat, "nearest_code", 448, levels).box, np.mean([*map(bounds, regions)], axis=0)
    )
    assert not heat_mask(np.zeros((3, 3)), levels).any()
