"""C2AM's head: a convolution, standardised over the batch, and a sigmoid, computed again with numpy."""

import jax
import numpy as np

from wsol_jax.methods.c2am import ForegroundHead

FEATURES = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype(np.float32)


def convolved(kernel: np.ndarray) -> np.ndarray:
    """A 3x3 kernel [3, 3, 2] over the zero-padded features, [3, 4, 5]."""
    padded = np.pad(FEATURES, ((0, 0), (1, 1), (1, 1), (0, 0)))
    cells = [[(padded[:, y : y + 3, x : x + 3] * kernel).sum((1, 2, 3)) for x in range(5)] for y in range(4)]
    return np.array(cells).transpose(2, 0, 1)


def test_the_head_is_the_published_one():
    kernel = np.random.default_rng(1).normal(size=(3, 3, 2)).astype(np.float32)
    variables = {
        "params": {"ac_head.activation_head": {"kernel": kernel.reshape(-1, 1)}},
        "batch_stats": {"ac_head.bn_head": {"mean": np.ones(1, np.float32), "var": np.full(1, 4, np.float32)}},
    }
    head, score = ForegroundHead(), convolved(kernel)
    trained, changed = jax.jit(lambda v: head.apply(v, FEATURES, True, mutable=["batch_stats"]))(variables)
    expected = 1 / (1 + np.exp(-(score - score.mean()) / np.sqrt(score.var() + 1e-5)))
    np.testing.assert_allclose(trained[..., 0], expected, rtol=1e-4)
    statistics = changed["batch_stats"]["ac_head.bn_head"]
    np.testing.assert_allclose(statistics["mean"], 0.9 + 0.1 * score.mean(), rtol=1e-4)
    np.testing.assert_allclose(statistics["var"], 0.9 * 4 + 0.1 * score.var(), rtol=1e-4)
    applied = jax.jit(lambda v: head.apply(v, FEATURES, False))(variables)
    np.testing.assert_allclose(applied[..., 0], 1 / (1 + np.exp(-(score - 1) / np.sqrt(4 + 1e-5))), rtol=1e-4)
