"""C2AM's loss: the published code's numbers, written again with numpy; finite wherever vectors have no direction."""

import jax
import numpy as np
import pytest

from wsol_jax.losses.contrast import contrast

VALUE_AND_GRADIENTS = jax.jit(jax.value_and_grad(contrast, (0, 1)))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    pairs = [[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a]
    return np.clip(pairs, 0.0005, 0.9995)


def positive_by_definition(vectors: np.ndarray, alpha: float) -> float:
    """For each vector the others by descending similarity: the most similar one counts whole, it itself e^alpha."""
    total = 0.0
    for row in cosines(vectors, vectors):
        for place, j in enumerate(sorted(range(len(row)), key=lambda j: -row[j])):
            total -= np.log(row[j]) * np.exp(-alpha * (place - 1))
    return total / len(vectors) ** 2


def by_definition(background: np.ndarray, foreground: np.ndarray, alpha: float) -> float:
    negative = -np.log(1 - cosines(background, foreground)).mean()
    return positive_by_definition(background, alpha) + negative + positive_by_definition(foreground, alpha)


def vectors(seed: int) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.random.default_rng(seed).uniform(0, 1, (2, 5, 7)) ** 3)


@pytest.mark.parametrize("alpha", [0.05, 0.75])
def test_value_is_the_published_one(alpha):
    value, _ = VALUE_AND_GRADIENTS(*vectors(0), alpha)
    np.testing.assert_allclose(value, by_definition(*vectors(0), alpha), rtol=1e-5)


def test_gradients_are_those_of_the_definition():
    pair, step = vectors(1), 1e-6
    _, gradients = VALUE_AND_GRADIENTS(*pair, 0.25)
    for which, at in ((0, (2, 3)), (1, (4, 0))):
        moved = [[x.copy() for x in pair] for _ in range(2)]
        moved[0][which][at] += step
        moved[1][which][at] -= step
        expected = (by_definition(*moved[0], 0.25) - by_definition(*moved[1], 0.25)) / (2 * step)
        np.testing.assert_allclose(gradients[which][at], expected, rtol=1e-3)


def test_foreground_and_background_are_exchangeable():
    background, foreground = vectors(2)
    one, other = (VALUE_AND_GRADIENTS(*pair, 0.05)[0] for pair in ((background, foreground), (foreground, background)))
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_photos_without_foreground_have_a_finite_loss_and_gradients():
    background, foreground = vectors(3)
    for pair in ((background, 0 * foreground), (background, background)):
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(VALUE_AND_GRADIENTS(*pair, 0.05)))
