"""The target sample assigner against the published code, in turn and for a whole batch, on one device and on eight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from wsol_jax import devices
from wsol_jax.methods.dawsol.target_samples import (
    FAKE,
    REAL,
    UNIVERSUM,
    Anchors,
    assign,
    assign_after_training,
    assign_in_turn,
    draw,
    no_anchors,
    updated,
)

SHOWN = {UNIVERSUM: 0.0, FAKE: 1.0, REAL: 0.5}  # in the published masks


def golden_batches(golden):
    """Pixels [b, n, d] and labels of each batch."""
    for i in range(3):
        b, d, h, w = golden[f"{i}_pixel"].shape
        yield i, golden[f"{i}_pixel"].transpose(0, 2, 3, 1).reshape(b, h * w, d), golden[f"{i}_labels"].astype(np.int32)


def raster(shape):
    """Scores that draw the first pixels in raster order."""
    return np.broadcast_to(1 - np.arange(shape[1], dtype=np.float32) / shape[1], shape)


@pytest.mark.parametrize("name", ["tsa_14_few", "tsa_28"])
def test_published_assignments_and_anchors(goldens, name):
    golden = np.load(goldens / "dawsol" / f"{name}.npz")
    anchors = no_anchors(3, 16)
    for i, pixels, label in golden_batches(golden):
        assigned, anchors = assign_in_turn(pixels, label, anchors, "fake")
        shown = np.vectorize(SHOWN.get)(np.asarray(assigned.assignment))
        np.testing.assert_array_equal(shown, golden[f"{i}_mask"].reshape(shown.shape))
        np.testing.assert_allclose(anchors.of_class, golden[f"{i}_M"], rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(anchors.visits, golden[f"{i}_r"][:, 0])
        np.testing.assert_allclose(anchors.universum, golden[f"{i}_M0"][0], rtol=1e-4, atol=1e-6)
        assert anchors.photos == golden[f"{i}_r0"]


def test_published_samples(goldens):
    golden = np.load(goldens / "dawsol" / "tsa_28.npz")
    anchors = no_anchors(3, 16)
    for i, pixels, label in golden_batches(golden):
        assigned, anchors = assign_in_turn(pixels, label, anchors, "fake")
        places = [
            draw(raster(pixels.shape[:2]), assigned.assignment, which, n) for which, n in ((FAKE, 31), (REAL, 32))
        ]
        fakes, reals = (np.take_along_axis(pixels, np.asarray(place)[..., None], axis=1) for place, _ in places)
        source = np.concatenate([pixels.mean(axis=1, keepdims=True), fakes], axis=1)
        np.testing.assert_allclose(source, golden[f"{i}_source"], atol=1e-6)
        np.testing.assert_allclose(reals, golden[f"{i}_target"], atol=1e-6)
        assert all(enough.all() for _, enough in places) and golden[f"{i}_count"] == len(pixels)


def test_a_photo_with_too_few_pixels_is_marked(goldens):
    golden = np.load(goldens / "dawsol" / "tsa_14_few.npz")
    _, pixels, label = next(golden_batches(golden))
    assigned = assign(pixels, label, no_anchors(3, 16))
    _, enough = draw(raster(pixels.shape[:2]), assigned.assignment, REAL, 32)
    size = (np.asarray(assigned.assignment) == REAL).sum(1)
    np.testing.assert_array_equal(enough, size >= 32)
    assert golden["0_count"] == 0 == np.asarray(enough).sum()


def photos(seed=0, b=8, n=25, d=6, classes=3):
    rng = np.random.default_rng(seed)
    middle = 2 * rng.random((3, d))
    pixels = np.maximum(middle[rng.integers(0, 3, (b, n))] + 0.3 * rng.standard_normal((b, n, d)), 0)
    return pixels.astype(np.float32), rng.integers(0, classes, b).astype(np.int32)


def test_a_batch_of_one_is_in_turn_too():
    pixels, label = photos(b=1)
    anchors = no_anchors(3, 6)
    for _ in range(3):
        assigned = assign(pixels, label, anchors)
        in_turn, after = assign_in_turn(pixels, label, anchors, "fake")
        np.testing.assert_array_equal(assigned.assignment, in_turn.assignment)
        anchors = updated(anchors, pixels, label, assigned, "fake")
        for a, b in zip(anchors, after, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("update, which", [("fake", FAKE), ("real", REAL)])
def test_anchors_are_running_means(update, which):
    """(first pooled + all centres) / (1 + visits) for a class, the mean of all centres for Universum."""
    anchors, pooled, centres, universum = no_anchors(3, 6), {}, {k: [] for k in range(3)}, []
    for seed in range(3):
        pixels, label = photos(seed)
        assigned = assign(pixels, label, anchors)
        anchors = updated(anchors, pixels, label, assigned, update)
        for photo, k, centre in zip(pixels, label, np.asarray(assigned.centres), strict=True):
            pooled.setdefault(k, photo.mean(0))
            centres[k].append(centre[which])
            universum.append(centre[UNIVERSUM])
    for k, own in centres.items():
        np.testing.assert_allclose(anchors.of_class[k], (pooled[k] + sum(own)) / (1 + len(own)), rtol=1e-4)
        assert anchors.visits[k] == 1 + len(own)
    np.testing.assert_allclose(anchors.universum, np.mean(universum, axis=0), rtol=1e-4)
    assert anchors.photos == len(universum)


def test_a_class_never_visited_keeps_no_anchor():
    pixels, label = photos(classes=2)
    after = updated(no_anchors(3, 6), pixels, label, assign(pixels, label, no_anchors(3, 6)), "fake")
    assert after.visits[2] == 0 and not np.asarray(after.of_class[2]).any()
    assigned = assign_after_training(pixels, np.full(len(label), 2, np.int32), after)
    alone = assign_after_training(pixels[3:4], np.full(1, 2, np.int32), after)
    np.testing.assert_array_equal(assigned.assignment[3:4], alone.assignment)


def test_the_first_photo_of_a_class_gives_all_of_the_batch_its_anchor():
    pixels, _ = photos(b=4)
    label = np.zeros(4, np.int32)
    assigned = assign(pixels, label, no_anchors(1, 6))
    given = Anchors(pixels[:1].mean(axis=1), np.ones(1, np.int32), np.zeros(6, np.float32), np.int32(0))
    np.testing.assert_array_equal(assigned.assignment[1:], assign_after_training(pixels, label, given).assignment[1:])


def test_an_offset_moves_a_classs_first_anchor():
    pixels, label = photos(b=1)
    assigned = assign(pixels, label, no_anchors(3, 6), offset=10.0)
    after = updated(no_anchors(3, 6), pixels, label, assigned, "fake", offset=10.0)
    expected = (pixels[0].mean(0) + 10 + assigned.centres[0, FAKE]) / 2
    np.testing.assert_allclose(after.of_class[label[0]], expected, rtol=1e-5)


def test_eight_devices_assign_like_one_and_without_communication():
    """A loop over a batch spread over devices would reduce its condition in every turn."""
    pixels, label = photos(b=16)
    alone = assign(pixels, label, no_anchors(3, 6))
    mesh = tiny.mesh(8)

    def across(pixels, label, anchors):
        with devices.across(mesh):
            assigned = assign(pixels, label, anchors)
            return assigned, updated(anchors, pixels, label, assigned, "fake")

    place = [jax.device_put(leaf, devices.sharded(mesh)) for leaf in (pixels, label)]
    step = jax.jit(across).lower(*place, devices.replicate(no_anchors(3, 6), mesh)).compile()
    assigned, anchors = step(*place, devices.replicate(no_anchors(3, 6), mesh))
    np.testing.assert_array_equal(assigned.assignment, alone.assignment)
    expected = updated(no_anchors(3, 6), pixels, label, alone, "fake")
    for a, b in zip(anchors, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert "all-gather(" not in step.as_text()


def test_no_pixel_is_drawn_twice_and_all_may_be():
    assignment = np.asarray(np.random.default_rng(0).integers(0, 3, (5, 40)), np.int32)
    drawn = [set() for _ in range(5)]
    for key in range(20):
        place, enough = draw(jax.random.uniform(jax.random.key(key), (5, 40)), assignment, FAKE, 4)
        for i in range(5):
            mine = np.asarray(place[i]).tolist()
            assert len(set(mine)) == 4 and enough[i] and (assignment[i, mine] == FAKE).all()
            drawn[i] |= set(mine)
    for i in range(5):
        assert drawn[i] == set(np.flatnonzero(assignment[i] == FAKE))
    assert jnp.asarray(place).dtype == jnp.int32
