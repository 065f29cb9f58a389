"""Views whose features are kept: whole, mirrored, and crops that depend on seed, photo and number alone."""

import numpy as np

from wsol_jax import boxes
from wsol_jax.data.kept_views import box_in_view, kept_view, kept_views, mask_in_view

BOX = np.array([0.2, 0.3, 0.6, 0.9])


def test_the_first_two_are_the_photo_and_its_mirror_image():
    whole, mirror = kept_view(0, 5, 0), kept_view(0, 5, 1)
    assert (whole.index, whole.flip, mirror.flip) == (5, False, True)
    np.testing.assert_array_equal(box_in_view(BOX, whole), BOX)
    np.testing.assert_allclose(box_in_view(BOX, mirror), [0.4, 0.3, 0.8, 0.9])


def test_crops_have_their_share_of_the_area_and_stay_inside():
    windows = np.array([kept_view(0, index, 2).window for index in range(300)])
    area = boxes.area(windows)
    assert windows.min() >= 0 and windows.max() <= 1
    assert 0.35 <= area.min() < 0.4 and 0.9 < area.max() <= 1
    flips = [kept_view(0, index, 2).flip for index in range(300)]
    assert 100 < sum(flips) < 200


def test_a_view_depends_on_seed_photo_and_number_alone():
    views = list(kept_views(3, [7, 2], 4))
    assert [view.index for view in views] == [7] * 4 + [2] * 4
    np.testing.assert_array_equal(views[6].window, kept_view(3, 2, 2).window)
    others = (kept_view(4, 2, 2), kept_view(3, 1, 2), kept_view(3, 2, 3))
    assert all((views[6].window != other.window).any() for other in others)


def test_a_box_is_cut_to_the_crop_and_returns_from_it():
    view = kept_view(0, 0, 3)
    inside = view.window[[0, 1, 0, 1]] + 0.25 * np.array([0.4, 0.4, 1, 1]) * np.tile(
        view.window[2:] - view.window[:2], 2
    )
    there = boxes.mirror(box_in_view(inside, view), np.array(view.flip))
    np.testing.assert_allclose(boxes.out_of_window(there, view.window), inside)
    assert box_in_view(np.array([0.0, 0.0, 1.0, 1.0]), view).tolist() == [0, 0, 1, 1]


def test_a_mask_is_seen_as_its_box_is():
    mask = np.zeros((56, 56), np.float32)
    mask[14:42, 7:21] = 1
    box = np.array([7, 14, 21, 42]) / 56
    for view in kept_views(0, [0, 1, 2], 4):
        seen = mask_in_view(mask, view, 56)
        left, top, right, bottom = 56 * box_in_view(box, view)
        inside = slice(int(np.ceil(top)), int(bottom)), slice(int(np.ceil(left)), int(right))
        assert (seen[inside] > 0.99).all()
        assert abs(seen.sum() - (right - left) * (bottom - top)) < 0.02 * 56 * 56
    np.testing.assert_array_equal(mask_in_view(mask, kept_view(0, 0, 1), 56), mask[:, ::-1])
    np.testing.assert_allclose(
        mask_in_view(mask, kept_view(0, 0, 0), 8), mask.reshape(8, 7, 8, 7).mean((1, 3)), atol=1e-6
    )
