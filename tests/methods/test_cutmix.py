"""CutMix: one rectangle, the other photo's pixels, its share of the label."""

import functools

import jax
import numpy as np
import pytest
import tiny

from wsol_jax.methods import METHODS
from wsol_jax.methods.cutmix import rectangle


@functools.cache  # one program for all random keys
def perturb(**changes):
    keys = tiny.config("train", method="cutmix")
    with keys.unlocked():
        keys.cutmix.update(changes)
    return jax.jit(METHODS["cutmix"].make(keys, tiny.CLASSES).perturb)


def perturbed(key: int, **changes):
    image = np.random.default_rng(0).normal(size=(8, 32, 24, 3)).astype(np.float32)
    mixed, labels = perturb(**changes)(jax.random.key(key), image, np.arange(8))
    return image, np.asarray(mixed), [(np.asarray(label), float(weight)) for label, weight in labels]


def test_a_rectangle_and_its_share_of_the_label_are_anothers():
    sizes = set()
    for key in range(8):
        image, mixed, ((label, kept), (other, given)) = perturbed(key)
        assert label.tolist() == list(range(8)) and sorted(other) == list(range(8)) and kept + given == pytest.approx(1)
        inside = np.zeros((32, 24), bool)
        changed = (mixed != image).any(axis=(0, 3))
        if changed.any():
            rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
            inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        np.testing.assert_array_equal(mixed, np.where(inside[None, :, :, None], image[other], image))
        assert given == pytest.approx(inside.mean(), abs=1e-6)
        sizes.add(int(inside.sum()))
    assert len(sizes) > 4


def test_never_mixed_is_never_mixed():
    image, mixed, ((_, kept), _) = perturbed(0, probability=0.0)
    np.testing.assert_array_equal(mixed, image)
    assert kept == 1


@pytest.mark.parametrize("share", [0.0, 0.3, 0.75, 1.0])
def test_the_sides_go_with_the_root_of_the_area(share):
    for key in range(20):
        inside = np.asarray(rectangle(jax.random.key(key), (40, 60), np.float32(share)))
        height, width = inside.any(1).sum(), inside.any(0).sum()
        assert inside.sum() == height * width
        most = [2 * (int(side * np.sqrt(np.float32(1 - share))) // 2) for side in (40, 60)]
        assert height <= most[0] and width <= most[1]
    assert share == 1.0 or inside.any()
