"""The plan of views: against the published code's crops, and the same for any number of processes."""

from collections import Counter

import numpy as np
import pytest

from wsol_jax import boxes
from wsol_jax.data import plan
from wsol_jax.data.plan import WHOLE, View

SIZES = [(40 + 7 * i, 90 - 5 * i) for i in range(11)]
BOXES = np.array([[0.1, 0.2, 0.3 + 0.05 * i, 0.9 - 0.04 * i] for i in range(11)])


@pytest.fixture(scope="module")
def crops(goldens):
    """Of the published RandomResizedBBoxCrop and validation transform, one row a case.

    Width and height, box (pixels), crop (top, left, height, width), box in the crop, box in the centre crop.
    """
    cases = np.load(goldens / "psol" / "psol_geom.npz")["cases"]
    assert len(cases) == 40
    return [np.split(case, [2, 6, 10, 14]) for case in cases]


def test_targets_are_the_published_ones(crops):
    inverted = 0
    for size, box, (top, left, height, width), expected, _ in crops:
        frame = np.tile(size, 2)
        view = View(0, np.array([left, top, left + width, top + height]) / frame, False, True)
        target = plan.target_box(box / frame, tuple(size), view)
        np.testing.assert_allclose(target, expected, atol=1e-6)
        flipped = plan.target_box(box / frame, tuple(size), view._replace(flip=True))
        np.testing.assert_allclose(flipped, [1 - expected[2], expected[1], 1 - expected[0], expected[3]], atol=1e-6)
        inverted += (expected[2:] < expected[:2]).any()
    assert inverted == 2  # the crop missed the box: the published target has a negative side


def test_boxes_in_the_centre_crop_are_the_published_ones(crops):
    window = plan.test_window("center_crop", 224 / 256)
    for size, box, _, _, expected in crops:
        normalised = box / np.tile(size, 2)
        cut = np.concatenate([np.maximum(normalised[:2], window[:2]), np.minimum(normalised[2:], window[2:])])
        np.testing.assert_allclose(boxes.into_window(cut, window), expected, atol=1e-6)


def test_a_box_on_pixels_stays_on_them():
    for width in range(1, 700):
        edges = np.arange(width + 1.0)
        box = np.stack([edges, edges, edges, edges], axis=-1)
        np.testing.assert_array_equal(plan.pixel_box(box / width, (width, width)), box)


def test_edges_between_pixels_are_rounded_up():
    np.testing.assert_array_equal(plan.pixel_box(np.array([0.11, 0.5, 0.101, 0.99]), (10, 20)), [2, 10, 2, 20])


def drawn_crops(size, box, count=300):
    rng = np.random.default_rng(0)
    return np.stack([plan.random_crop(rng, size, np.asarray(box, float)) for _ in range(count)])


def meets(crops, box):
    return (np.minimum(crops[:, 2:], box[2:]) > np.maximum(crops[:, :2], box[:2])).all(axis=1)


@pytest.mark.parametrize("size", [(200, 150), (97, 301), (640, 480), (33, 33)])
def test_random_crops_lie_inside_and_keep_their_ranges(size):
    crops = drawn_crops(size, [0, 0, *size])
    sides = crops[:, 2:] - crops[:, :2]
    assert (crops == np.round(crops)).all()
    assert (crops[:, :2] >= 0).all() and (crops[:, 2:] <= size).all()
    fallback = (crops == plan.central_crop(size)).all(axis=1)
    most = sides[~fallback] + 0.5, sides[~fallback] - 0.5  # before rounding
    assert (most[0].prod(axis=1) >= 0.2 * np.prod(size)).all() and (most[1].prod(axis=1) <= np.prod(size)).all()
    assert (most[0][:, 0] / most[1][:, 1] >= 3 / 4).all() and (most[1][:, 0] / most[0][:, 1] <= 4 / 3).all()


def test_random_crops_use_their_whole_ranges():
    crops = drawn_crops((400, 400), [0, 0, 400, 400], 2000)
    sides = crops[:, 2:] - crops[:, :2]
    share, aspect = sides.prod(axis=1) / 400**2, sides[:, 0] / sides[:, 1]
    assert share.min() < 0.22 and 0.9 < share.max() <= 1
    assert aspect.min() < 0.77 and aspect.max() > 1.3
    assert abs((aspect > 1).mean() - 0.5) < 0.05  # log-uniform: as often wide as high
    for edge in (crops[:, :2].min(axis=0), 400 - crops[:, 2:].max(axis=0)):
        np.testing.assert_array_equal(edge, 0)


def test_a_random_crop_meets_the_box_or_is_the_central_one():
    corner, nowhere = np.array([395.0, 395, 400, 400]), np.array([200.0, 200, 200, 200])
    crops = drawn_crops((400, 400), corner)
    fallback = (crops == plan.central_crop((400, 400))).all(axis=1)
    assert (meets(crops, corner) | fallback).all()
    assert meets(crops, corner).mean() > 0.8  # 30 attempts meet the corner with most of the large crops
    assert (drawn_crops((400, 400), nowhere, 5) == plan.central_crop((400, 400))).all()


def test_a_crop_is_tried_thirty_times():
    class Counted:
        def __init__(self):
            self.uniforms, self.rng = 0, np.random.default_rng(0)

        def uniform(self, low, high):
            self.uniforms += 1
            return self.rng.uniform(low, high)

        def integers(self, low, high):
            return self.rng.integers(low, high)

    rng = Counted()
    plan.random_crop(rng, (400, 400), np.zeros(4))
    assert rng.uniforms == 2 * 30  # an area and an aspect each


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 500), (500, 1), (2, 3)])
def test_the_smallest_photos_have_crops(size):
    for crop in drawn_crops(size, [0, 0, *size], 50):
        assert (crop[2:] > crop[:2]).all() and (crop[:2] >= 0).all() and (crop[2:] <= size).all()


@pytest.mark.parametrize(
    "size, crop",
    [
        ((400, 300), [0, 0, 400, 300]),
        ((500, 300), [50, 0, 450, 300]),
        ((300, 500), [0, 50, 300, 450]),
        ((100, 100), [0, 0, 100, 100]),
        ((7, 100), [0, 45, 7, 54]),
    ],
)
def test_central_crop(size, crop):
    np.testing.assert_array_equal(plan.central_crop(size), crop)


def views(seed=0, positions=range(40), augment="psol"):
    return list(plan.training_views(seed, SIZES, BOXES, augment, (224, 256), positions))


def same(a, b):
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        assert one.index == other.index and one.flip == other.flip and one.valid == other.valid
        np.testing.assert_array_equal(one.window, other.window)


def test_every_epoch_is_a_permutation_of_its_own():
    orders = [tuple(v.index for v in views(positions=range(11 * e, 11 * e + 11))) for e in range(6)]
    assert all(sorted(order) == list(range(11)) for order in orders)
    assert len(set(orders)) == 6


def test_a_stream_is_the_same_wherever_it_is_entered():
    whole = views()
    for start in (0, 1, 10, 11, 12, 29, 39):
        same(views(positions=range(start, 40)), whole[start:])
    same([views(positions=[at])[0] for at in reversed(range(40))], whole[::-1])


def test_one_generator_that_starts_anew_draws_as_a_new_one_for_each_position():
    def drawn(rng):
        numbers = [rng.uniform(0.2, 1.0), rng.integers(0, 9), rng.random(), *rng.integers(0, 30, 2)]
        return [*numbers, rng.integers(0, 7)]  # three draws of 32 bits: half of a number of 64 is left over

    stream_at = plan._streams(np.uint64(7))
    for position in (0, 5, 1, 2**40, 5):
        assert drawn(stream_at(position)) == drawn(plan._stream(np.uint64(7), position))


def test_seeds_differ():
    a, b = views(seed=0), views(seed=1)
    assert [v.index for v in a] != [v.index for v in b]
    assert not any((x.window == y.window).all() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("processes", [1, 2, 8])
@pytest.mark.parametrize("start", [0, 3])
def test_processes_share_the_same_batches(processes, start):
    batch, share = 8, 8 // processes
    parts = [
        list(plan.training_positions(start, 6, batch, slice(p * share, (p + 1) * share))) for p in range(processes)
    ]
    steps = np.concatenate([np.reshape(part, (6 - start, share)) for part in parts], axis=1)
    np.testing.assert_array_equal(steps.ravel(), np.arange(8 * start, 48))


def test_half_of_the_views_are_mirrored_and_all_are_valid():
    seen = views(positions=range(600))
    assert 0.44 < np.mean([v.flip for v in seen]) < 0.56
    assert all(v.valid for v in seen)
    assert len({tuple(v.window) for v in seen}) > 590


def test_without_augmentation_the_whole_photo_is_seen():
    seen = views(augment="none")
    assert [v.index for v in seen] == [v.index for v in views()]
    assert all((v.window == WHOLE).all() and not v.flip for v in seen)


def test_targets_mapped_back_are_their_boxes():
    for view in views(positions=range(100)):
        size, box = SIZES[view.index], BOXES[view.index]
        seen = plan.target_box(box, size, view)
        unmirrored = boxes.mirror(boxes.mirror(seen, np.array(view.flip)), np.array(view.flip))
        np.testing.assert_allclose(unmirrored, seen, atol=1e-12)
        back = boxes.out_of_window(boxes.mirror(seen, np.array(view.flip)), view.window)
        pixels = plan.pixel_box(box, size) / np.tile(size, 2)
        cut = np.concatenate([np.maximum(pixels[:2], view.window[:2]), np.minimum(pixels[2:], view.window[2:])])
        np.testing.assert_allclose(back, cut, atol=1e-12)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 21])
@pytest.mark.parametrize("processes", [1, 2, 8])
def test_evaluation_sees_each_record_once(count, processes):
    indices = np.random.default_rng(0).permutation(100)[:count]
    share = 8 // processes
    parts = [
        list(plan.evaluation_views(indices, WHOLE, 8, slice(p * share, (p + 1) * share))) for p in range(processes)
    ]
    batches = -(-count // 8)
    assert [len(part) for part in parts] == [batches * share] * processes
    order = [parts[p][b * share + row] for b in range(batches) for p in range(processes) for row in range(share)]
    assert [v.index for v in order[:count]] == indices.tolist()
    assert [v.valid for v in order] == [True] * count + [False] * (8 * batches - count)
    assert Counter(v.index for v in order if v.valid) == Counter(indices.tolist())
    assert all(v.index in indices and not v.flip for v in order)


def test_the_test_window_is_resize_256_then_crop_224():
    np.testing.assert_allclose(plan.test_window("center_crop", 224 / 256) * 256, [16, 16, 240, 240])
    np.testing.assert_array_equal(plan.test_window("resize", 224 / 256), WHOLE)
